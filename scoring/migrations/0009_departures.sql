-- Whoever takes back a consent to lists leaves the recipient's population runs: waits here until the worker took them out.
create table scoring_departure (
    id bigint generated always as identity primary key,
    grant_id uuid not null,
    user_id uuid not null,
    recipient uuid not null
);
create index on scoring_departure (recipient, id);
create index on scoring_departure (user_id);
alter table scoring_departure enable row level security;
alter table scoring_departure force row level security;
create policy of_person on scoring_departure to xinqiao_person
    using (user_id = (select app_person())) with check (user_id = (select app_person()));
create policy of_partner on scoring_departure for insert to xinqiao_partner
    with check (recipient = (select app_partner()));
create policy of_platform on scoring_departure to xinqiao_platform using (true) with check (true);
grant select, insert, delete on scoring_departure to xinqiao_person;
grant insert on scoring_departure to xinqiao_partner;
grant select, insert, delete on scoring_departure to xinqiao_platform;
