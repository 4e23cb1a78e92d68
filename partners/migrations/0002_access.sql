-- Whether a partner is suspended is asked on each call, before anybody is known.
grant select (id, suspended_at) on partners_partner to xinqiao_upkeep;

-- A partner that gives a consent back takes the person off its own lists.
grant update (recalled_at, recall_reason) on partners_entry to xinqiao_partner;
create policy by_partner on partners_recall for insert to xinqiao_partner with check (partner = (select app_partner()));
grant insert on partners_recall to xinqiao_partner;
