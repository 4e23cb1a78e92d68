"""Pre-approval lists: a bank's frozen criteria and offer in, an immutable list of entry ids out, and lines taken back."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from compliance import criteria, ids
from compliance.act import Act, View
from compliance.canonical import Json, digest
from compliance.refusals import Fault, NotFound, Refusal, Unacceptable
from compliance.vocabulary import GrantId, PartnerId, Purpose, UserId
from consent import permits
from consent.people import ADULT_YEARS
from consent.permits import BUSINESS_ZONE, PopulationPermit
from partners import list_criteria, loan_math, products
from partners.tables import EntryRow, PrescreenRow
from scoring import budget, policy, population, registry, release
from scoring.runs import points
from scoring.scorer import NO_ANSWER

CAP_MAX = 100_000
VALID_MAX = timedelta(days=90)
PAGE_MAX = 500
READERS = 7_002
"""Advisory locks of this class: one for each bank that reads its lists."""
STILL_HELD = """
select g.user_id, g.id as grant_id, g.expires_at
from consent_grant g join consent_person p on p.id = g.user_id
where g.id = any($1::uuid[]) and g.state = 'active' and g.expires_at > $2
  and coalesce(p.objected_to_prescreen_at, p.objected_to_automation_at) is null
order by g.id
"""
DELIVERABLE = f"""
with lines as (
    select e.* from partners_entry e
    join consent_grant g on g.id = e.grant_id
    join consent_person p on p.id = e.user_id
    left join consent_use u on u.grant_id = g.id and u.month = date_trunc('month', $5::date)::date
    where e.prescreen = $1 and e.recalled_at is null and e.valid_until > $2
      and g.state = 'active' and g.expires_at > $2 and ($3::uuid is null or e.id > $3)
      and p.born_on <= $5::date - make_interval(years => $6)
      and coalesce(p.objected_to_prescreen_at, p.objected_to_automation_at) is null
      and (g.calls_per_month is null or coalesce(u.calls, 0) < g.calls_per_month)
      and {budget.may_be_listed("$7", "$2")}
    order by e.id limit $4 for share of g
), used as (
    insert into consent_use (grant_id, month, calls, last_used_at)
    select grant_id, date_trunc('month', $5::date)::date, 1, $2 from lines
    on conflict (grant_id, month) do update set calls = consent_use.calls + 1, last_used_at = excluded.last_used_at
)
select * from lines order by id
"""  # noqa: S608 - every word is of this code base
RECALLED = """
select r.entry, r.reason, (r.recalled_at at time zone $5)::date as recalled_on,
       r.transaction::text as transaction, r.seq
from partners_recall r
where r.prescreen = $1 and r.transaction < pg_snapshot_xmin(pg_current_snapshot())
  and (r.transaction, r.seq) > ($2::text::xid8, $3)
order by r.transaction, r.seq limit $4
"""


class ListNotReady(Refusal):
    """The list is still being made, failed, or has expired."""

    status, code, title = 409, "list_not_ready", "This list cannot be read in its present state"


@dataclass(frozen=True, slots=True)
class Offer:
    """What everybody on a list is offered: the bank's own open product (`prd_...`), at that product's price."""

    product: str
    limit_minor: int
    currency: str
    daily_rate: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bank's list request."""

    criteria: object
    offer: Offer
    cap: int
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """Somebody chosen, and the grant that was live when they were."""

    user: UserId
    grant: GrantId
    expires_at: datetime


async def request(act: Act, wanted: Wanted) -> PrescreenRow:
    """Freeze a list request; a worker makes the list. Records `prescreen_requested` with the criteria's digest.

    Raises `CriteriaUnacceptable`, and `Unacceptable` with every fault of the rest.
    """
    tree = list_criteria.read(wanted.criteria)
    faults = await _offer_faults(act, wanted.offer)
    if not 1 <= wanted.cap <= CAP_MAX:
        faults.append(Fault("/cap", "out_of_range", f"between 1 and {CAP_MAX}"))
    if not act.now < wanted.valid_until <= act.now + VALID_MAX:
        faults.append(Fault("/valid_until", "out_of_range", f"within {VALID_MAX.days} days from now"))
    if faults:
        raise Unacceptable("the list cannot be made as asked", *faults)
    row = await PrescreenRow.create(
        id=ids.ordered_id(),
        partner=act.tenant,
        state="approved",
        criteria=wanted.criteria,
        criteria_digest=criteria.digest(tree),
        offer=asdict(wanted.offer),
        cap=wanted.cap,
        valid_until=wanted.valid_until,
        made_at=act.now,
        using_db=act.db,
    )
    act.record(
        "prescreen_requested",
        {
            "prescreen": ids.public("pre", row.id),
            "criteria": row.criteria_digest,
            "offer": row.offer,
            "cap": row.cap,
        },
    )
    return row


