-- One place knows the settings of an act; '' (left behind by a commit) counts as none.
create function app_partner() returns uuid language sql stable parallel safe
    return nullif(current_setting('app.partner', true), '')::uuid;
create function app_person() returns uuid language sql stable parallel safe
    return nullif(current_setting('app.person', true), '')::uuid;

-- Facts: only added, never changed. Payload and salt are sealed under the person's key.
create table compliance_fact (
    seq bigint generated always as identity unique,
    id uuid primary key,
    recorded_at timestamptz not null,
    kind text not null,
    partner uuid not null,          -- the tenant; all zeros is the operator
    person uuid,
    grant_id uuid,
    principal text not null,
    purpose text,
    commitment bytea not null check (length(commitment) = 32),
    sealed bytea not null
);
create index on compliance_fact (partner, seq);
create index on compliance_fact (person, seq) where person is not null;
create index on compliance_fact (grant_id) where grant_id is not null;

-- Where each fact stands in the log; written once, by the sequencer.
create table compliance_log (
    leaf_index bigint primary key check (leaf_index >= 0),
    fact uuid not null unique references compliance_fact (id),
    leaf bytea not null,
    tenant uuid not null,
    tenant_seq bigint not null,
    person uuid,
    person_seq bigint,
    unique (tenant, tenant_seq),
    unique (person, person_seq)
);
-- Facts that wait for their place: a queue, so that an empty round of the sequencer costs nothing.
create table compliance_unplaced (
    fact uuid primary key references compliance_fact (id),
    seq bigint not null unique
);
create table compliance_tile (
    level int not null,
    index bigint not null,
    hashes bytea not null,
    primary key (level, index)
);
create table compliance_checkpoint (
    size bigint primary key,
    root bytea not null,
    note text not null,
    signed_at timestamptz not null
);
create table compliance_tenant_tag (
    tenant uuid not null,
    month date not null,
    tag text not null unique,
    primary key (tenant, month)
);

-- Stored answers of idempotent calls, sealed under the key of the person they are about.
create table compliance_reply (
    key bytea primary key,
    partner uuid,
    person uuid,
    grant_id uuid,
    fingerprint bytea not null,
    status int not null,
    sealed bytea not null,
    made_at timestamptz not null
);
create index on compliance_reply (made_at);

create function compliance_never() returns trigger language plpgsql as $$
begin
    raise exception '% on % is forbidden: it is only added to', tg_op, tg_table_name using errcode = '23001';
end $$;
create trigger facts_stay before update or delete on compliance_fact
    for each row execute function compliance_never();
create trigger facts_stay_whole before truncate on compliance_fact
    for each statement execute function compliance_never();
create trigger log_stays before update or delete on compliance_log
    for each row execute function compliance_never();
create trigger log_stays_whole before truncate on compliance_log
    for each statement execute function compliance_never();
create trigger checkpoints_stay before update or delete on compliance_checkpoint
    for each row execute function compliance_never();
create trigger checkpoints_stay_whole before truncate on compliance_checkpoint
    for each statement execute function compliance_never();

alter table compliance_fact enable row level security;
alter table compliance_fact force row level security;
create policy of_partner on compliance_fact to xinqiao_partner
    using (partner = (select app_partner())) with check (partner = (select app_partner()));
create policy of_person on compliance_fact to xinqiao_person
    using (person = (select app_person())) with check (person = (select app_person()));
create policy of_platform on compliance_fact to xinqiao_platform using (true) with check (true);
grant select, insert on compliance_fact to xinqiao_partner, xinqiao_person, xinqiao_platform;

alter table compliance_log enable row level security;
alter table compliance_log force row level security;
create policy of_partner on compliance_log for select to xinqiao_partner using (tenant = (select app_partner()));
create policy of_person on compliance_log for select to xinqiao_person using (person = (select app_person()));
create policy of_platform on compliance_log to xinqiao_platform using (true) with check (true);
grant select on compliance_log to xinqiao_partner, xinqiao_person;
grant select, insert on compliance_log to xinqiao_platform;

grant insert on compliance_unplaced to xinqiao_partner, xinqiao_person, xinqiao_platform;
grant select, delete on compliance_unplaced to xinqiao_platform;

-- The tree itself is public: hashes of commitments.
grant select on compliance_tile, compliance_checkpoint to xinqiao_partner, xinqiao_person, xinqiao_platform;
grant insert on compliance_checkpoint to xinqiao_platform;
grant insert, update on compliance_tile to xinqiao_platform;
grant select, insert on compliance_tenant_tag to xinqiao_platform;

alter table compliance_reply enable row level security;
alter table compliance_reply force row level security;
create policy of_partner on compliance_reply to xinqiao_partner
    using (partner = (select app_partner())) with check (partner = (select app_partner()));
create policy of_person on compliance_reply to xinqiao_person
    using (partner is null and person = (select app_person()))
    with check (partner is null and person = (select app_person()));
create policy of_platform on compliance_reply to xinqiao_platform using (true) with check (true);
grant select, insert, update, delete on compliance_reply to xinqiao_partner, xinqiao_person, xinqiao_platform;
grant delete, select (made_at) on compliance_reply to xinqiao_upkeep;
create policy of_upkeep on compliance_reply to xinqiao_upkeep using (true);

-- Leaves hold commitments and times, nothing readable: whoever has access at all may read every leaf.
create function compliance_leaves(first bigint, count int) returns table (leaf bytea)
    language sql stable security definer set search_path = public, pg_temp as $$
    select leaf from compliance_log where leaf_index >= first and leaf_index < first + count order by leaf_index;
$$;
revoke execute on function compliance_leaves from public;
grant execute on function compliance_leaves to xinqiao_partner, xinqiao_person, xinqiao_platform;
