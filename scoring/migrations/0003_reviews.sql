-- A score that a person looked at and set aside is never shown again.
alter table scoring_score add column set_aside_at timestamptz;
grant update (set_aside_at) on scoring_score to xinqiao_platform;

-- Human review (PIPL Art 24): a person asks, one of the operator's people looks. Texts are sealed under the person's key.
create table scoring_review (
    id uuid primary key,
    score uuid not null unique references scoring_score (id),   -- nobody reviews twice
    user_id uuid not null,
    recipient uuid not null,
    text_sealed bytea,
    state text not null check (state in ('open', 'confirmed', 'set_aside')),
    asked_at timestamptz not null,
    due_at timestamptz not null,
    overdue_at timestamptz,
    closed_at timestamptz,
    answered_by text,
    answer_sealed bytea,
    check ((state = 'open') = (closed_at is null)),
    check ((state = 'open') = (answered_by is null and answer_sealed is null))
);
create index on scoring_review (user_id, asked_at);
create index on scoring_review (due_at) where state = 'open';

create function scoring_review_stays_closed() returns trigger language plpgsql as $$
begin
    if old.state <> 'open' then
        raise exception 'a review that is % stays so', old.state using errcode = '23001';
    end if;
    return new;
end $$;
create trigger stays_closed before update on scoring_review
    for each row execute function scoring_review_stays_closed();

alter table scoring_review enable row level security;
alter table scoring_review force row level security;
create policy of_person on scoring_review for select to xinqiao_person using (user_id = (select app_person()));
create policy asked_by_person on scoring_review for insert to xinqiao_person with check (
    user_id = (select app_person()) and state = 'open' and exists (
        select 1 from scoring_score s where s.id = score and s.user_id = scoring_review.user_id));
create policy of_platform on scoring_review to xinqiao_platform using (true) with check (true);
grant select, insert on scoring_review to xinqiao_person;
grant select, update on scoring_review to xinqiao_platform;
create policy deleted_by_person on scoring_review for delete to xinqiao_person using (user_id = (select app_person()));
grant delete on scoring_review to xinqiao_person;       -- with everything else, when the person deletes themselves