async def _offer_faults(act: Act, offer: Offer) -> list[Fault]:
    """What differs from the product: an invitation must be one that its own lender's published terms keep."""
    own = {ids.public("prd", p.id): p for p in await products.open_of(act, act.tenant)}
    product = own.get(offer.product)
    if product is None:
        return [
            Fault("/offer/product", "not_your_product", "name an open product of yours (GET /v1/products)")
        ]
    limits, faults = product.limits, []
    if offer.currency != product.currency:
        faults.append(Fault("/offer/currency", "not_the_products", f"the product is in {product.currency}"))
    if not limits.principal_min_minor <= offer.limit_minor <= limits.principal_max_minor:
        bounds = f"between {limits.principal_min_minor} and {limits.principal_max_minor}"
        faults.append(Fault("/offer/limit_minor", "out_of_range", bounds))
    if Decimal(offer.daily_rate) != product.daily_rate:
        rate = loan_math.decimal_text(product.daily_rate)
        faults.append(Fault("/offer/daily_rate", "not_the_products", f"the product's is {rate}"))
    return faults


async def run_next(act: Act, *, entries_min: int) -> PrescreenRow | None:
    """Make the oldest list that waits, in one act of the worker; none waiting: record nothing, return None.

    A crash before the commit leaves the request waiting; a refusal fails the list for good, so that it never holds
    up another. Records `prescreen_ready` or `prescreen_failed`.
    """
    rows = await act.db.execute_query_dict(
        "select id from partners_prescreen where state = 'approved' order by made_at limit 1 for update skip locked"
    )
    if not rows:
        return None
    row = await PrescreenRow.get(id=rows[0]["id"], using_db=act.db)
    try:
        chosen = await _choose(act, row, entries_min)
    except Refusal as refusal:
        _fail(act, row, refusal.code)
    else:
        if len(chosen) < entries_min:
            _fail(act, row, "too_few_people")
        else:
            await _freeze(act, row, chosen)
    await row.save(using_db=act.db)
    return row


def _fail(act: Act, row: PrescreenRow, why: str) -> None:
    row.state, row.why_failed = "failed", why
    what: dict[str, Json] = {"prescreen": ids.public("pre", row.id), "why": why}
    act.record("prescreen_failed", what, partner=PartnerId(row.partner))


async def _choose(act: Act, row: PrescreenRow, entries_min: int) -> list[Line]:
    """Who is on the list. Being chosen is an evaluation: with no channel open, nobody's features are read."""
    permitted = await permits.population_permit(act, Purpose.PRESCREEN, PartnerId(row.partner), act.now)

    async def best() -> list[UserId]:
        return await _best(act, row, permitted) if len(permitted.grants) >= entries_min else []

    released = await release.release_evaluation(act, permitted, best)
    return await _still_held(act, [permitted.grants[user] for user in released.value])


async def _best(act: Act, row: PrescreenRow, permitted: PopulationPermit) -> list[UserId]:
    """Who meets the criteria, best first where the cap cuts."""
    scorer = registry.scorer((await registry.champion(act)).digest)
    everybody = await population.read_everybody(act, permitted, scorer)
    told = await points.of(act, permitted, scorer, everybody.users)
    cutoffs = scorer.manifest.cutoffs
    bands = [policy.band(int(p), cutoffs) if p != NO_ANSWER else "" for p in told]
    tree = list_criteria.read(row.criteria)
    day = act.now.astimezone(BUSINESS_ZONE).date()
    places = np.flatnonzero(list_criteria.met(tree, everybody, bands, permitted, day) & (told != NO_ANSWER))
    best = places[np.lexsort((places, -told[places].astype(np.int32)))][: row.cap]
    return [everybody.users[i] for i in best]


