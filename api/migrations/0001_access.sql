-- Who may call, and who is signed in. Bookkeeping: no policy, only the upkeep role may enter.
create table api_client (
    client_id text primary key,
    partner uuid not null references partners_partner (id),
    jwks jsonb not null,
    scopes text[] not null,
    suspended_at timestamptz,
    made_at timestamptz not null
);
create table api_staff (
    id uuid primary key,
    name text not null unique,
    role text not null
);
create table api_link (
    token_hash bytea primary key,       -- SHA-256; the token itself is never stored
    user_id uuid,
    staff uuid references api_staff (id),
    expires_at timestamptz not null,
    used_at timestamptz,
    check (num_nonnulls(user_id, staff) = 1)
);
create table api_session (
    id uuid primary key,
    token_hash bytea not null unique,
    user_id uuid,
    staff uuid references api_staff (id),
    method text not null,
    signed_in_at timestamptz not null,
    expires_at timestamptz not null,
    ended_at timestamptz,
    check (num_nonnulls(user_id, staff) = 1)
);
-- Ids of assertions and proofs of possession that were spent (RFC 7523 section 3, RFC 9449 section 11.1).
create table api_spent (
    key bytea primary key,
    expires_at timestamptz not null
);
create index on api_spent (expires_at);

grant select on api_client, api_staff to xinqiao_upkeep, xinqiao_platform;
grant insert, update on api_client, api_staff to xinqiao_platform;
grant insert, select, delete on api_link, api_session to xinqiao_upkeep;
grant update (used_at) on api_link to xinqiao_upkeep;
grant update (ended_at) on api_session to xinqiao_upkeep;
grant select, insert, delete on api_spent to xinqiao_upkeep;

-- The hot path of a protected call in one round trip, without opening a transaction: spend the proof's id and tell
-- who the client is now. No row: the id was spent before, or the client is unknown.
create function api_spend(spent bytea, until timestamptz, client text)
    returns table (partner uuid, scopes text[], suspended boolean)
    language sql security definer set search_path = public, pg_temp as $$
    with fresh as (insert into api_spent values (spent, until) on conflict do nothing returning 1)
    select c.partner, c.scopes, c.suspended_at is not null or p.suspended_at is not null
    from fresh, api_client c join partners_partner p on p.id = c.partner where c.client_id = client;
$$;
revoke execute on function api_spend from public;
grant execute on function api_spend to xinqiao_upkeep;
