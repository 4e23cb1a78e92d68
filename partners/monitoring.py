"""Each day's figures about the model in use: what it promised, held against what lenders reported; alerts as facts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np

from compliance import ids
from compliance.act import Act, Upkeep, View
from compliance.canonical import Json
from consent.permits import BUSINESS_ZONE
from partners import honour
from partners.tables import MonitoringRow, SeenThroughRow
from scoring import registry
from scoring.governance import alerts, drift, fairness, performance
from scoring.governance.drift import Drift
from scoring.governance.performance import Cell, Issued
from scoring.monitoring import readings
from scoring.monitoring.readings import LeftOut, Readings

EVERY = timedelta(days=1)
MOST_OUTCOMES, MOST_LONG_DECIDED = 200_000, 100_000
OUTCOMES = """
select score, (array_agg(report ->> 'decision' order by reported_at desc))[1] as decision,
       min((report ->> 'decided_on')::date) as decided_on, max((report ->> 'observed_until')::date) as observed_until,
       bool_or(coalesce((report ->> 'defaulted')::boolean, (report ->> 'days_past_due_max')::int >= 90)) as defaulted,
       bool_or(counted_at is not null) as counted
from partners_outcome where score = any($2::uuid[]) group by score order by max(reported_at) desc limit $1
"""
LONG_DECIDED = """
select o.score from partners_outcome o join scoring_score s on s.id = o.score and s.model = $1
where o.report ->> 'decision' = 'approved' and (o.report ->> 'decided_on')::date <= $2
group by o.score order by max(o.report ->> 'decided_on') desc limit $3
"""
COUNTED = "update partners_outcome set counted_at = $1 where score = any($2::uuid[]) and counted_at is null"
CELLS = """
select month, band, sum(loans)::bigint as loans, sum(defaults)::bigint as defaults, sum(expected) as expected
from partners_seen_through where model = $1 group by month, band
"""
DECIDED = """
select count(*) as given, count(*) filter (where is_over) as over, count(*) filter (where is_over and not counted) as lost
from (
    select not (g.state = 'active' and g.expires_at > $2) as is_over, bool_or(o.counted_at is not null) as counted
    from partners_outcome o join scoring_score s on s.id = o.score and s.model = $1 and s.set_aside_at is null
      join consent_grant g on g.id = s.grant_id
    group by s.id, g.state, g.expires_at
) decided
"""
ALONE = "select pg_advisory_xact_lock(hashtext('monitoring'))"
"""Two workers may work figures out at once: the second one waits, and finds what the first one counted and told."""
HONOURED = """
select count(*) as approved, count(*) filter (where given >= asked) as kept from (
    select distinct on (o.referral) (o.report ->> 'approved_minor')::bigint as given,
           (r.wish ->> 'amount_minor')::bigint as asked, o.report ->> 'decision' as decision
    from partners_outcome o join partners_referral r on r.id = o.referral
    where o.reported_at > $1 order by o.referral, o.reported_at desc
) newest where decision = 'approved' and given is not null
"""
REPORTED = ("decision", "decided_on", "observed_until", "defaulted", "counted")
DUE = """
select 1 from scoring_model m where m.product = $1 and m.state = 'champion'
  and not exists (select 1 from partners_monitoring r where r.model = m.digest and r.made_at > $2)
"""
HONOURED_WITHIN = timedelta(days=365)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a report is made of."""

    at: datetime
    read: Readings
    issued: Issued
    cells: Sequence[Cell]
    decided: LeftOut
    uncounted: LeftOut
    honoured: Mapping[str, Json]
    lists: Sequence[Mapping[str, Json]]


