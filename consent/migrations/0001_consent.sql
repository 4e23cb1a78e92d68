-- People: the operator's own reference is sealed under the person's key and found by a keyed index.
create table consent_person (
    id uuid primary key,
    reference_index bytea not null unique,
    reference_sealed bytea not null,
    born_on date,                       -- unknown age is refused before any feature is read
    fictional boolean not null default false,
    objected_to_prescreen_at timestamptz,
    made_at timestamptz not null
);

-- What a partner knows a person by: a random row, so that it can be deleted and rotated.
create table consent_pseudonym (
    id uuid primary key,
    user_id uuid not null references consent_person (id),
    partner uuid not null,
    made_at timestamptz not null,
    unique (user_id, partner)
);

-- The exact texts people were shown. Public.
create table consent_notice (
    id text not null,
    version int not null,
    language text not null,
    purpose text not null,
    sha256 text not null,
    body text not null,
    published_at timestamptz not null,
    primary key (id, version, language)
);

create table consent_grant (
    id uuid primary key,
    user_id uuid references consent_person (id),   -- none until the person who was asked signs in and answers
    recipient uuid not null,                       -- a partner, or all zeros: the operator
    bureau uuid,                                   -- the licensed bureau that relays, where one does
    purpose text not null,
    asked text[] not null check (cardinality(asked) > 0),
    categories text[] not null,
    state text not null check (state in ('requested', 'active', 'paused', 'rejected', 'lapsed', 'ended')),
    ended_by text,
    ended_code text,
    ended_at timestamptz,
    notice_id text not null,
    notice_version int not null,
    notice_sha256 text,
    language text,
    template text not null,
    channel text not null,
    period_days int not null check (period_days > 0),
    data_life_days int not null check (data_life_days > 0),
    calls_per_month int check (calls_per_month > 0),
    requested_at timestamptz not null,
    given_at timestamptz,
    expires_at timestamptz,
    evidence jsonb,
    fictional boolean not null default false,
    check (state not in ('active', 'paused') or (user_id is not null and given_at is not null
           and expires_at is not null and notice_sha256 is not null and cardinality(categories) > 0)),
    check ((state = 'ended') = (ended_code is not null))
);
create unique index consent_grant_live on consent_grant (user_id, recipient, purpose, coalesce(bureau, recipient))
    where state in ('active', 'paused');
create index on consent_grant (user_id, recipient, purpose, requested_at);
create index on consent_grant (recipient, purpose) where state = 'active';
create index on consent_grant (expires_at) where state in ('active', 'paused');

-- How often a grant was used in a calendar month of the business zone.
create table consent_use (
    grant_id uuid not null references consent_grant (id),
    month date not null,
    calls int not null,
    last_used_at timestamptz not null,
    primary key (grant_id, month)
);

create table consent_receipt (
    grant_id uuid not null references consent_grant (id),
    user_id uuid not null references consent_person (id),
    recipient uuid not null,
    signed text not null,
    issued_at timestamptz not null,
    primary key (grant_id, issued_at)
);

alter table consent_person enable row level security;
alter table consent_person force row level security;
create policy of_partner on consent_person for select to xinqiao_partner using (exists (
    select 1 from consent_pseudonym p where p.user_id = consent_person.id and p.partner = (select app_partner())));
create policy of_person on consent_person to xinqiao_person
    using (id = (select app_person())) with check (id = (select app_person()));
create policy of_platform on consent_person to xinqiao_platform using (true) with check (true);
grant select (id, born_on, objected_to_prescreen_at) on consent_person to xinqiao_partner;
grant select, update (objected_to_prescreen_at) on consent_person to xinqiao_person;
grant select, insert, update on consent_person to xinqiao_platform;

alter table consent_pseudonym enable row level security;
alter table consent_pseudonym force row level security;
create policy of_partner on consent_pseudonym for select to xinqiao_partner using (partner = (select app_partner()));
create policy of_person on consent_pseudonym to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on consent_pseudonym to xinqiao_platform using (true) with check (true);
grant select on consent_pseudonym to xinqiao_partner;
grant select, insert on consent_pseudonym to xinqiao_person;
grant select, insert, delete on consent_pseudonym to xinqiao_platform;

grant select on consent_notice to xinqiao_partner, xinqiao_person, xinqiao_platform;
grant insert on consent_notice to xinqiao_platform;

alter table consent_grant enable row level security;
alter table consent_grant force row level security;
create policy of_partner on consent_grant for select to xinqiao_partner
    using (recipient = (select app_partner()) or bureau = (select app_partner()));
-- A partner asks; it never gives, and never changes what a person gave. The update is for the row lock alone.
create policy asked_by_partner on consent_grant for insert to xinqiao_partner with check (
    (recipient = (select app_partner()) or bureau = (select app_partner())) and state = 'requested' and given_at is null);
create policy locked_by_partner on consent_grant for update to xinqiao_partner
    using (recipient = (select app_partner()) or bureau = (select app_partner())) with check (false);
-- A request that nobody has answered yet belongs to whoever holds its unguessable id.
create policy of_person on consent_grant to xinqiao_person
    using (user_id = (select app_person()) or (user_id is null and state = 'requested'))
    with check (user_id = (select app_person()));
create policy of_platform on consent_grant to xinqiao_platform using (true) with check (true);
grant select, insert, update (data_life_days) on consent_grant to xinqiao_partner;
grant select, insert, update on consent_grant to xinqiao_person, xinqiao_platform;

create function consent_stays_ended() returns trigger language plpgsql as $$
begin
    if old.state in ('ended', 'rejected') and new.state <> old.state then
        raise exception 'a grant that is % stays so', old.state using errcode = '23001';
    end if;
    return new;
end $$;
create trigger ended_stays_ended before update on consent_grant
    for each row execute function consent_stays_ended();

alter table consent_use enable row level security;
alter table consent_use force row level security;
create policy of_partner on consent_use to xinqiao_partner
    using (exists (select 1 from consent_grant g where g.id = grant_id))
    with check (exists (select 1 from consent_grant g where g.id = grant_id));
create policy of_person on consent_use to xinqiao_person
    using (exists (select 1 from consent_grant g where g.id = grant_id))
    with check (exists (select 1 from consent_grant g where g.id = grant_id));
create policy of_platform on consent_use to xinqiao_platform using (true) with check (true);
grant select, insert, update on consent_use to xinqiao_partner, xinqiao_person, xinqiao_platform;

alter table consent_receipt enable row level security;
alter table consent_receipt force row level security;
create policy of_partner on consent_receipt for select to xinqiao_partner using (recipient = (select app_partner()));
create policy of_person on consent_receipt to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on consent_receipt to xinqiao_platform using (true) with check (true);
grant select on consent_receipt to xinqiao_partner, xinqiao_platform;
grant select, insert on consent_receipt to xinqiao_person;
