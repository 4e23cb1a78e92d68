-- Loans that were seen through while the consents to their scores were alive, counted then: ten or more at a time, by the
-- month of the lender's decision and the band. Counts of nobody in particular, which stay when those consents end.
create table partners_seen_through (
    id uuid primary key,
    model text not null,                -- digest
    month text not null,                -- YYYY-MM
    band text not null,
    loans int not null check (loans >= 10),
    defaults int not null check (defaults between 0 and loans),
    expected double precision not null, -- the sum of what the scores had promised
    counted_at timestamptz not null
);
create index on partners_seen_through (model);
grant select, insert on partners_seen_through to xinqiao_platform;

-- When a score's loan was counted there: never twice.
alter table partners_outcome add column counted_at timestamptz;
grant update (counted_at) on partners_outcome to xinqiao_platform;
