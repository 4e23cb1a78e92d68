-- What people stated, or were recorded with, a row for each column of their profile and each moment that it is known from
-- (decision 0016).
create table scoring_statement (
    user_id uuid not null,
    bucket int not null check (bucket between 0 and 255),
    name text not null,
    category text not null,
    known_at timestamptz not null,      -- 1970-01-01: from the beginning
    type text not null check (type in ('float', 'category', 'date', 'bool')),
    said text not null,
    late boolean not null,              -- it was known before the cut-off of a snapshot that was begun already
    received_at timestamptz not null,
    primary key (user_id, name, known_at)
);
create index on scoring_statement (bucket);

alter table scoring_statement enable row level security;
alter table scoring_statement force row level security;
create policy of_person on scoring_statement to xinqiao_person using (user_id = (select app_person()));
create policy of_platform on scoring_statement to xinqiao_platform using (true) with check (true);
grant select, delete on scoring_statement to xinqiao_person;
grant select, insert, delete on scoring_statement to xinqiao_platform;
