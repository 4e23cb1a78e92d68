-- An approval carries a seal (HMAC under the installation's key) over what was approved and by whom: a row that somebody
-- changed by hand serves nothing. Who approved before there were seals is asked again.
alter table scoring_model add column approval bytea;
alter table scoring_model add column shadowed_at timestamptz;
update scoring_model set state = 'validated', approved_by = null where state in ('approved', 'champion', 'challenger');
create unique index scoring_model_challenger on scoring_model (product) where state = 'challenger';

-- What the challenger says of the same shared data as a score that was issued: for monitoring alone, never released.
create table scoring_shadow (
    score uuid not null references scoring_score (id) on delete cascade, -- one that comes while a person is deleted goes with it
    model uuid not null references scoring_model (id),
    user_id uuid not null,
    points int,                         -- none where the evidence was insufficient
    log_odds text,
    made_at timestamptz not null,
    primary key (score, model)
);
create index on scoring_shadow (user_id);
create index on scoring_score (model, issued_at);

alter table scoring_shadow enable row level security;
alter table scoring_shadow force row level security;
create policy of_person on scoring_shadow for select to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_shadow to xinqiao_platform using (true) with check (true);
create policy deleted_by_person on scoring_shadow for delete to xinqiao_person using (user_id = (select app_person()));
grant select, delete on scoring_shadow to xinqiao_person;
grant select, insert on scoring_shadow to xinqiao_platform;
