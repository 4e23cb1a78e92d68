"""Many scores of the small model and what lenders reported of them, written straight into the tables: a year in a second."""

import json
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import numpy as np
from support import small_models, world

from compliance.vocabulary import Categories, PartnerClient
from scoring import policy, scorer
from scoring.scorer import Scorer

BORN = (date(1968, 5, 1), date(1990, 5, 1), date(2001, 5, 1))
SCORE = """
insert into scoring_score (id, user_id, partner, grant_id, model, answer, points, band, probability, scale, confidence,
    used, not_used, reasons, channel, vector, events, active_days, snapshot, permit_digest, code_version, fact,
    fact_promise, issued_at, valid_until)
values ($1, $2, $3, $4, $5, 'full', $6, $7, $8, 'standard', 'high', $13, '{}', '[]', 'operator_licensed', $9, $10, $11,
    's', 'd', 'v', $1, 'p', $12, $12)
"""
OUTCOME = """
insert into partners_outcome (id, partner, score, user_id, grant_id, report, reported_at)
values ($1, $2, $3, $4, $5, $6, $7)
"""


async def a_year(
    owner: "asyncpg.Connection[asyncpg.Record]",
    bank: PartnerClient,
    *,
    rows: int = 1_000,
    honest: bool = True,
    matured: bool = True,
    drifted: float = 0.0,
    days_ago: int = 0,
    shared: Categories = world.ALL,
) -> list[UUID]:
    """Scores of the model in use, of three people of three ages, each decided; most are seen through after a year.

    `honest`: people default as often as the points say. `drifted` moves every value. `shared` are the kinds of data
    that people share. Returns the ids of the scores.
    """
    random, model = np.random.default_rng(rows), small_models.loaded()
    in_use = await owner.fetchval("select id from scoring_model where state = 'champion'")
    people = [(await world.persons(1, born_on=born))[0] for born in BORN]
    held = [(person.user, (await world.granted(person, bank)).id) for person in people]
    now, made, told = datetime.now(UTC), [], []
    for n, (values, events, days, points, log_odds, used) in enumerate(
        _answers(model, rows, drifted, shared)
    ):
        user, grant = held[n % 3]
        score, issued = uuid4(), now - timedelta(days=days_ago, minutes=n)
        probability = policy.probability(log_odds)
        band = policy.band(points, model.manifest.cutoffs)
        vector = scorer.pack(values)
        about = (score, user, bank.partner, grant, in_use, points, band, str(probability))
        made.append((*about, vector, events, days, issued, used))
        if n % 10 == 9:
            continue
        bad = bool(random.random() < (float(probability) if honest else 0.6))
        report = _report(n, bad, matured=matured)
        told.append((uuid4(), bank.partner, score, user, grant, json.dumps(report), now))
    await owner.executemany(SCORE, made)
    await owner.executemany(OUTCOME, told)
    return [each[0] for each in made]


def _answers(model: Scorer, rows: int, drifted: float, shared: Categories):
    matrix, _ = small_models.people()
    values = (matrix.values + np.float32(drifted)).astype(np.float32)
    shown = np.array([[category in shared for category in model.categories]] * len(values))
    values = scorer.hide(values, shown, model.category_of)
    found = model.evaluate_many(values, matrix.events, matrix.active_days, shown)
    answered = np.flatnonzero(found.points != scorer.NO_ANSWER)
    stated = model.manifest
    counted = scorer.filled(stated.inputs, stated.minimum, values, matrix.events, matrix.active_days)
    for n in np.resize(answered, rows):
        events = [int(matrix.events[c][n]) for c in model.categories]
        days = [int(matrix.active_days[c][n]) for c in model.categories]
        used = [category for category, counts in zip(model.categories, counted[n], strict=True) if counts]
        yield values[n], events, days, int(found.points[n]), float(found.log_odds[n]), used


def _report(n: int, bad: bool, *, matured: bool) -> dict[str, object]:
    today = datetime.now(UTC).date()
    decided = today - timedelta(days=400 + 31 * (n % 3)) if matured else today - timedelta(days=100)
    if n % 10 == 8:
        return {"decision": "declined", "decided_on": decided.isoformat()}
    return {
        "decision": "approved",
        "decided_on": decided.isoformat(),
        "observed_until": (today - timedelta(days=1)).isoformat(),
        "defaulted": bad,
    }
