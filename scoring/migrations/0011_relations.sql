-- Who was in touch with whom, once for both ends (decision 0016): with either of them it goes.
create table scoring_relation (
    user_id uuid not null,
    other uuid not null,
    bucket int not null check (bucket between 0 and 255),
    other_bucket int not null check (other_bucket between 0 and 255),
    kind text not null,
    weight double precision,
    at timestamptz not null,
    late boolean not null,              -- it happened before the cut-off of a snapshot that was begun already
    received_at timestamptz not null,
    primary key (user_id, other, kind, at),
    check (user_id < other)
);
create index on scoring_relation (other);
create index on scoring_relation (bucket);
create index on scoring_relation (other_bucket);

alter table scoring_relation enable row level security;
alter table scoring_relation force row level security;
create policy of_person on scoring_relation to xinqiao_person
    using (user_id = (select app_person()) or other = (select app_person()));
create policy of_platform on scoring_relation to xinqiao_platform using (true) with check (true);
grant select, delete on scoring_relation to xinqiao_person;
grant select, insert, delete on scoring_relation to xinqiao_platform;

-- The uses for which somebody's contacts were counted: to each of them every other end had agreed too. Null: not bounded,
-- as of a stamped set, which needs no grants.
alter table scoring_feature add column contacts_for text[];
-- By bucket: whose features may count a contact that is gone.
create index on scoring_feature (get_byte(sha256(uuid_send(user_id)), 0)) where cardinality(contacts_for) > 0;
