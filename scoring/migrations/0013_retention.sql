-- When old events left the files: all of before which moment, how many, and how far a run has come.
create table scoring_retention (
    id uuid primary key,
    before timestamptz not null,
    buckets_done int not null default 0 check (buckets_done between 0 and 256),
    events bigint not null default 0,
    started_at timestamptz not null,
    finished_at timestamptz
);
create unique index scoring_retention_runs on scoring_retention ((true)) where finished_at is null;
grant select, insert, update on scoring_retention to xinqiao_platform;
