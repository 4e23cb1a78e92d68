"""Compute an old score again: from the stored vector, and from the behaviour itself where that is at hand."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import polars as pl

from compliance import ids
from compliance.act import Act
from compliance.vocabulary import Categories, UserId
from consent import deletion, people
from scoring import features, population, registry
from scoring.behaviour import Behaviour
from scoring.features import Matrix
from scoring.scorer import Evaluation, Scorer, Values, pack
from scoring.tables import ModelRow, ScoreRow


class Recomputed(StrEnum):
    """Whether the features came out the same from the events."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_AT_HAND = "not_at_hand"


@dataclass(frozen=True, slots=True)
class Again:
    """What an answer says now (points, or an amount) beside what it said; `same` is about all of it, to the digit."""

    then: int
    now: int
    same: bool
    features: Recomputed


async def replay(act: Act, score: UUID, behaviour: Behaviour | None = None) -> Again:
    """Compute a score again from what was recorded, and its features from the behaviour as of their cut-off.

    Records `score_replayed`. A score of somebody who was deleted is `erased`.
    """
    row = await ScoreRow.filter(id=score).using_db(act.db).first()
    if row is None:
        raise await deletion.missing(act, score)
    model = await ModelRow.filter(id=row.model).using_db(act.db).get()
    scorer = registry.scorer(model.digest)
    everything: Categories = frozenset(scorer.categories)
    values = scorer.read(bytes(row.vector))
    evidence = population.evidence_of(scorer, row.events, row.active_days, everything)
    evaluated = scorer.evaluate(values, evidence, everything)
    found = Recomputed.NOT_AT_HAND
    if behaviour is not None and row.data_cutoff is not None:
        reference = await people.reference_of(act, UserId(row.user_id))
        again = compute_again(behaviour, scorer, reference, row.data_cutoff)
        found = Recomputed.SAME if _fits(row, again, scorer, values) else Recomputed.DIFFERENT
    answer = Again(row.points, evaluated.points, _is_same(row, evaluated), found)
    act.record(
        "score_replayed",
        {"score": ids.public("scr", row.id), "same": answer.same, "features": found},
        person=UserId(row.user_id),
    )
    return answer


def compute_again(behaviour: Behaviour, scorer: Scorer, reference: str, cutoff: datetime) -> Matrix:
    """The features of one person as of a moment, exactly those that the model reads."""
    terms = behaviour.outcomes.filter((pl.col("user") == reference) & (pl.col("decided_at") == cutoff))
    asked = pl.DataFrame(
        {"user": [reference], "cutoff": [cutoff]},
        schema={"user": pl.String, "cutoff": pl.Datetime("us", "UTC")},
    ).join(terms.head(1).select("user", "amount", "tenor_days"), on="user", how="left")
    return features.compute(behaviour, asked, features.as_features(scorer.manifest.inputs))


def _fits(row: ScoreRow, again: Matrix, scorer: Scorer, values: Values) -> bool:
    """Whether what was stored is what comes out, to the bit, of the categories that the score was given."""
    given: Categories = frozenset(
        category
        for place, category in enumerate(scorer.categories)
        if row.events[place] or row.active_days[place]
    )
    counts = [
        (int(again.events[c][0]), int(again.active_days[c][0])) if c in given else (0, 0)
        for c in scorer.categories
    ]
    stored = list(zip(row.events, row.active_days, strict=True))
    return counts == stored and pack(population.reduce(again.values[0], scorer, given)) == pack(values)


def _is_same(row: ScoreRow, now: Evaluation) -> bool:
    then = (
        row.points,
        row.band,
        row.probability,
        row.scale,
        row.confidence,
        row.used,
        row.not_used,
        row.reasons,
    )
    return then == (
        now.points,
        now.band,
        str(now.probability),
        now.scale,
        now.confidence,
        [*now.used],
        [*now.not_used],
        [asdict(reason) for reason in now.reasons],
    )
