-- The directory: who the partners are and what they offer. Public.
create table partners_partner (
    id uuid primary key,
    code text not null unique,              -- names the connector and the demo's files
    name_zh text not null,
    name_en text not null,
    kind text not null,
    lender_class text,
    licence text not null,
    licence_from date not null,
    licence_until date not null,
    owned_hosts text[] not null,            -- the only places a person is handed over to
    operator_stake boolean not null,
    suspended_at timestamptz,
    made_at timestamptz not null
);
create table partners_product (
    id uuid primary key,
    partner uuid not null references partners_partner (id),
    name_zh text not null,
    name_en text not null,
    terms jsonb not null,
    open_from date not null,
    open_until date not null,
    made_at timestamptz not null
);
grant select on partners_partner, partners_product to xinqiao_partner, xinqiao_person, xinqiao_platform;
grant insert, update on partners_partner, partners_product to xinqiao_platform;

create table partners_prescreen (
    id uuid primary key,
    partner uuid not null references partners_partner (id),
    state text not null check (state in ('draft', 'estimated', 'approved', 'running', 'ready', 'failed', 'expired')),
    criteria jsonb not null,
    criteria_digest text not null,
    offer jsonb not null,
    cap int not null,
    valid_until timestamptz not null,
    made_at timestamptz not null,
    snapshot text,                          -- digest of the frozen list
    entries int,
    why_failed text,
    ready_at timestamptz
);
create index on partners_prescreen (partner);
create index on partners_prescreen (made_at) where state = 'approved';
create table partners_entry (
    id uuid primary key,
    prescreen uuid not null references partners_prescreen (id),
    partner uuid not null,
    user_id uuid not null,
    grant_id uuid not null,
    limit_minor bigint not null,
    currency text not null,
    daily_rate text not null,
    valid_until timestamptz not null,
    recalled_at timestamptz,
    recall_reason text,
    unique (prescreen, user_id)
);
create index on partners_entry (grant_id);
create table partners_recall (
    seq bigint generated always as identity primary key,
    entry uuid not null unique references partners_entry (id),
    prescreen uuid not null,
    partner uuid not null,
    reason text not null,
    recalled_at timestamptz not null,
    -- Numbers are drawn before they commit: readers stop below the oldest transaction that still runs.
    transaction xid8 not null default pg_current_xact_id()
);
create index on partners_recall (prescreen, transaction, seq);

create table partners_application (
    id uuid primary key,
    user_id uuid not null,
    grant_id uuid not null,                 -- to the operator, for loan_referral
    wish jsonb not null,
    receipt jsonb not null,
    receipt_digest text not null,
    metric text not null,
    picked uuid,
    closed_at timestamptz,                  -- when the consent to matching ended
    made_at timestamptz not null
);
create index on partners_application (grant_id);
create index on partners_application (user_id);
create table partners_offer (
    id uuid primary key,
    application uuid not null references partners_application (id),
    user_id uuid not null,
    product uuid not null references partners_product (id),
    partner uuid not null references partners_partner (id),
    rank int not null,
    terms jsonb not null,
    unique (application, product)
);
create table partners_referral (
    id uuid primary key,
    application uuid not null unique references partners_application (id),
    offer uuid not null references partners_offer (id),
    user_id uuid not null,
    partner uuid not null,
    pseudonym uuid not null,                -- what the lender knows the person by
    grant_id uuid not null,                 -- to that one lender, for loan_referral
    wish jsonb not null,                    -- all that the lender is told: product, amount, instalments, terms digest
    state text not null,
    reason text,
    delivery text not null check (delivery in ('queued', 'sending', 'unknown', 'done', 'dead', 'stopped')),
    attempts int not null default 0,
    next_try_at timestamptz not null,
    lease_until timestamptz,
    made_at timestamptz not null,
    changed_at timestamptz not null
);
create index on partners_referral (grant_id);
create index on partners_referral (partner, id);
create index on partners_referral (next_try_at) where delivery in ('queued', 'sending', 'unknown');
create table partners_referral_step (
    seq bigint generated always as identity primary key,
    referral uuid not null references partners_referral (id),
    partner uuid not null,
    user_id uuid not null,
    state text not null,
    reason text,
    at timestamptz not null
);
create table partners_outcome (
    id uuid primary key,
    partner uuid not null,
    referral uuid references partners_referral (id),
    score uuid,
    user_id uuid not null,
    grant_id uuid not null,
    report jsonb not null,
    reported_at timestamptz not null
);
create index on partners_outcome (grant_id);
create index on partners_outcome (referral);
create index on partners_outcome (score);

