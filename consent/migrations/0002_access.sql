-- Whether a grant lives may be read without knowing whose it is: a token is alive only while its grant is.
create policy of_upkeep on consent_grant for select to xinqiao_upkeep using (true);
grant select (id, state, expires_at) on consent_grant to xinqiao_upkeep;

-- A recipient may give a grant back, or note that its time is over; it can end one in no other way. The lock on a row
-- needs a right to update something of it, which these are.
revoke update (data_life_days) on consent_grant from xinqiao_partner;
create policy relinquished_by_partner on consent_grant for update to xinqiao_partner
    using (recipient = (select app_partner()) or bureau = (select app_partner()))
    with check ((recipient = (select app_partner()) or bureau = (select app_partner()))
                and state = 'ended' and ((ended_by = 'partner' and ended_code = 'relinquished')
                    or (ended_by = 'period' and ended_code = 'expired' and expires_at <= clock_timestamp())));
grant update (state, ended_by, ended_code, ended_at) on consent_grant to xinqiao_partner;

-- How much of an evaluation the recipient is told.
alter table consent_grant add column answer text not null default 'full' check (answer in ('full', 'band'));
