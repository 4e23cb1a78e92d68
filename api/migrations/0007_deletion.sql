-- Whoever finishes a person's deletion takes their sign-ins with it.
grant select (user_id), delete on api_session, api_link, api_password to xinqiao_platform;
