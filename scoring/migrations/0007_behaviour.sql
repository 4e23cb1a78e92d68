-- Events as they were accepted, until the worker moves them into the files of their bucket (decision 0014).
create table scoring_behaviour (
    user_id uuid not null,
    digest bytea not null,              -- of everything that the event says: the same event is kept once
    bucket int not null check (bucket between 0 and 255),
    at timestamptz not null,
    category text not null,
    name text not null,
    value double precision,
    count int not null check (count >= 0),
    attributes text,
    late boolean not null,              -- it happened before the cut-off of a snapshot that was begun already
    received_at timestamptz not null,
    primary key (user_id, digest)
);
create index on scoring_behaviour (bucket, received_at);

-- When everybody's features were computed from the store, up to which moment, and how far that has come.
create table scoring_snapshot (
    id uuid primary key,
    model text not null,                -- digest
    cutoff timestamptz not null,
    buckets_done int not null check (buckets_done between 0 and 256),
    people int not null,
    started_at timestamptz not null,
    finished_at timestamptz
);
create index on scoring_snapshot (cutoff);

alter table scoring_behaviour enable row level security;
alter table scoring_behaviour force row level security;
-- Of partners' clients only the operator's own reach it; a bank's see an empty table that takes nothing.
create policy of_operator on scoring_behaviour to xinqiao_partner
    using ((select app_partner()) = '00000000-0000-0000-0000-000000000000')
    with check ((select app_partner()) = '00000000-0000-0000-0000-000000000000');
create policy of_person on scoring_behaviour to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_behaviour to xinqiao_platform using (true) with check (true);
grant select (user_id, digest), insert on scoring_behaviour to xinqiao_partner;
grant select, delete on scoring_behaviour to xinqiao_person;
grant select, insert, update, delete on scoring_behaviour to xinqiao_platform;

grant select on scoring_snapshot to xinqiao_partner, xinqiao_platform;
grant insert, update on scoring_snapshot to xinqiao_platform;

-- For which consents, given since a snapshot, their person's features were computed already up to its cut-off.
create table scoring_prepared (
    grant_id uuid primary key,
    user_id uuid not null,
    snapshot uuid not null
);
create index on scoring_prepared (user_id);
alter table scoring_prepared enable row level security;
alter table scoring_prepared force row level security;
create policy of_person on scoring_prepared to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_prepared to xinqiao_platform using (true) with check (true);
grant select, delete on scoring_prepared to xinqiao_person;
grant select, insert, update, delete on scoring_prepared to xinqiao_platform;
