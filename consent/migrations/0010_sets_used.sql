-- With which choices of data a recipient's consents were used, whoever relayed: what one bureau may not read counts too.
-- Told to the recipient, to a bureau with a live consent of that kind to relay to it, to the person and the platform.
create policy of_owner on consent_use for select to current_user using (true);
create function consent_sets_used(person uuid, asked_for text, given_to uuid, since timestamptz)
    returns table (categories text[])
    language sql stable security definer set search_path = public, pg_temp as $$
    select distinct g.categories from consent_grant g join consent_use u on u.grant_id = g.id
    where g.user_id = person and g.purpose = asked_for and g.recipient = given_to and u.last_used_at >= since
      and (given_to = app_partner() or person = app_person() or current_setting('role') = 'xinqiao_platform' or exists (
          select 1 from consent_grant b where b.user_id = person and b.purpose = asked_for and b.recipient = given_to
            and b.bureau = app_partner() and b.state = 'active'));
$$;
revoke execute on function consent_sets_used from public;
grant execute on function consent_sets_used to xinqiao_partner, xinqiao_person, xinqiao_platform;
