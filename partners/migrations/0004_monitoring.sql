-- The figures of a day about the model in use, and the alerts that stood then: counts and shares, nobody's data.
create table partners_monitoring (
    id uuid primary key,
    made_at timestamptz not null,
    model text not null,
    report jsonb not null,
    alerts jsonb not null
);
create index on partners_monitoring (made_at);
grant select, insert on partners_monitoring to xinqiao_platform;
