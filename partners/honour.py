"""Whether banks keep what their lists promise: each application upon an entry, as its bank reported it, counted by its end."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from uuid import UUID

from compliance import ids
from compliance.act import Act
from compliance.canonical import Json
from consent.permits import BUSINESS_ZONE
from scoring.governance import performance

LOOKED_BACK = timedelta(days=365)
DECIDED_WITHIN_DAYS = 30
MOST_LISTS = 100
"""The newest ones are told, each by itself; a bank's sum is of all of its lists."""
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
), lists as (
    select p.id, c.code, p.entries, row_number() over (order by p.ready_at desc, p.id) as place
    from partners_prescreen p join partners_partner c on c.id = p.partner
    where p.ready_at >= ($1::date)::timestamp at time zone $2 or p.id in (select prescreen from ended)
), parts as (
    select prescreen, result, count(*) as count from ended group by prescreen, result
    union all select id, 'entries', coalesce(entries, 0) from lists
)
select l.code, case when l.place <= $5 then l.id end as list, p.result, sum(p.count)::bigint as count
from lists l join parts p on p.prescreen = l.id group by 1, 2, 3 order by l.code, min(l.place)
"""
"""A bank's last word on an entry counts, from the first day on that it named as the day of the complete application.

Lists of which nothing was reported are there too, with their entries; those beyond the newest are in their bank's sum.
"""


async def of_lists(act: Act) -> list[Mapping[str, Json]]:
    """For each bank, and then for each of its newest lists, what became of the applications of the last year.

    An application is in the rate when the 30 days for its decision are over. What a bank offered and what it decided are
    read, by its own report; nothing is read that anybody shared.
    """
    today = act.now.astimezone(BUSINESS_ZONE).date()
    rows = await act.db.execute_query_dict(
        COUNTED, [today - LOOKED_BACK, BUSINESS_ZONE.key, today, DECIDED_WITHIN_DAYS, MOST_LISTS]
    )
    found: dict[str, dict[UUID | None, Counter[str]]] = {}
    for row in rows:
        lists = found.setdefault(row["code"], {})
        lists.setdefault(row["list"], Counter())[row["result"]] += row["count"]
    return [line for lender, lists in found.items() for line in _lines(lender, lists)]


def _lines(lender: str, lists: Mapping[UUID | None, Counter[str]]) -> Iterator[Mapping[str, Json]]:
    """A bank's sum, and its lists one by one, as far as these are told by themselves."""
    yield _line(lender, None, sum(lists.values(), Counter()))
    for each, counted in lists.items():
        if each:
            yield _line(lender, ids.public("pre", each), counted)


def _line(lender: str, name: str | None, counted: Counter[str]) -> Mapping[str, Json]:
    rate = performance.honour_rate(counted)
    return {"lender": lender, "prescreen": name, "entries": counted["entries"], **rate}
