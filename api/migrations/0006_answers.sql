-- Whether the client that waits for an answer may still get one is asked when the person gives it.
create policy of_person on api_client for select to xinqiao_person using (true);
grant select (client_id, suspended_at) on api_client to xinqiao_person;
grant select (client_id) on api_authorization to xinqiao_person;