alter table partners_prescreen enable row level security;
alter table partners_prescreen force row level security;
create policy of_partner on partners_prescreen to xinqiao_partner
    using (partner = (select app_partner())) with check (partner = (select app_partner()));
create policy of_platform on partners_prescreen to xinqiao_platform using (true) with check (true);
grant select, insert, update on partners_prescreen to xinqiao_partner, xinqiao_platform;

alter table partners_entry enable row level security;
alter table partners_entry force row level security;
create policy of_partner on partners_entry to xinqiao_partner using (partner = (select app_partner()));
create policy of_person on partners_entry to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on partners_entry to xinqiao_platform using (true) with check (true);
grant select on partners_entry to xinqiao_partner;
grant select, update (recalled_at, recall_reason) on partners_entry to xinqiao_person;
grant select, insert, update on partners_entry to xinqiao_platform;

alter table partners_recall enable row level security;
alter table partners_recall force row level security;
create policy of_partner on partners_recall for select to xinqiao_partner using (partner = (select app_partner()));
create policy of_person on partners_recall for insert to xinqiao_person with check (exists (
    select 1 from partners_entry e where e.id = entry and e.user_id = (select app_person())));
create policy of_platform on partners_recall to xinqiao_platform using (true) with check (true);
grant select on partners_recall to xinqiao_partner;
grant insert on partners_recall to xinqiao_person;
grant select, insert on partners_recall to xinqiao_platform;

alter table partners_application enable row level security;
alter table partners_application force row level security;
create policy of_person on partners_application to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on partners_application to xinqiao_platform using (true) with check (true);
grant select, insert, update (picked, closed_at) on partners_application to xinqiao_person;
grant select, update (closed_at) on partners_application to xinqiao_platform;

alter table partners_offer enable row level security;
alter table partners_offer force row level security;
-- No policy for partners: before the person's pick no lender learns that anybody asked.
create policy of_person on partners_offer to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on partners_offer to xinqiao_platform using (true) with check (true);
grant select, insert on partners_offer to xinqiao_person;
grant select on partners_offer to xinqiao_platform;

alter table partners_referral enable row level security;
alter table partners_referral force row level security;
create policy of_partner on partners_referral to xinqiao_partner
    using (partner = (select app_partner())) with check (partner = (select app_partner()));
create policy of_person on partners_referral to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on partners_referral to xinqiao_platform using (true) with check (true);
grant select, update (state, reason, delivery, changed_at) on partners_referral to xinqiao_partner;
grant select, insert, update on partners_referral to xinqiao_person, xinqiao_platform;

alter table partners_referral_step enable row level security;
alter table partners_referral_step force row level security;
create policy of_partner on partners_referral_step to xinqiao_partner
    using (partner = (select app_partner())) with check (partner = (select app_partner()));
create policy of_person on partners_referral_step to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on partners_referral_step to xinqiao_platform using (true) with check (true);
grant select, insert on partners_referral_step to xinqiao_partner, xinqiao_person, xinqiao_platform;

alter table partners_outcome enable row level security;
alter table partners_outcome force row level security;
create policy of_partner on partners_outcome to xinqiao_partner
    using (partner = (select app_partner())) with check (partner = (select app_partner()));
create policy of_person on partners_outcome for select to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on partners_outcome to xinqiao_platform using (true) with check (true);
grant select, insert on partners_outcome to xinqiao_partner, xinqiao_platform;
grant select on partners_outcome to xinqiao_person;
