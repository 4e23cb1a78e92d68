"""What was issued, read for counting while its consent is alive: no name, no text and no id of a person leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from compliance.act import Act
from scoring import evaluation, registry
from scoring.evaluation import Floats
from scoring.governance import drift, fairness
from scoring.governance.drift import Profile
from scoring.governance.fairness import Labels
from scoring.registry import InUse, State
from scoring.scorer import unpack

MOST_SCORES = 100_000
"""So many of the newest ones are read, and beside them those that were decided on long enough ago."""
AT_ONCE = 2_000
RECENT = timedelta(days=90)
"""Drift is measured on what was issued in this time."""
SCORES = """
with newest as (
    select s.id from scoring_score s join consent_grant g on g.id = s.grant_id and g.state = 'active' and g.expires_at > $5
    where s.model = $1 and s.set_aside_at is null order by s.issued_at desc limit $4
)
select s.id, s.points, s.probability::float8 as probability, s.band, s.issued_at, s.used,
       h.log_odds::float8 as challenger,
       case when 'declared' = any(s.used) then f.attributes ->> 'region' end as region,
       extract(year from age(s.issued_at, p.born_on::timestamptz))::int as age
from scoring_score s
  join consent_grant g on g.id = s.grant_id and g.state = 'active' and g.expires_at > $5
  left join consent_person p on p.id = s.user_id
  left join scoring_feature f on f.user_id = s.user_id
  left join scoring_model c on c.product = $2 and c.state = $3
  left join scoring_shadow h on h.score = s.id and h.model = c.id
where s.model = $1 and s.set_aside_at is null and s.id in (select id from newest union select unnest($6::uuid[]))
order by s.issued_at desc
"""
VECTORS = """
select s.id, s.issued_at, s.vector from scoring_score s
  join consent_grant g on g.id = s.grant_id and g.state = 'active' and g.expires_at > $6
where s.model = $1 and s.set_aside_at is null and s.issued_at >= $2 and (s.issued_at, s.id) > ($3, $4)
order by s.issued_at, s.id limit $5
"""
GIVEN = """
select coalesce(sum(scores), 0)::bigint as given,
       coalesce(sum(scores) filter (where is_over), 0)::bigint as over,
       coalesce(sum(scores) filter (where is_recent), 0)::bigint as recent,
       coalesce(sum(scores) filter (where is_recent and is_over), 0)::bigint as recent_over
from (
    select 1 as scores, s.issued_at >= $2 as is_recent, not (g.state = 'active' and g.expires_at > $3) as is_over
    from scoring_score s join consent_grant g on g.id = s.grant_id where s.model = $1 and s.set_aside_at is null
    union all
    select scores, issued_on >= ($2 at time zone 'UTC')::date, true from scoring_gone where model = $1
) all_of_them
"""
"""How many there were is counted, and how many nobody may read any more; of these nothing else is looked at."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How many scores a figure is about, and how many of them are not in it: their consent is over, or they are deleted."""

    given: int
    over: int


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Scores of the model in use whose consent is alive, a row each.

    `recent` rows were issued in the last 90 days; in `alike` rows the categories count that the card's points are of.
    """

    model: InUse
    challenger: InUse | None
    card: Mapping[str, Any]
    horizon_days: int
    cutoffs: tuple[int, ...]
    scores: tuple[UUID, ...]
    points: NDArray[np.int16]
    log_odds: Floats
    bands: Labels
    recent: NDArray[np.bool_]
    alike: NDArray[np.bool_]
    challenger_log_odds: Floats
    groups: Mapping[str, Labels]
    inputs: Mapping[str, Profile]
    all_scores: LeftOut
    recent_scores: LeftOut


async def gather(act: Act, decided: Sequence[UUID]) -> Readings:
    """Read what the model in use has issued: the newest scores, and those whose loans were `decided` on long enough ago.

    Where many scores are issued, none of the newest is of a loan that could be seen through yet. Records
    `model_watched`, with how many scores.
    """
    model = await registry.champion(act)
    row, stated = await registry.find(act, model.digest), registry.scorer(model.digest).manifest
    rows = await act.db.execute_query_dict(
        SCORES, [model.id, registry.PRODUCT, State.CHALLENGER, MOST_SCORES, act.now, list(decided)]
    )
    since, used = act.now - RECENT, set(row.card.get("points", {}).get("used", ()))
    then = {name: drift.decode(told) for name, told in row.card.get("inputs", {}).items()}
    counted = (await act.db.execute_query_dict(GIVEN, [model.id, since, act.now]))[0]
    act.record("model_watched", {"model": model.digest, "scores": len(rows)})
    return Readings(
        model=model,
        challenger=await registry.challenger(act),
        card=row.card,
        horizon_days=stated.horizon_days,
        cutoffs=stated.cutoffs,
        scores=tuple(r["id"] for r in rows),
        points=np.array([r["points"] for r in rows], np.int16),
        log_odds=evaluation.log_odds(np.array([r["probability"] for r in rows], np.float64)),
        bands=np.array([r["band"] for r in rows], np.str_),
        recent=np.array([r["issued_at"] >= since for r in rows], np.bool_),
        alike=np.array([set(r["used"]) == used for r in rows], np.bool_),
        challenger_log_odds=np.array([r["challenger"] for r in rows], np.float64),
        groups={
            "age": fairness.age_bands([r["age"] for r in rows]),
            "region": np.array([r["region"] or fairness.UNKNOWN for r in rows], np.str_),
        },
        inputs=await _inputs(act, model, since, then),
        all_scores=LeftOut(counted["given"], counted["over"]),
        recent_scores=LeftOut(counted["recent"], counted["recent_over"]),
    )


async def _inputs(
    act: Act, model: InUse, since: datetime, then: Mapping[str, Profile]
) -> Mapping[str, Profile]:
    """How each input falls now between the edges that the card fixed, a batch at a time."""
    stated = registry.scorer(model.digest).manifest.inputs
    now: dict[str, Profile] = {}
    after: tuple[datetime, UUID] = (since, UUID(int=0))
    for _ in range(MOST_SCORES // AT_ONCE):
        rows = await act.db.execute_query_dict(VECTORS, [model.id, since, *after, AT_ONCE, act.now])
        if not rows:
            break
        values = np.stack([unpack(row["vector"]) for row in rows])
        for place, each in enumerate(stated):
            if each.name in then:
                part = drift.profiled(values[:, place], then[each.name].edges)
                now[each.name] = drift.added(now[each.name], part) if each.name in now else part
        after = rows[-1]["issued_at"], rows[-1]["id"]
    return now
