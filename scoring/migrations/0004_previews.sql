-- What sharing can change for somebody, worked out on their own data, at their own wish, for their own eyes. A row lives
-- as long as the consent says that it is kept, and no longer than the consent.
create table scoring_preview (
    id uuid primary key,
    user_id uuid not null,
    grant_id uuid not null,
    model uuid not null references scoring_model (id),
    lines jsonb not null,
    snapshot text not null,
    permit_digest text not null,
    made_at timestamptz not null,
    keep_until timestamptz not null
);
create index on scoring_preview (user_id, made_at);
create index on scoring_preview (grant_id);
create index on scoring_preview (keep_until);

alter table scoring_preview enable row level security;
alter table scoring_preview force row level security;
create policy of_person on scoring_preview to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_platform on scoring_preview to xinqiao_platform using (true) with check (true);
grant select, insert, delete on scoring_preview to xinqiao_person;
grant select, delete on scoring_preview to xinqiao_platform;
