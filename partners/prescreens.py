"""Pre-approval lists: a bank's frozen criteria and offer in, an immutable list of entry ids out, and lines taken back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from compliance import criteria, criteria_json, ids
from compliance.act import Act, View
from compliance.canonical import Json, digest
from compliance.criteria import Attribute, Criteria
from compliance.refusals import Fault, NotFound, Refusal, Unacceptable
from compliance.vocabulary import GrantId, PartnerId, Purpose, UserId
from consent import permits
from consent.endings import Ended, on_grant_ended
from consent.people import age_on
from consent.permits import BUSINESS_ZONE, PopulationPermit
from partners.tables import EntryRow, PrescreenRow
from scoring import policy, population, registry, release
from scoring.population import Everybody
from scoring.scorer import NO_ANSWER, Scorer

CAP_MAX = 100_000
VALID_MAX = timedelta(days=90)
PAGE_MAX = 500
BANDS = ("A", "B", "C", "D", "E")
AGE_BANDS = {"18_24": (18, 24), "25_34": (25, 34), "35_44": (35, 44), "45_54": (45, 54), "55_plus": (55, 150)}
CATALOGUE = {
    a.name: a
    for a in (
        Attribute("band", "code", codes=frozenset(BANDS)),
        Attribute("age_band", "code", codes=frozenset(AGE_BANDS)),
        Attribute("region", "code", codes=frozenset({"east", "central", "west", "northeast"})),
        Attribute(
            "income_band",
            "code",
            codes=frozenset({"below_3000", "3000_4499", "4500_7999", "8000_19999", "from_20000"}),
        ),
    )
}
"""All that a list can be asked by: coarse and closed. Sex and marital status are not in it, and cannot be."""
DELIVERABLE = """
select e.* from partners_entry e join consent_grant g on g.id = e.grant_id
where e.prescreen = $1 and e.recalled_at is null and e.valid_until > $2
  and g.state = 'active' and g.expires_at > $2 and ($3::uuid is null or e.id > $3)
order by e.id limit $4 for share of g
"""
RECALLED = """
select r.entry, r.reason, r.recalled_at, r.transaction::text as transaction, r.seq from partners_recall r
where r.prescreen = $1 and r.transaction < pg_snapshot_xmin(pg_current_snapshot())
  and (r.transaction, r.seq) > ($2::text::xid8, $3)
order by r.transaction, r.seq limit $4
"""


class ListNotReady(Refusal):
    """The list is still being made, failed, or has expired."""

    status, code, title = 409, "list_not_ready", "This list cannot be read in its present state"


@dataclass(frozen=True, slots=True)
class Offer:
    """What everybody on a list is offered."""

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


async def request(act: Act, wanted: Wanted) -> PrescreenRow:
    """Freeze a list request; a worker makes the list. Records `prescreen_requested` with the criteria's digest."""
    tree = criteria_json.parse(wanted.criteria, CATALOGUE)
    faults = []
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
        offer={
            "product": wanted.offer.product,
            "limit_minor": wanted.offer.limit_minor,
            "currency": wanted.offer.currency,
            "daily_rate": wanted.offer.daily_rate,
        },
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


async def run_next(act: Act, *, entries_min: int) -> PrescreenRow | None:
    """Make the oldest list that waits, in one act of the worker; none waiting: record nothing, return None.

    A crash before the commit leaves the request waiting. Records `prescreen_ready` or `prescreen_failed`.
    """
    rows = await act.db.execute_query_dict(
        "select id from partners_prescreen where state = 'approved' order by made_at limit 1 for update skip locked"
    )
    if not rows:
        return None
    row = await PrescreenRow.get(id=rows[0]["id"], using_db=act.db)
    partner = PartnerId(row.partner)
    permitted = await permits.population_permit(act, Purpose.PRESCREEN, partner, act.now)
    chosen: list[UserId] = []
    if len(permitted.grants) >= entries_min:
        # Being chosen is an evaluation: it leaves by the lawful channel, or nobody's data are read.
        released = await release.release_evaluation(act, permitted, partial(_choose, act, row, permitted))
        chosen = released.value
    if len(chosen) < entries_min:
        row.state, row.why_failed = "failed", "too_few_people"
        act.record(
            "prescreen_failed",
            {"prescreen": ids.public("pre", row.id), "why": row.why_failed},
            partner=partner,
        )
    else:
        await _freeze(act, row, permitted, chosen)
    await row.save(using_db=act.db)
    return row


