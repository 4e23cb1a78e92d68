"""Whether banks keep what their lists promise: each application upon an entry, as its bank reported it, counted by its end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from compliance import ids
from compliance.act import Act
from compliance.canonical import Json
from consent.permits import BUSINESS_ZONE
from scoring.governance import performance

LOOKED_BACK = timedelta(days=365)
DECIDED_WITHIN_DAYS = 30
MOST_LISTS = 100
"""The newest ones are told, each by itself."""
COUNTED = """
with said as (
    select entry, (array_agg(report order by reported_at desc, id desc))[1] as report,
           min((report ->> 'applied_on')::date) as applied_on
    from partners_outcome where entry is not null group by entry
), ended as (
    select e.prescreen, case
        when s.applied_on > (e.valid_until at time zone $2)::date then 'too_late'
        when s.applied_on + $4::int >= $3::date then 'waiting'
        when s.report ->> 'decision' = 'withdrawn' then 'withdrawn'
        when s.report ->> 'decision' = 'undecided' or (s.report ->> 'decided_on')::date > s.applied_on + $4::int
            then 'undecided'
        when s.report ->> 'decision' = 'not_verified' then 'not_verified'
        when s.report ->> 'decision' = 'declined' then 'declined'
        when s.report ->> 'currency' = e.currency and (s.report ->> 'approved_minor')::bigint >= e.limit_minor
            and (s.report ->> 'daily_rate')::numeric <= e.daily_rate::numeric then 'kept'
        else 'worse_terms' end as result
    from said s join partners_entry e on e.id = s.entry where s.applied_on >= $1::date
), newest as (
    select p.id, c.code, p.entries, p.ready_at from partners_prescreen p join partners_partner c on c.id = p.partner
    where p.id in (select prescreen from ended) order by p.ready_at desc limit $5
)
select n.id, n.code, n.entries, t.result, count(*) as count from newest n join ended t on t.prescreen = n.id
group by n.id, n.code, n.entries, n.ready_at, t.result order by n.code, n.ready_at desc
"""
"""A bank's last word on an entry counts, from the first day on that it named as the day of the complete application."""


async def of_lists(act: Act) -> list[Mapping[str, Json]]:
    """For each bank, and then for each of its lists, what became of the applications of the last year.

    An application is in the rate when the 30 days for its decision are over. What a bank offered and what it decided are
    read, by its own report; nothing is read that anybody shared.
    """
    today = act.now.astimezone(BUSINESS_ZONE).date()
    rows = await act.db.execute_query_dict(
        COUNTED, [today - LOOKED_BACK, BUSINESS_ZONE.key, today, DECIDED_WITHIN_DAYS, MOST_LISTS]
    )
    found: dict[str, dict[str, tuple[int, Counter[str]]]] = {}
    for row in rows:
        of_bank = found.setdefault(row["code"], {})
        _, counted = of_bank.setdefault(ids.public("pre", row["id"]), (row["entries"], Counter()))
        counted[row["result"]] += row["count"]
    return [line for lender, lists in found.items() for line in _lines(lender, lists)]


def _lines(lender: str, lists: Mapping[str, tuple[int, Counter[str]]]) -> Sequence[Mapping[str, Json]]:
    """A bank's sum, and its lists one by one."""
    whole = sum((counted for _, counted in lists.values()), Counter())
    lines: list[tuple[str | None, int, Counter[str]]] = [
        (None, sum(entries for entries, _ in lists.values()), whole)
    ]
    lines += [(name, entries, counted) for name, (entries, counted) in lists.items()]
    return [
        {"lender": lender, "prescreen": name, "entries": entries, **performance.honour_rate(counted)}
        for name, entries, counted in lines
    ]
