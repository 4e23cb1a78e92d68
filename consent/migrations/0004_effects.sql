-- What each recipient did after a grant ended: told, confirmed, deleted or kept because a law demands it.
create table consent_effect_transition (
    from_state text not null,
    to_state text not null,
    primary key (from_state, to_state)
);
insert into consent_effect_transition values
    ('requested', 'delivered'), ('requested', 'acknowledged'), ('requested', 'purged'), ('requested', 'retained_by_law'),
    ('delivered', 'acknowledged'), ('delivered', 'purged'), ('delivered', 'retained_by_law'),
    ('acknowledged', 'purged'), ('acknowledged', 'retained_by_law'),
    ('retained_by_law', 'purged');
grant select on consent_effect_transition to xinqiao_partner, xinqiao_person, xinqiao_platform;

create table consent_effect (
    grant_id uuid not null references consent_grant (id),
    recipient uuid not null,            -- the partner, or the bureau that relays
    user_id uuid not null references consent_person (id),
    state text not null check (state in ('requested', 'delivered', 'acknowledged', 'purged', 'retained_by_law')),
    requested_at timestamptz not null,
    acknowledge_by timestamptz not null,
    settle_by timestamptz not null,
    delivered_at timestamptz,
    acknowledged_at timestamptz,
    settled_at timestamptz,
    basis text check (char_length(basis) between 5 and 200),
    retained_until date,
    attestation text,                   -- the recipient's signed statement, as it came
    escalated_at timestamptz,           -- when the newest missed deadline was recorded
    -- Numbers are drawn before they commit: readers stop below the oldest transaction that still runs.
    transaction xid8 not null default pg_current_xact_id(),
    seq bigint generated always as identity unique,
    primary key (grant_id, recipient),
    check ((state = 'requested') = (delivered_at is null)),
    check ((state in ('requested', 'delivered')) = (acknowledged_at is null)),
    check ((state in ('purged', 'retained_by_law')) = (settled_at is not null and attestation is not null)),
    check ((state = 'retained_by_law') = (basis is not null and retained_until is not null))
);
create index on consent_effect (recipient, transaction, seq);
create index on consent_effect (user_id);
create index on consent_effect (acknowledge_by) where settled_at is null;

create function consent_effect_follows_its_life() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        if new.state not in ('requested', 'delivered') then
            raise exception 'an effect does not begin as %', new.state using errcode = '23001';
        end if;
    elsif old.state <> new.state and not exists (
        select 1 from consent_effect_transition where from_state = old.state and to_state = new.state) then
        raise exception 'an effect that is % does not become %', old.state, new.state using errcode = '23001';
    end if;
    return new;
end $$;
create trigger follows_its_life before insert or update on consent_effect
    for each row execute function consent_effect_follows_its_life();

alter table consent_effect enable row level security;
alter table consent_effect force row level security;
-- Whoever ends a grant asks each of its recipients; only the recipient itself says what it did.
create policy of_partner on consent_effect for select to xinqiao_partner using (recipient = (select app_partner()));
create policy stepped_by_partner on consent_effect for update to xinqiao_partner
    using (recipient = (select app_partner())) with check (recipient = (select app_partner()));
create policy asked_by_partner on consent_effect for insert to xinqiao_partner with check (exists (
    select 1 from consent_grant g where g.id = grant_id and g.state = 'ended' and g.user_id = consent_effect.user_id
      and consent_effect.recipient in (g.recipient, g.bureau)));
create policy of_person on consent_effect for select to xinqiao_person using (user_id = (select app_person()));
create policy asked_by_person on consent_effect for insert to xinqiao_person with check (
    user_id = (select app_person()) and exists (
        select 1 from consent_grant g where g.id = grant_id and g.state = 'ended'
          and g.user_id = consent_effect.user_id and consent_effect.recipient in (g.recipient, g.bureau)));
create policy of_platform on consent_effect to xinqiao_platform using (true) with check (true);
grant select, insert, update (state, delivered_at, acknowledged_at, settled_at, basis, retained_until, attestation)
    on consent_effect to xinqiao_partner;
grant select, insert on consent_effect to xinqiao_person;
grant select, insert, update (escalated_at) on consent_effect to xinqiao_platform;
