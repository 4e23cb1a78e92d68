-- Extensions: every request or wish that a grant goes on, and its answer. An answer stays as it was given.
create table consent_extension (
    id uuid primary key,
    grant_id uuid not null references consent_grant (id),
    user_id uuid not null references consent_person (id),
    recipient uuid not null,
    asked_at timestamptz not null,
    asked_by text not null check (asked_by in ('partner', 'person')),
    period_days int not null check (period_days > 0),
    answered_at timestamptz,
    answer text check (answer in ('yes', 'no')),
    from_expires_at timestamptz,
    to_expires_at timestamptz,
    notice_version int,
    notice_sha256 text,
    language text,
    evidence jsonb,
    check ((answer is null) = (answered_at is null)),
    check ((answer is not distinct from 'yes') = (to_expires_at is not null)),
    check (to_expires_at is null or (to_expires_at > from_expires_at and notice_version is not null
           and notice_sha256 is not null and language is not null and evidence is not null)),
    check (asked_by = 'partner' or answer is not distinct from 'yes')
);
create index on consent_extension (grant_id, asked_at);
create index on consent_extension (user_id, asked_at) where answer is null;

-- How often a grant went on, and when last.
alter table consent_grant add column extensions int not null default 0 check (extensions >= 0);
alter table consent_grant add column extended_at timestamptz;

create function consent_answer_stays() returns trigger language plpgsql as $$
begin
    if old.answer is not null then
        raise exception 'an extension that was answered stays so' using errcode = '23001';
    end if;
    return new;
end $$;
create trigger answer_stays before update on consent_extension
    for each row execute function consent_answer_stays();

alter table consent_extension enable row level security;
alter table consent_extension force row level security;
create policy of_partner on consent_extension for select to xinqiao_partner
    using (exists (select 1 from consent_grant g where g.id = grant_id));
-- A partner asks; it never answers, and asks of nobody but the grant's own person.
create policy asked_by_partner on consent_extension for insert to xinqiao_partner with check (
    asked_by = 'partner' and answer is null and exists (
        select 1 from consent_grant g where g.id = grant_id and g.user_id = consent_extension.user_id));
create policy of_person on consent_extension to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
grant select, insert on consent_extension to xinqiao_partner;
grant select, insert, update on consent_extension to xinqiao_person;
