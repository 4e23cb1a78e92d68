-- A lender may also report what became of an application that somebody made upon an entry of its list.
alter table partners_outcome add column entry uuid references partners_entry (id);
create index on partners_outcome (entry) where entry is not null;