async def _still_held(act: Act, grants: list[GrantId]) -> list[Line]:
    """Who withdrew meanwhile is not on the list.

    Nothing is locked: with a lock on each of its people, a list would keep them waiting who withdraw while it is
    written. A line of theirs that stays is never handed over: each is looked at again, and locked, when it is read.
    """
    rows = await act.db.execute_query_dict(STILL_HELD, [grants, act.now])
    await act.tick()
    return [Line(UserId(r["user_id"]), GrantId(r["grant_id"]), r["expires_at"]) for r in rows]


async def _freeze(act: Act, row: PrescreenRow, chosen: list[Line]) -> None:
    """Write the entries; their random ids are their order, so that order says nothing."""
    offer = row.offer
    entries = sorted(
        (
            EntryRow(
                id=ids.random_id(),
                prescreen=row.id,
                partner=row.partner,
                user_id=line.user,
                grant_id=line.grant,
                limit_minor=offer["limit_minor"],
                currency=offer["currency"],
                daily_rate=offer["daily_rate"],
                valid_until=min(row.valid_until, line.expires_at),
            )
            for line in chosen
        ),
        key=lambda entry: entry.id,
    )
    await EntryRow.bulk_create(entries, batch_size=1_000, using_db=act.db)
    listed: list[Json] = [ids.public("ent", entry.id) for entry in entries]
    row.state, row.entries, row.ready_at = "ready", len(entries), act.now
    row.snapshot = digest({"criteria": row.criteria_digest, "offer": offer, "entries": listed})
    act.record(
        "prescreen_ready",
        {"prescreen": ids.public("pre", row.id), "entries": len(entries), "snapshot": row.snapshot},
        partner=PartnerId(row.partner),
    )


async def find(at: Act | View, prescreen: UUID) -> PrescreenRow:
    """One list request of the caller's, or 404."""
    row = await PrescreenRow.filter(id=prescreen).using_db(at.db).first()
    if row is None:
        raise NotFound
    return row


async def entries(act: Act, prescreen: UUID, *, after: UUID | None, limit: int) -> list[EntryRow]:
    """A page of a list, each line checked again now; each handed over is a fact and a use of its person's grant.

    Who has no bit of the budget of information left towards this bank stays out of it.

    A list is released anew each time it is read: raises `ListNotReady`, `NoLawfulChannel`.
    """
    row = await find(act, prescreen)
    if row.state != "ready" or row.valid_until <= act.now:
        raise ListNotReady(f"the list is {row.state if row.state != 'ready' else 'expired'}")
    await release.refuse_unless_open(act, act.tenant, None)
    # One page at a time for each bank: two at once would both see the last use that a month allows.
    await act.db.execute_query_dict(
        "select pg_advisory_xact_lock($1, hashtext($2))", [READERS, str(act.tenant)]
    )
    today, basis = act.now.astimezone(BUSINESS_ZONE).date(), budget.listed(str(prescreen))
    found = await act.db.execute_query_dict(
        DELIVERABLE, [prescreen, act.now, after, min(limit, PAGE_MAX), today, ADULT_YEARS, basis]
    )
    await budget.spend_on_list(act, act.tenant, [UserId(entry["user_id"]) for entry in found], basis)
    await act.tick()
    for entry in found:
        what: dict[str, Json] = {
            "entry": ids.public("ent", entry["id"]),
            "prescreen": ids.public("pre", prescreen),
        }
        act.record("entry_delivered", what, person=UserId(entry["user_id"]), grant=GrantId(entry["grant_id"]))
    act.record("entries_delivered", {"prescreen": ids.public("pre", prescreen), "count": len(found)})
    return [EntryRow(**entry) for entry in found]


async def recalls(
    act: Act, prescreen: UUID, *, after: tuple[str, str] | None, limit: int
) -> list[dict[str, Any]]:
    """Lines taken back, oldest first; records how far the partner has read.

    A line says the day (in the business zone) and no time: a time to the second would link the entries of one person
    on several lists, and an entry to a withdrawal that is known otherwise.
    `after` is (transaction, number) of the last line read: a recall that commits late is never skipped.
    """
    await find(act, prescreen)
    transaction, number = after or ("0", "0")
    found: list[dict[str, Any]] = await act.db.execute_query_dict(
        RECALLED, [prescreen, transaction, int(number), min(limit, PAGE_MAX), BUSINESS_ZONE.key]
    )
    act.record("recalls_read", {"prescreen": ids.public("pre", prescreen), "count": len(found)})
    return found
