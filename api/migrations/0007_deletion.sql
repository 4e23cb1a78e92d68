-- Whoever finishes a person's deletion takes their sign-ins with it.
grant select (user_id), delete on api_session, api_link, api_password to xinqiao_platform;
create policy of_platform on api_authorization to xinqiao_platform using (true);
grant select (grant_id), delete on api_authorization to xinqiao_platform;
