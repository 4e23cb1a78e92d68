-- What a client asks of a person by OAuth (a pushed authorization request, RFC 9126), and what came of it. Secrets are
-- kept as SHA-256. Whether its tokens live is not written here: they live while the grant does and nobody revoked them.
create table api_authorization (
    id uuid primary key,
    client_id text not null references api_client (client_id),
    partner uuid not null,
    grant_id uuid not null unique references consent_grant (id),
    scopes text[] not null,
    redirect_uri text not null,
    state text,
    code_challenge text not null,
    proof_key text,                          -- the key that the code is bound to (RFC 9449 section 10)
    made_at timestamptz not null,
    request_hash bytea not null unique,
    request_expires_at timestamptz not null,
    answered_at timestamptz,
    code_hash bytea unique,
    code_expires_at timestamptz,
    redeemed_at timestamptz,
    refresh_hash bytea unique,
    revoked_at timestamptz
);
create index on api_authorization (made_at) where answered_at is null;

alter table api_authorization enable row level security;
alter table api_authorization force row level security;
create policy of_partner on api_authorization to xinqiao_partner
    using (partner = (select app_partner())) with check (partner = (select app_partner())
        and exists (select 1 from consent_grant g where g.id = grant_id));
-- Who answers the request for consent answers this; whose it is, consent's own wall says.
create policy of_person on api_authorization to xinqiao_person
    using (exists (select 1 from consent_grant g where g.id = grant_id));
create policy of_upkeep on api_authorization to xinqiao_upkeep using (true);
grant select, insert, update (redeemed_at, refresh_hash, revoked_at) on api_authorization to xinqiao_partner;
grant select (id, grant_id, redirect_uri, state, answered_at, request_expires_at),
    update (answered_at, code_hash, code_expires_at) on api_authorization to xinqiao_person;
grant select (id, client_id, partner, grant_id, request_hash, request_expires_at, answered_at, made_at, revoked_at), delete
    on api_authorization to xinqiao_upkeep;

-- A partner notes which of its tokens it gave back; what is noted it cannot read.
grant insert on api_spent to xinqiao_partner;

-- What happened has happened: an answer, a redemption, a revocation is written once.
create function api_authorization_goes_on() returns trigger language plpgsql as $$
begin
    if (old.answered_at is not null and (new.answered_at, new.code_hash, new.code_expires_at)
            is distinct from (old.answered_at, old.code_hash, old.code_expires_at))
       or (old.redeemed_at is not null and (new.redeemed_at, new.refresh_hash)
            is distinct from (old.redeemed_at, old.refresh_hash))
       or (old.revoked_at is not null and new.revoked_at is distinct from old.revoked_at)
       or (new.redeemed_at is not null and new.answered_at is null) then
        raise exception 'what happened to an authorization stays so' using errcode = '23001';
    end if;
    return new;
end $$;
create trigger goes_on before update on api_authorization
    for each row execute function api_authorization_goes_on();

-- Calls in the present minute, by client and by grant. Lost in a crash, which only forgives.
create unlogged table api_rate (
    key text primary key,
    minute timestamptz not null,
    calls int not null
);
create index on api_rate (minute);
grant select, insert, update, delete on api_rate to xinqiao_upkeep;

create function api_count(counted text) returns int language sql as $$
    insert into api_rate as r values (counted, date_trunc('minute', clock_timestamp()), 1)
    on conflict (key) do update
        set calls = case when r.minute = excluded.minute then r.calls + 1 else 1 end, minute = excluded.minute
    returning calls;
$$;

-- Whether a token still counts: itself not revoked, nor what it was issued from, and its grant lives. While a grant is
-- paused its tokens count, and each use is refused with the reason.
create function api_alive(token bytea, authorized uuid) returns boolean language sql stable as $$
    select not exists (select 1 from api_spent where key = token) and (authorized is null or exists (
        select 1 from api_authorization a join consent_grant g on g.id = a.grant_id
        where a.id = authorized and a.revoked_at is null and g.state in ('active', 'paused')
          and g.expires_at > clock_timestamp()));
$$;

-- The hot path of a call: one statement, one round trip, a transaction of its own, which enters its role itself and so
-- is of use only to who may enter it. It spends the call's ids, counts it, and tells how client and token stand now.
-- Always in this order, ids sorted: two calls at once wait for each other in one way only. `fresh` are the ids that
-- nobody had spent before; unless all are, none is spent and nothing counted: a stolen copy uses up nobody's calls. `version` is the client's row: if the caller knows another,
-- nothing is spent and it is told. No row: the client is unknown.
drop function api_spend;
create function api_admit(client text, known bigint, spent bytea[], until timestamptz[], token bytea, authorized uuid)
    returns table (version bigint, partner uuid, scopes text[], purposes text[], suspended boolean, frozen boolean,
                   fresh bytea[], alive boolean, calls int, grant_calls int)
    language plpgsql as $$
begin
    perform set_config('role', 'xinqiao_upkeep', true);
    select c.xmin::text::bigint, c.partner, c.scopes, c.purposes, c.suspended_at is not null, p.suspended_at is not null
    into version, partner, scopes, purposes, suspended, frozen
    from api_client c join partners_partner p on p.id = c.partner
    where c.client_id = client and c.approved_at is not null;
    if not found then
        return;
    end if;
    if version = coalesce(known, version) then
        with added as (
            insert into api_spent select s.key, s.expires_at from unnest(spent, until) as s (key, expires_at)
            order by s.key on conflict do nothing returning key
        ) select coalesce(array_agg(added.key), '{}') into fresh from added;
        if cardinality(fresh) < cardinality(spent) then
            delete from api_spent where key = any(fresh);
        else
            calls := api_count('client ' || client);
            grant_calls := case when authorized is not null then api_count('authorization ' || authorized) end;
        end if;
        alive := token is null or api_alive(token, authorized);
    end if;
    return next;
end $$;
revoke execute on function api_count, api_alive from public;
grant execute on function api_count, api_alive to xinqiao_upkeep;
