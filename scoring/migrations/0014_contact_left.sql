-- Who is no contact any more, until the worker hid the contacts that counted them: an end of a relation that is gone, or
-- (with a grant) somebody who took back a use of their relations.
create table scoring_contact_left (
    id bigint generated always as identity primary key,
    user_id uuid not null,
    grant_id uuid
);
create index on scoring_contact_left (user_id);
alter table scoring_contact_left enable row level security;
alter table scoring_contact_left force row level security;
create policy added_by_person on scoring_contact_left for insert to xinqiao_person with check (true);
create policy of_person on scoring_contact_left for select to xinqiao_person using (user_id = (select app_person()));
create policy gone_with_person on scoring_contact_left for delete to xinqiao_person
    using (user_id = (select app_person()));
create policy added_by_partner on scoring_contact_left for insert to xinqiao_partner with check (true);
create policy of_platform on scoring_contact_left to xinqiao_platform using (true) with check (true);
grant select, insert, delete on scoring_contact_left to xinqiao_person;
grant insert on scoring_contact_left to xinqiao_partner;
grant select, insert, delete on scoring_contact_left to xinqiao_platform;

-- With a person their relations go: the other ends are left with features that count somebody who is not there.
create function scoring_relation_gone() returns trigger language plpgsql as $$
begin
    insert into scoring_contact_left (user_id)
    select distinct each from gone, unnest(array[gone.user_id, gone.other]) as each
    where each is distinct from app_person();
    return null;
end $$;
create trigger relation_gone after delete on scoring_relation referencing old table as gone
    for each statement execute function scoring_relation_gone();
