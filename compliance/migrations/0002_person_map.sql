-- One map a day: for each person a blinded index, and a commitment to how many facts about them the log holds.
-- Nothing here names a person for longer than the map is in the making, and then only to the platform.
create table compliance_person_map (
    day date primary key,                       -- UTC
    size bigint not null check (size > 0),      -- how many leaves of the log it covers
    taken_at timestamptz not null,
    after_person uuid default '00000000-0000-0000-0000-000000000000',   -- who was entered last; null: everybody was
    people bigint not null default 0,
    keyless bigint not null default 0,          -- people whose key was erased before: they have no entry
    padded bigint not null default 0,           -- entries of nobody
    tops bytea,                                 -- the hashes of the buckets; null: not folded yet
    fact uuid unique references compliance_fact (id) deferrable initially deferred,
    payload bytea,                              -- the fact's content and its salt: nothing in it is about a person
    salt bytea,
    check ((fact is null) = (payload is null) and (fact is null) = (salt is null)),
    check (fact is null or (after_person is null and tops is not null))
);
create table compliance_person_map_entry (
    day date not null references compliance_person_map (day) on delete cascade,
    index bytea not null check (length(index) = 32),
    value bytea not null check (length(value) = 32),
    primary key (day, index)
);
grant select (day, size, taken_at, tops, fact, payload, salt) on compliance_person_map to xinqiao_person;
grant select on compliance_person_map_entry to xinqiao_person;
grant select, insert, update, delete on compliance_person_map to xinqiao_platform;
grant select, insert, delete on compliance_person_map_entry to xinqiao_platform;

-- Where the map's own fact stands in the log: the operator's fact, which a person could not find otherwise.
create function compliance_person_map_places() returns table (day date, leaf_index bigint, leaf bytea)
    language sql stable security definer set search_path = public, pg_temp as $$
    select m.day, l.leaf_index, l.leaf from compliance_person_map m join compliance_log l on l.fact = m.fact;
$$;
revoke execute on function compliance_person_map_places from public;
grant execute on function compliance_person_map_places to xinqiao_person, xinqiao_platform;
