-- Where nobody real is served, partners register their own clients. A wall keeps them apart: a partner reaches its own
-- registered clients and nothing else, neither another's nor a proposal, and of a client that exists it changes the keys
-- and the switch alone.
alter table api_client add column suspended_by text;
-- Until now only the operator suspended.
update api_client set suspended_by = 'worker:registration' where suspended_at is not null;
alter table api_client add check (num_nonnulls(suspended_by, suspended_at) <> 1);
create index on api_client (partner);

alter table api_client enable row level security;
alter table api_client force row level security;
create policy of_partner on api_client to xinqiao_partner
    using (partner = (select app_partner()) and approved_at is not null);
create policy of_platform on api_client to xinqiao_platform using (true) with check (true);
create policy of_upkeep on api_client for select to xinqiao_upkeep using (true);
grant select, insert, update (jwks, suspended_at, suspended_by) on api_client to xinqiao_partner;
