-- What was found wrong in error: another officer than the one who answered lifts the hold, once, with a reason that the
-- person reads. The answer itself stays as it was given.
alter table consent_dispute
    add column lifted_at timestamptz,
    add column lifted_by text,
    add column lifted_sealed bytea,
    add check ((lifted_at is null) = (lifted_by is null) and (lifted_at is null) = (lifted_sealed is null)),
    add check (lifted_at is null or (state = 'upheld' and about = 'category' and lifted_by <> answered_by));

drop index consent_dispute_held;
create index consent_dispute_held on consent_dispute (user_id)
    where state = 'upheld' and about = 'category' and corrected_at is null and lifted_at is null;

create or replace function consent_dispute_stays_closed() returns trigger language plpgsql as $$
declare
    later text[] := array['corrected_at'];
begin
    if old.lifted_at is null then
        later := later || array['lifted_at', 'lifted_by', 'lifted_sealed'];
    end if;
    if old.state <> 'open' and (to_jsonb(new) - later) is distinct from (to_jsonb(old) - later) then
        raise exception 'a dispute that is % stays so', old.state using errcode = '23001';
    end if;
    return new;
end $$;
grant select (lifted_at) on consent_dispute to xinqiao_partner;
