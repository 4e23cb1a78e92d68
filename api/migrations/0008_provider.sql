-- People sign in at the operator's provider: what it said of when and how strongly they proved who they are. A session
-- that nobody uses for a while ends before its time.
alter table api_session
    add column auth_time timestamptz,
    add column acr text,
    add column used_at timestamptz;
update api_session set used_at = signed_in_at;
alter table api_session alter column used_at set not null;
grant update (used_at) on api_session to xinqiao_upkeep;
