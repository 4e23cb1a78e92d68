-- Registered models. Public to every partner: which model a score came from is no secret.
create table scoring_model (
    id uuid primary key,
    digest text not null unique,
    product text not null,
    state text not null check (state in ('candidate', 'validated', 'approved', 'champion', 'challenger', 'retired')),
    card jsonb not null,
    registered_at timestamptz not null,
    registered_by text not null,
    validated_by text,
    approved_by text
);
create unique index scoring_model_champion on scoring_model (product) where state = 'champion';

-- One compact row of current features per person; the only place online scoring reads behaviour from.
create table scoring_feature (
    user_id uuid primary key,
    model text not null,                -- digest of the model whose feature list the vector follows
    vector bytea not null,              -- little-endian float32
    events int[] not null,              -- per category of the model, before the cut-off
    active_days int[] not null,
    attributes jsonb not null,          -- eligibility only: region, is_student, income_band
    snapshot text not null,
    data_cutoff timestamptz not null
);

create table scoring_score (
    id uuid primary key,
    user_id uuid not null,
    partner uuid not null,              -- who may use it
    relay uuid,                         -- the licensed bureau it went through, where one did
    grant_id uuid not null,
    model uuid not null references scoring_model (id),
    answer text not null,
    points int not null,
    band text not null,
    probability text not null,
    scale text not null,
    confidence text not null,
    used text[] not null,
    not_used text[] not null,
    reasons jsonb not null,
    channel text not null,
    vector bytea not null,              -- what was not shared is not in it
    events int[] not null,
    active_days int[] not null,
    snapshot text not null,
    permit_digest text not null,
    code_version text not null,
    fact uuid not null,
    fact_promise text not null,
    issued_at timestamptz not null,
    valid_until timestamptz not null
);
create index on scoring_score (user_id, issued_at);
create index on scoring_score (grant_id);

-- Licences and relays, recorded by one person and approved by another. Without one no evaluation leaves directly.
create table scoring_licence (
    id uuid primary key,
    kind text not null check (kind in ('operator', 'relay')),
    bureau uuid,                        -- of a relay,
    lender uuid,                        -- and to whom
    text_zh text not null,
    text_en text not null,
    fictional boolean not null,
    recorded_by text not null,
    recorded_at timestamptz not null,
    approved_by text,
    approved_at timestamptz,
    removed_by text,
    removed_at timestamptz,
    check (approved_by is null or approved_by <> recorded_by),
    check ((kind = 'relay') = (bureau is not null and lender is not null))
);

grant select on scoring_model, scoring_licence to xinqiao_partner, xinqiao_person, xinqiao_platform;
grant insert, update on scoring_model, scoring_licence to xinqiao_platform;

alter table scoring_feature enable row level security;
alter table scoring_feature force row level security;
-- The second wall: also a forgotten permit reads nothing of a person who has no live grant to this partner.
create policy of_partner on scoring_feature for select to xinqiao_partner using (exists (
    select 1 from consent_grant g where g.user_id = scoring_feature.user_id and g.state = 'active'));
create policy of_person on scoring_feature for select to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_feature to xinqiao_platform using (true) with check (true);
grant select on scoring_feature to xinqiao_partner, xinqiao_person;
grant select, insert, update, delete on scoring_feature to xinqiao_platform;

alter table scoring_score enable row level security;
alter table scoring_score force row level security;
create policy of_partner on scoring_score to xinqiao_partner
    using (partner = (select app_partner()) or relay = (select app_partner()))
    with check (partner = (select app_partner()) or relay = (select app_partner()));
create policy of_person on scoring_score for select to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_score to xinqiao_platform using (true) with check (true);
grant select, insert on scoring_score to xinqiao_partner, xinqiao_platform;
grant select on scoring_score to xinqiao_person;
