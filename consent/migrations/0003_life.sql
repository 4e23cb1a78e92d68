-- The published life of a grant, kept by the database too: whatever the code does, no other step is taken.
create table consent_transition (
    from_state text not null,
    to_state text not null,
    primary key (from_state, to_state)
);
insert into consent_transition values
    ('requested', 'active'), ('requested', 'rejected'), ('requested', 'lapsed'),
    ('active', 'paused'), ('paused', 'active'), ('active', 'ended'), ('paused', 'ended');

create or replace function consent_stays_ended() returns trigger language plpgsql as $$
begin
    if old.state in ('ended', 'rejected') and new is distinct from old then
        raise exception 'a grant that is % stays so, with all that is written of it', old.state using errcode = '23001';
    end if;
    if old.state <> new.state and not exists (
        select 1 from consent_transition where from_state = old.state and to_state = new.state) then
        raise exception 'a grant that is % stays so or takes another step', old.state using errcode = '23001';
    end if;
    return new;
end $$;
alter function consent_stays_ended rename to consent_follows_its_life;
alter trigger ended_stays_ended on consent_grant rename to follows_its_life;
grant select on consent_transition to xinqiao_partner, xinqiao_person, xinqiao_platform;

alter table consent_grant add column rejected_reason text;