async def _choose(act: Act, row: PrescreenRow, permitted: PopulationPermit) -> list[UserId]:
    """Who meets the criteria, best first where the cap cuts."""
    scorer = registry.scorer((await registry.champion(act)).digest)
    everybody = await population.read_everybody(act, permitted, scorer)
    points = scorer.evaluate_many(
        everybody.values, everybody.events, everybody.active_days, everybody.shared
    ).points
    tree = criteria_json.parse(row.criteria, CATALOGUE)
    day = act.now.astimezone(BUSINESS_ZONE).date()
    columns, known = _columns(everybody, scorer, points, permitted, day)
    eligible = _eligible(tree, columns, known, everybody) & (points != NO_ANSWER)
    places = np.flatnonzero(eligible)
    best = places[np.lexsort((places, -points[places].astype(np.int32)))][: row.cap]
    return [everybody.users[i] for i in best]


def _columns(
    everybody: Everybody, scorer: Scorer, points: NDArray[np.int16], permitted: PopulationPermit, day: date
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.bool_]]]:
    cutoffs = scorer.manifest.cutoffs
    told: dict[str, list[str]] = {
        "band": [policy.band(int(p), cutoffs) if p != NO_ANSWER else "" for p in points],
        "age_band": [_age_band(age_on(permitted.born_on[u], day)) for u in everybody.users],
        "region": [str(a.get("region") or "") for a in everybody.attributes],
        "income_band": [str(a.get("income_band") or "") for a in everybody.attributes],
    }
    columns: dict[str, NDArray[Any]] = {name: np.array(values, dtype="U64") for name, values in told.items()}
    return columns, {name: column != "" for name, column in columns.items()}


def _eligible(
    tree: Criteria,
    columns: Mapping[str, NDArray[Any]],
    known: Mapping[str, NDArray[np.bool_]],
    everybody: Everybody,
) -> NDArray[np.bool_]:
    """The criteria, and what no bank can ask away: students, and who may be one, are never on a list."""
    no_student = np.array([a.get("is_student") is False for a in everybody.attributes])
    met: NDArray[np.bool_] = criteria.mask(tree, columns, known) & no_student
    return met


def _age_band(age: int) -> str:
    return next((name for name, (low, high) in AGE_BANDS.items() if low <= age <= high), "")


async def _freeze(act: Act, row: PrescreenRow, permitted: PopulationPermit, chosen: list[UserId]) -> None:
    """Write the entries; their random ids are their order, so that order says nothing."""
    offer = row.offer
    entries = sorted(
        (
            EntryRow(
                id=ids.random_id(),
                prescreen=row.id,
                partner=row.partner,
                user_id=user,
                grant_id=permitted.grants[user],
                limit_minor=offer["limit_minor"],
                currency=offer["currency"],
                daily_rate=offer["daily_rate"],
                valid_until=row.valid_until,
            )
            for user in chosen
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
    """A page of a list, each line checked again now; each line handed over is a fact of its person's."""
    row = await find(act, prescreen)
    if row.state != "ready" or row.valid_until <= act.now:
        raise ListNotReady(f"the list is {row.state if row.state != 'ready' else 'expired'}")
    found = await act.db.execute_query_dict(DELIVERABLE, [prescreen, act.now, after, min(limit, PAGE_MAX)])
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

    `after` is (transaction, number) of the last line read: a recall that commits late is never skipped.
    """
    await find(act, prescreen)
    transaction, number = after or ("0", "0")
    found: list[dict[str, Any]] = await act.db.execute_query_dict(
        RECALLED, [prescreen, transaction, int(number), min(limit, PAGE_MAX)]
    )
    act.record("recalls_read", {"prescreen": ids.public("pre", prescreen), "count": len(found)})
    return found


@on_grant_ended("partners_entry")
async def recall_entries(act: Act, ended: Ended) -> None:
    """Take the person back off every list that rested on the grant, in the act that ends it."""
    rows = await act.db.execute_query_dict(
        """update partners_entry set recalled_at = $2, recall_reason = $3
           where grant_id = $1 and recalled_at is null returning id, prescreen, partner""",
        [ended.grant, act.now, ended.code],
    )
    for row in rows:
        await act.db.execute_query(
            "insert into partners_recall (entry, prescreen, partner, reason, recalled_at) values ($1, $2, $3, $4, $5)",
            [row["id"], row["prescreen"], row["partner"], ended.code, act.now],
        )
        what: dict[str, Json] = {"entry": ids.public("ent", row["id"]), "reason": ended.code}
        act.record(
            "entry_recalled", what, person=ended.user, grant=ended.grant, partner=PartnerId(row["partner"])
        )
