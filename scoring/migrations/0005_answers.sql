-- The points from which on a product's threshold answers say "above": one person records them, another approves them.
create table scoring_cutoff (
    id uuid primary key,
    partner uuid not null,
    product uuid not null,
    points int not null check (points between 350 and 950),
    recorded_by text not null,
    recorded_at timestamptz not null,
    approved_by text,
    approved_at timestamptz,
    check (approved_by is null or approved_by <> recorded_by),
    check ((approved_by is null) = (approved_at is null))
);
create index on scoring_cutoff (product, approved_at);
create index on scoring_cutoff (partner);
alter table scoring_cutoff enable row level security;
alter table scoring_cutoff force row level security;
-- A bureau that relays has to find the lender's cut-off; cut-offs are the lenders' own terms and concern no person.
create policy of_partner on scoring_cutoff for select to xinqiao_partner using (true);
create policy of_platform on scoring_cutoff to xinqiao_platform using (true) with check (true);
grant select on scoring_cutoff to xinqiao_partner, xinqiao_platform;
grant insert, update on scoring_cutoff to xinqiao_platform;

-- What a threshold answer was about; it is given again for 90 days, also after the cut-off changed.
alter table scoring_score add column product uuid, add column cutoff int;
alter table scoring_score add check ((answer = 'threshold') = (product is not null and cutoff is not null));
create index on scoring_score (user_id, partner, product) where product is not null;

-- An income, a limit or a portrait as it was told, with what it rests on.
create table scoring_answer (
    id uuid primary key,
    kind text not null check (kind in ('income', 'limit', 'portrait')),
    user_id uuid not null,
    partner uuid not null,              -- who may use it
    relay uuid,                         -- the licensed bureau it went through, where one did
    grant_id uuid not null,
    model uuid not null references scoring_model (id),
    told jsonb not null,
    used text[] not null,
    not_used text[] not null,
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
    valid_until timestamptz not null,
    set_aside_at timestamptz            -- what it rests on was found wrong: it is never shown again
);
create index on scoring_answer (user_id, issued_at);
create index on scoring_answer (grant_id);
alter table scoring_answer enable row level security;
alter table scoring_answer force row level security;
create policy of_partner on scoring_answer to xinqiao_partner
    using (partner = (select app_partner()) or relay = (select app_partner()))
    with check (partner = (select app_partner()) or relay = (select app_partner()));
create policy of_person on scoring_answer for select to xinqiao_person using (user_id = (select app_person()));
create policy deleted_by_person on scoring_answer for delete to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_answer to xinqiao_platform using (true) with check (true);
grant select, insert on scoring_answer to xinqiao_partner, xinqiao_platform;
grant select, delete on scoring_answer to xinqiao_person;
grant update (set_aside_at) on scoring_answer to xinqiao_platform;

-- What would help, worked out with what sharing changes.
alter table scoring_preview add column hints jsonb not null default '[]';

-- The budget of information: how many bits of a person's score one institution was told, each basis counted once.
create table scoring_disclosure (
    id uuid primary key,
    user_id uuid not null,
    institution uuid not null,
    basis uuid not null,                -- half of the digest of what the answer rests on
    disclosure text not null check (disclosure in ('full', 'band', 'threshold', 'list', 'limit')),
    bits int not null check (bits > 0),
    told_at timestamptz not null,
    unique (user_id, institution, basis)
);
create index on scoring_disclosure (told_at);
alter table scoring_disclosure enable row level security;
alter table scoring_disclosure force row level security;
-- An institution, or a bureau that relays to it with a consent that names both.
create policy of_partner on scoring_disclosure to xinqiao_partner
    using (institution = (select app_partner()) or exists (
        select 1 from consent_grant g where g.user_id = scoring_disclosure.user_id and g.recipient = institution))
    with check (institution = (select app_partner()) or exists (
        select 1 from consent_grant g where g.user_id = scoring_disclosure.user_id and g.recipient = institution));
create policy of_person on scoring_disclosure for select to xinqiao_person using (user_id = (select app_person()));
create policy deleted_by_person on scoring_disclosure for delete to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_disclosure to xinqiao_platform using (true) with check (true);
grant select, insert, update on scoring_disclosure to xinqiao_partner;
grant select, delete on scoring_disclosure to xinqiao_person;
grant select, insert, update, delete on scoring_disclosure to xinqiao_platform;
