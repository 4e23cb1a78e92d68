-- Whether a grant lives may be read without knowing whose it is: a token is alive only while its grant is.
create policy of_upkeep on consent_grant for select to xinqiao_upkeep using (true);
grant select (id, state, expires_at) on consent_grant to xinqiao_upkeep;

-- A recipient may give a grant back; it can end one in this way and in no other.
create policy relinquished_by_partner on consent_grant for update to xinqiao_partner
    using (recipient = (select app_partner()) or bureau = (select app_partner()))
    with check ((recipient = (select app_partner()) or bureau = (select app_partner()))
                and state = 'ended' and ended_by = 'partner' and ended_code = 'relinquished');
grant update (state, ended_by, ended_code, ended_at) on consent_grant to xinqiao_partner;

-- How much of an evaluation the recipient is told.
alter table consent_grant add column answer text not null default 'full' check (answer in ('full', 'band'));
