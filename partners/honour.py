"""Whether banks keep what their lists promise: each application upon an entry, as its bank reported it, counted by its end."""

from collections import Counter
from collections.abc import Mapping
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
    select p.id, c.code, p.entries, p.ready_at, row_number() over (order by p.ready_at desc, p.id) as place
    from partners_prescreen p join partners_partner c on c.id = p.partner
    where p.id in (select prescreen from ended)
)
select null::uuid as id, l.code, t.result, count(*) as count, null::timestamptz as ready_at,
       (select sum(w.entries) from lists w where w.code = l.code)::bigint as entries
from lists l join ended t on t.prescreen = l.id group by l.code, t.result
union all
select l.id, l.code, t.result, count(*), l.ready_at, l.entries
from lists l join ended t on t.prescreen = l.id where l.place <= $5
group by l.id, l.code, t.result, l.ready_at, l.entries
order by code, ready_at desc nulls first, id
"""
"""A bank's last word on an entry counts, from the first day on that it named as the day of the complete application."""


async def of_lists(act: Act) -> list[Mapping[str, Json]]:
    """For each bank, and then for each of its newest lists, what became of the applications of the last year.

    An application is in the rate when the 30 days for its decision are over. What a bank offered and what it decided are
    read, by its own report; nothing is read that anybody shared.
    """
    today = act.now.astimezone(BUSINESS_ZONE).date()
    rows = await act.db.execute_query_dict(
        COUNTED, [today - LOOKED_BACK, BUSINESS_ZONE.key, today, DECIDED_WITHIN_DAYS, MOST_LISTS]
    )
    found: dict[tuple[str, UUID | None], tuple[int, Counter[str]]] = {}
    for row in rows:
        _, counted = found.setdefault((row["code"], row["id"]), (row["entries"], Counter()))
        counted[row["result"]] += row["count"]
    return [
        {
            "lender": lender,
            "prescreen": ids.public("pre", prescreen) if prescreen else None,
            "entries": entries,
            **performance.honour_rate(counted),
        }
        for (lender, prescreen), (entries, counted) in found.items()
    ]