@dataclass(frozen=True, slots=True)
class Reported:
    """What lenders reported of one score, all reports together."""

    decision: str
    decided_on: date
    observed_until: date | None
    defaulted: bool | None
    counted: bool = False

    def matured(self, horizon_days: int, today: date) -> bool:
        """Whether the horizon is over since the decision, and the loan was observed to its end, or defaulted."""
        end = self.decided_on + timedelta(days=horizon_days)
        if self.decision != "approved" or self.defaulted is None or end > today:
            return False
        return self.defaulted or (self.observed_until is not None and self.observed_until >= end)


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a day as they are kept, and the alerts that stood then."""

    made_at: datetime
    model: str
    figures: Mapping[str, Any]
    alerts: alerts.Standing


async def is_due(upkeep: Upkeep) -> bool:
    """Whether a day has passed since the last report about the model in use."""
    return bool(await upkeep.db.execute_query_dict(DUE, [registry.PRODUCT, upkeep.now - EVERY]))


async def gather(act: Act) -> Seen:
    """Read what was issued and what was reported of it; count for good what is seen through (`loans_counted`)."""
    read = await readings.gather(act, await _long_decided(act))
    await act.db.execute_query_dict(ALONE)
    rows = await act.db.execute_query_dict(OUTCOMES, [MOST_OUTCOMES, list(read.scores)])
    told = {row["score"]: Reported(*(row[name] for name in REPORTED)) for row in rows}
    issued = await _count(act, read, _issued(read, told, act.now.astimezone(BUSINESS_ZONE).date()))
    cells = await act.db.execute_query_dict(CELLS, [read.model.digest])
    decided = (await act.db.execute_query_dict(DECIDED, [read.model.id, act.now]))[0]
    counted = (await act.db.execute_query_dict(HONOURED, [act.now - HONOURED_WITHIN]))[0]
    return Seen(
        at=act.now,
        read=read,
        issued=issued,
        cells=[Cell(**cell) for cell in cells],
        decided=LeftOut(decided["given"], decided["over"]),
        uncounted=LeftOut(decided["given"], decided["lost"]),
        honoured=performance.honoured(counted["kept"], counted["approved"]),
        lists=await honour.of_lists(act),
    )


async def _long_decided(act: Act) -> list[UUID]:
    """Scores of the model in use whose loans may be seen through by now: the horizon is over since the decision."""
    model = await registry.champion(act)
    horizon = timedelta(days=registry.scorer(model.digest).manifest.horizon_days)
    until = act.now.astimezone(BUSINESS_ZONE).date() - horizon
    rows = await act.db.execute_query_dict(LONG_DECIDED, [model.id, until, MOST_LONG_DECIDED])
    return [row["score"] for row in rows]


async def _count(act: Act, read: Readings, issued: Issued) -> Issued:
    """Add to what is counted for good; each loan once, and nothing of it says whose it was."""
    found = performance.to_count(issued)
    counted = issued.counted.copy()
    for cell, rows in found:
        await SeenThroughRow.create(
            id=ids.ordered_id(),
            model=read.model.digest,
            counted_at=act.now,
            **asdict(cell),
            using_db=act.db,
        )
        counted |= rows
    fresh = [read.scores[n] for n in np.flatnonzero(counted & ~issued.counted)]
    if fresh:
        await act.db.execute_query(COUNTED, [act.now, fresh])
        act.record("loans_counted", {"model": read.model.digest, "loans": len(fresh)})
    return replace(issued, counted=counted)


def _issued(read: Readings, told: Mapping[UUID, Reported], today: date) -> Issued:
    found = [told.get(score) for score in read.scores]
    return Issued(
        points=read.points,
        log_odds=read.log_odds,
        bands=read.bands,
        month=np.array([f"{each.decided_on:%Y-%m}" if each else "" for each in found], np.str_),
        approved=np.array([bool(each and each.decision == "approved") for each in found], np.bool_),
        matured=np.array([bool(each and each.matured(read.horizon_days, today)) for each in found], np.bool_),
        defaulted=np.array([bool(each and each.defaulted) for each in found], np.bool_),
        counted=np.array([bool(each and each.counted) for each in found], np.bool_),
        challenger=read.challenger_log_odds,
    )


def report(seen: Seen) -> dict[str, Json]:
    """The figures, as JSON: every number with a fraction is a decimal string; nothing else is looked at."""
    read, issued = seen.read, seen.issued
    recent = read.points[read.recent]
    return {
        "made_at": seen.at.isoformat(),
        "model": read.model.digest,
        "challenger": read.challenger.digest if read.challenger else None,
        "horizon_days": read.horizon_days,
        "scores": len(read.points),
        "recent": len(recent),
        "left_out": {
            "scores": _left_out(read.all_scores),
            "recent": _left_out(read.recent_scores),
            "decided": _left_out(seen.decided),
            "uncounted": _left_out(seen.uncounted),
        },
        "ranking": performance.ranking(issued),
        "calibration": performance.calibration(issued, seen.cells),
        "stability": _stability(read),
        "inputs": _inputs(read),
        "vintages": performance.vintages(issued, seen.cells),
        "approvals": performance.approvals(issued),
        "honoured": seen.honoured,
        "lists": list(seen.lists),
        "groups": fairness.encode(fairness.ratios(read.points, read.cutoffs, read.groups)),
        "comparison": performance.comparison(issued) if read.challenger else None,
    }


def _left_out(told: LeftOut) -> dict[str, Json]:
    share = told.over / told.given if told.given else 0.0
    return {"given": told.given, "over": told.over, "share": f"{share:.4f}"}


def _stability(read: Readings) -> Mapping[str, Json]:
    """PSI of the points against the held-out rows, among those in which the same categories count."""
    now = drift.points_profile(read.points[read.recent & read.alike])
    kept = read.card.get("points")
    if kept is None:
        return {"state": Drift.INSUFFICIENT, "psi": "unknown", "then": None, "now": drift.encode(now)}
    then = drift.added(drift.decode(kept["earlier"]), drift.decode(kept["later"]))
    state, index = drift.read(then, now)
    return {"state": state, "psi": f"{index:.4f}", "then": drift.encode(then), "now": drift.encode(now)}


def _inputs(read: Readings) -> list[Mapping[str, Json]]:
    """CSI of each input, the most moved first; what is missing is shown beside it, for people choose what to share."""
    told: list[tuple[float, dict[str, Json]]] = []
    for name, kept in read.card.get("inputs", {}).items():
        then, now = drift.decode(kept), read.inputs.get(name)
        if now is None:
            continue
        state, index = drift.read(then, now)
        missing = {"missing_then": _missing(then), "missing_now": _missing(now)}
        told.append(
            (index, {"name": name, "csi": f"{index:.4f}", "state": state, "rows": now.rows, **missing})
        )
    return [line for _, line in sorted(told, key=lambda each: (-each[0], str(each[1]["name"])))]


def _missing(told: drift.Profile) -> str:
    whole = told.rows + told.missing
    return f"{told.missing / whole:.4f}" if whole else "0.0000"


async def keep(act: Act, made: Mapping[str, Json]) -> Report:
    """Keep a report; record `monitoring_alert` for each alert that began or is over since the last one."""
    await act.db.execute_query_dict(ALONE)
    model = str(made["model"])
    before, now = await newest(act, model), alerts.standing(made)
    for change in alerts.changes(before.alerts if before else {}, now):
        state = "raised" if change.raised else "over"
        act.record(
            "monitoring_alert", {"alert": change.alert, "state": state, "figures": dict(change.figures)}
        )
    row = await MonitoringRow.create(
        id=ids.ordered_id(), made_at=act.now, model=model, report=dict(made), alerts=now, using_db=act.db
    )
    act.record("monitoring_reported", {"model": model, "alerts": len(now)})
    return _read(row)


async def newest(at: Act | View, model: str | None = None) -> Report | None:
    """The last report, or the last about one model."""
    asked = {"model": model} if model else {}
    row = await MonitoringRow.filter(**asked).using_db(at.db).order_by("-made_at").first()
    return _read(row) if row else None


def _read(row: MonitoringRow) -> Report:
    return Report(row.made_at, row.model, row.report, row.alerts)
