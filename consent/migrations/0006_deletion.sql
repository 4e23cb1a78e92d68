-- A person who was deleted leaves an id behind that leads to nobody: the mapping and the key are gone.
alter table consent_person
    alter column reference_index drop not null,
    alter column reference_sealed drop not null,
    add column erased_at timestamptz,
    add check ((erased_at is null) = (reference_index is not null and reference_sealed is not null)),
    add check (erased_at is null or born_on is null);
create function consent_person_stays() returns trigger language plpgsql as $$
begin
    if old.erased_at is not null or (current_user = 'xinqiao_person' and new.erased_at is null and
        (new.reference_index, new.reference_sealed, new.born_on)
        is distinct from (old.reference_index, old.reference_sealed, old.born_on)) then
        raise exception 'a person does not change who they are: they can only delete it' using errcode = '23001';
    end if;
    return new;
end $$;
create trigger stays before update on consent_person for each row execute function consent_person_stays();
create index on consent_person (erased_at) where erased_at is not null;
grant select (erased_at) on consent_person to xinqiao_partner;
grant update (reference_index, reference_sealed, born_on, erased_at) on consent_person to xinqiao_person;

alter table consent_grant add column erased_at timestamptz;
create or replace function consent_follows_its_life() returns trigger language plpgsql as $$
declare
    emptied consent_grant := old;
begin
    emptied.evidence := null;
    emptied.language := null;
    emptied.rejected_reason := null;
    emptied.erased_at := new.erased_at;
    if old.state in ('ended', 'rejected', 'lapsed') and new is distinct from old
       and (old.erased_at is not null or new.erased_at is null or new is distinct from emptied) then
        raise exception 'a grant that is % stays so, with all that is written of it', old.state using errcode = '23001';
    end if;
    if old.state <> new.state and not exists (
        select 1 from consent_transition where from_state = old.state and to_state = new.state) then
        raise exception 'a grant that is % stays so or takes another step', old.state using errcode = '23001';
    end if;
    return new;
end $$;

-- A person's own wall bounds what their deletion reaches: a wrong condition deletes nothing of anybody else.
grant delete on consent_pseudonym, consent_use, consent_receipt, consent_extension to xinqiao_person;

-- What a partner knew by an id and is gone: it is told so.
create table consent_erased (
    id uuid not null,
    partner uuid not null,
    primary key (id, partner)
);
alter table consent_erased enable row level security;
alter table consent_erased force row level security;
create policy of_partner on consent_erased for select to xinqiao_partner using (partner = (select app_partner()));
create policy of_person on consent_erased for insert to xinqiao_person with check (true);
create policy of_platform on consent_erased for select to xinqiao_platform using (true);
grant select on consent_erased to xinqiao_partner, xinqiao_platform;
grant insert on consent_erased to xinqiao_person;

-- Each deletion, with the statement that the person was given. Whoever holds its unguessable id may look.
create table consent_deletion (
    id uuid primary key,
    user_id uuid not null unique references consent_person (id),
    erased_at timestamptz not null,
    certificate text not null,
    capsule uuid,
    keep_until date,
    finished_at timestamptz,
    check ((capsule is null) = (keep_until is null))
);
create index on consent_deletion (erased_at) where finished_at is null;
alter table consent_deletion enable row level security;
alter table consent_deletion force row level security;
create policy of_person on consent_deletion for insert to xinqiao_person with check (user_id = (select app_person()));
create policy of_platform on consent_deletion to xinqiao_platform using (true) with check (true);
grant insert on consent_deletion to xinqiao_person;
grant select, update (finished_at) on consent_deletion to xinqiao_platform;
create function consent_deletion_of(deletion uuid)
    returns table (erased_at timestamptz, finished_at timestamptz, certificate text, capsule uuid, keep_until date)
    language sql stable security definer set search_path = public, pg_temp as $$
    select d.erased_at, d.finished_at, d.certificate, d.capsule, d.keep_until from consent_deletion d where d.id = deletion;
$$;
-- Where the owner is no superuser, its own walls stand before it too.
create policy of_owner on consent_deletion for select to current_user using (true);
create policy of_owner on consent_effect for select to current_user using (true);
create policy of_owner on consent_grant for select to current_user using (true);
-- A second press of the button finds the first one's answer.
create policy seen_by_person on consent_deletion for select to xinqiao_person using (user_id = (select app_person()));
grant select on consent_deletion to xinqiao_person;
-- What each recipient did after it, without anything that leads to the person.
create function consent_deletion_effects(deletion uuid, most int)
    returns table (grant_id uuid, user_id uuid, recipient uuid, known_as uuid, purpose text, ended_code text,
                   ended_at timestamptz, state text, requested_at timestamptz, acknowledge_by timestamptz,
                   settle_by timestamptz, delivered_at timestamptz, acknowledged_at timestamptz,
                   settled_at timestamptz, basis text, retained_until date, attestation text, "position" text, seq bigint)
    language sql stable security definer set search_path = public, pg_temp as $$
    select e.grant_id, null::uuid, e.recipient, null::uuid, g.purpose, g.ended_code, g.ended_at, e.state, e.requested_at,
           e.acknowledge_by, e.settle_by, e.delivered_at, e.acknowledged_at, e.settled_at, e.basis, e.retained_until,
           null, null, e.seq
    from consent_deletion d join consent_effect e on e.user_id = d.user_id join consent_grant g on g.id = e.grant_id
    where d.id = deletion order by e.requested_at desc, e.recipient limit most;
$$;
revoke execute on function consent_deletion_of, consent_deletion_effects from public;
grant execute on function consent_deletion_of, consent_deletion_effects to xinqiao_partner, xinqiao_person, xinqiao_platform;

-- Evidence that a law demands, sealed to two custodians: nothing here can open it, and it names nobody.
create table consent_capsule (
    id uuid not null,
    part int not null check (part > 0),
    sealed text not null,
    keep_until date not null,
    primary key (id, part)
);
alter table consent_capsule enable row level security;
alter table consent_capsule force row level security;
create policy of_person on consent_capsule for insert to xinqiao_person with check (true);
create policy of_platform on consent_capsule to xinqiao_platform using (true) with check (true);
grant insert on consent_capsule to xinqiao_person;
grant select, delete on consent_capsule to xinqiao_platform;
create index on consent_capsule (keep_until);

