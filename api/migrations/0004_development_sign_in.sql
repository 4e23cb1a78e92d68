-- Names and passwords of fictional people, for installations that serve nobody real. Bookkeeping, as in 0001.
create table api_password (
    name text primary key,
    user_id uuid not null references consent_person (id),
    salt bytea not null,
    hash bytea not null                 -- scrypt; the password itself is never stored
);
-- How often a sign-in was tried since the last that succeeded: for every name alike, so that nobody learns from being
-- locked out which names there are.
create table api_sign_in_try (
    name_hash bytea primary key,        -- SHA-256: people type passwords into the wrong field
    tries int not null,
    until timestamptz not null          -- when they are forgotten
);
create index on api_sign_in_try (until);

grant select on api_password to xinqiao_upkeep, xinqiao_platform;
grant insert, update on api_password to xinqiao_platform;
grant select, insert, update, delete on api_sign_in_try to xinqiao_upkeep;
