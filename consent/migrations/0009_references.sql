-- Whom the operator means by its own references: for its own software and its own processes, for nobody else.
-- Who is found cannot be deleted before what is brought about them is kept: the deletion waits, and takes it too.
create function consent_people_of_operator(indexes bytea[]) returns table (id uuid, reference_index bytea)
    language sql security definer set search_path = public, pg_temp as $$
    select p.id, p.reference_index from consent_person p
    where p.reference_index = any(indexes) and p.erased_at is null
      and coalesce(app_partner(), '00000000-0000-0000-0000-000000000000') = '00000000-0000-0000-0000-000000000000'
    for share of p;
$$;
-- Where the owner is no superuser, its own walls stand before it too.
create policy of_owner on consent_person to current_user using (true);
revoke execute on function consent_people_of_operator from public;
grant execute on function consent_people_of_operator to xinqiao_partner, xinqiao_platform;

-- What was agreed to since a moment.
create index on consent_grant (given_at) where state = 'active';
