-- How many scores went with the people who deleted themselves: of which model, issued on which day, and no more.
-- So a figure about a model can say what it no longer sees.
create table scoring_gone (
    model uuid not null,
    issued_on date not null,
    scores bigint not null
);
create index on scoring_gone (model, issued_on);
grant insert on scoring_gone to xinqiao_person;
grant select on scoring_gone to xinqiao_platform;

create function scoring_count_gone() returns trigger language plpgsql as $$
begin
    insert into scoring_gone (model, issued_on, scores)
    select model, (issued_at at time zone 'UTC')::date, count(*) from gone where set_aside_at is null group by 1, 2;
    return null;
end $$;
create trigger count_gone after delete on scoring_score referencing old table as gone
    for each statement execute function scoring_count_gone();
