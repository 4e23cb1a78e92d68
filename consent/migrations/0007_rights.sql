-- Who objects to decisions made by automated means alone (PIPL Art 24): told with each evaluation while it holds.
alter table consent_person add column objected_to_automation_at timestamptz;
grant select (objected_to_automation_at) on consent_person to xinqiao_partner;
grant update (objected_to_automation_at) on consent_person to xinqiao_person;

-- Disputes: what a person says is wrong, and what staff answered. Both texts are sealed under the person's key.
create table consent_dispute (
    id uuid primary key,
    user_id uuid not null references consent_person (id),
    about text not null check (about in ('category', 'score', 'fact')),
    category text,
    score uuid,
    fact uuid,
    recipient uuid,                     -- of a score: who was given it
    text_sealed bytea not null,
    state text not null check (state in ('open', 'upheld', 'rejected', 'withdrawn')),
    raised_at timestamptz not null,
    due_at timestamptz not null,
    overdue_at timestamptz,             -- when the missed deadline was recorded
    closed_at timestamptz,
    answered_by text,
    answer_sealed bytea,
    corrected_at timestamptz,           -- when newer data came after an upheld dispute about a kind of data
    check ((about = 'category') = (category is not null)),
    check ((about = 'score') = (score is not null and recipient is not null)),
    check ((about = 'fact') = (fact is not null)),
    check ((state = 'open') = (closed_at is null)),
    check ((state in ('upheld', 'rejected')) = (answered_by is not null and answer_sealed is not null)),
    check (corrected_at is null or (state = 'upheld' and about = 'category'))
);
create unique index consent_dispute_open on consent_dispute (user_id, about, coalesce(category, score::text, fact::text))
    where state = 'open';
create index on consent_dispute (user_id, raised_at);
create index on consent_dispute (due_at) where state = 'open';
create index consent_dispute_held on consent_dispute (user_id)
    where state = 'upheld' and about = 'category' and corrected_at is null;

create function consent_dispute_stays_closed() returns trigger language plpgsql as $$
begin
    if old.state <> 'open' and (to_jsonb(new) - 'corrected_at') is distinct from (to_jsonb(old) - 'corrected_at') then
        raise exception 'a dispute that is % stays so', old.state using errcode = '23001';
    end if;
    return new;
end $$;
create trigger stays_closed before update on consent_dispute
    for each row execute function consent_dispute_stays_closed();

alter table consent_dispute enable row level security;
alter table consent_dispute force row level security;
-- A partner reads that something it may use is disputed or held, never what the person says.
create policy of_partner on consent_dispute for select to xinqiao_partner using (exists (
    select 1 from consent_grant g where g.user_id = consent_dispute.user_id and g.state = 'active'
      and (consent_dispute.category = any (g.categories) or consent_dispute.recipient = g.recipient)));
create policy of_person on consent_dispute to xinqiao_person
    using (user_id = (select app_person()))
    with check (user_id = (select app_person()) and state in ('open', 'withdrawn'));
create policy of_platform on consent_dispute to xinqiao_platform using (true) with check (true);
grant select (user_id, about, category, recipient, state, corrected_at) on consent_dispute to xinqiao_partner;
grant select, insert, update (state, closed_at) on consent_dispute to xinqiao_person;
grant select, update on consent_dispute to xinqiao_platform;
grant delete on consent_dispute to xinqiao_person;      -- with everything else, when the person deletes themselves
