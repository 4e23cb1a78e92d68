"""The challenger answers what the champion answered, on the same shared data: kept for monitoring, never released."""

from typing import Any

import numpy as np

from compliance.act import Act, Upkeep
from scoring import registry
from scoring.governance import places
from scoring.governance.places import Places
from scoring.registry import State
from scoring.scorer import NO_ANSWER, Evaluations, Scorer, unpack

AT_ONCE = 500
WAITING = """
from scoring_score s join scoring_model used on used.id = s.model
  join consent_grant g on g.id = s.grant_id and g.state = 'active' and g.expires_at > $4
  join scoring_model c on c.product = $1 and c.state = $2 and s.issued_at >= c.shadowed_at
where used.product = $1 and used.state = $3 and s.set_aside_at is null
  and not exists (select 1 from scoring_shadow h where h.score = s.id and h.model = c.id)
  and not exists (select 1 from consent_dispute d where d.user_id = s.user_id and d.state = 'open'
                  and (d.category = any(s.used) or d.score = s.id))
"""
"""Neither what a person may share no longer, nor what they say is wrong."""
ANY = "select 1 {waiting} limit 1"
SOME = """
select s.id, s.user_id, s.vector, s.events, s.active_days {waiting} order by s.issued_at limit $5
"""
SOUGHT = (registry.PRODUCT, State.CHALLENGER, State.CHAMPION)
INSERT = """
insert into scoring_shadow (score, model, user_id, points, log_odds, made_at) values ($1, $2, $3, $4, $5, $6)
on conflict do nothing
"""


async def any_waiting(upkeep: Upkeep) -> bool:
    """Whether a score of the champion's waits for the challenger; only while its consent is alive and nothing is disputed."""
    select = ANY.format(waiting=WAITING)
    return bool(await upkeep.db.execute_query_dict(select, [*SOUGHT, upkeep.now]))


async def follow(act: Act, most: int = AT_ONCE) -> int:
    """Let the challenger answer some of the scores that wait, from exactly what was shared then; return how many.

    Records `scores_shadowed`. Costs the call that asked for a score nothing: it has been answered long before.
    """
    challenger = await registry.challenger(act)
    if challenger is None:
        return 0
    champion = await registry.champion(act)
    select = SOME.format(waiting=WAITING)
    rows = await act.db.execute_query_dict(select, [*SOUGHT, act.now, most])
    scorer = registry.scorer(challenger.digest)
    found = places.find(registry.scorer(champion.digest).manifest, scorer.manifest)
    if not rows or found is None:
        return 0
    answers = _answers(scorer, found, rows)
    await act.db.execute_many(
        INSERT,
        [
            [row["id"], challenger.id, row["user_id"], *_answer(answers, n), act.now]
            for n, row in enumerate(rows)
        ],
    )
    act.record("scores_shadowed", {"count": len(rows), "model": challenger.digest})
    return len(rows)


def _answers(scorer: Scorer, found: Places, rows: list[dict[str, Any]]) -> Evaluations:
    """What was not shared is in no vector and has no count: nothing more is shown to the challenger."""
    values = np.stack([unpack(row["vector"]) for row in rows])[:, found.inputs]
    events = np.array([row["events"] for row in rows], np.int32)[:, found.categories]
    days = np.array([row["active_days"] for row in rows], np.int32)[:, found.categories]
    return scorer.evaluate_many(
        values,
        {category: events[:, n] for n, category in enumerate(scorer.categories)},
        {category: days[:, n] for n, category in enumerate(scorer.categories)},
        np.ones((len(rows), len(scorer.categories)), np.bool_),
    )


def _answer(answers: Evaluations, n: int) -> tuple[int | None, str | None]:
    if answers.points[n] == NO_ANSWER:
        return None, None
    return int(answers.points[n]), repr(float(answers.log_odds[n]))
