"""Estimate incomes: with a permit, from what was shared, released by the one gate, recorded, and repeatable."""

from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from compliance import ids
from compliance.act import Act
from compliance.vocabulary import Categories, PartnerId, Purpose, UserId
from consent import permits
from scoring import decimals, kinds, population, registry, release
from scoring.answers import given, income_card, income_manifest
from scoring.answers.given import Answer, Worked
from scoring.answers.income import IncomeEstimate, IncomeModel
from scoring.governance.shapes import IncomeCard
from scoring.kinds import Kind
from scoring.population import Held
from scoring.registry import NoModel
from scoring.release import Released
from scoring.replaying import Again, Recomputed
from scoring.scorer import Evidence, Scorer, unpack
from scoring.tables import AnswerRow, ModelRow

KIND = given.INCOME
PURPOSE = Purpose.INCOME_ESTIMATE
PRODUCT = kinds.INCOME
MINOR = 100
"""Minor units of a unit: incomes are estimated in currencies that have two decimal places."""
ACCURACIES = (*income_card.HITS, "interval_held")
kinds.declare(PRODUCT, Kind(income_manifest.TARGET, income_manifest.read, IncomeCard, income_card.obstacles))


@lru_cache(maxsize=registry.LOADED_MAX)
def _loaded(path: Path) -> IncomeModel:
    return IncomeModel.load(path)


def model(digest_of_model: str) -> IncomeModel:
    """An income model in memory, verified against its digest when it is first loaded."""
    return _loaded(registry.folder(digest_of_model))


async def issue(
    act: Act, user: UserId, wanted: Categories, *, recipient: PartnerId | None = None
) -> Released[Answer]:
    """Estimate a person's income for a partner, from the categories they consented to.

    A licensed bureau that relays names the `recipient`. Refuses without a live grant, without enough evidence, and
    without a lawful channel. Records `income_estimated`.
    """
    permitted = await permits.permit(act, user, PURPOSE, wanted, recipient=recipient)
    in_use = await registry.champion(act, PRODUCT)
    estimator = model(in_use.digest)
    listed = registry.scorer((await registry.champion(act)).digest)

    async def evaluate() -> Worked:
        held = arranged(await population.read(act, permitted, listed), listed, estimator)
        estimate = estimator.evaluate(held.values, held.evidence, permitted.categories)
        return Worked(
            told=told(estimate),
            held=held,
            events=tuple(held.evidence.events.get(c, 0) for c in estimator.categories),
            active_days=tuple(held.evidence.active_days.get(c, 0) for c in estimator.categories),
            used=estimate.used,
            not_used=estimate.not_used,
        )

    released = await release.release_evaluation(act, permitted, evaluate)
    return await given.keep(act, permitted, in_use, released, kind=KIND, fact="income_estimated")


def arranged(held: Held, listed: Scorer, estimator: IncomeModel) -> Held:
    """What is held of a person, in the order in which the income model reads it.

    Features are stored in the order of the score model in use; an income model reads those of them that it names.
    Refuses (`NoModel`) where it names one that is not stored: it would take everybody's for missing.
    """
    place = {(each.name, each.expression): n for n, each in enumerate(listed.manifest.inputs)}
    try:
        order = [place[each.name, each.expression] for each in estimator.manifest.inputs]
    except KeyError:
        raise NoModel("the income model in use reads features that are not stored") from None
    return Held(held.values[order], held.evidence, held.snapshot, held.data_cutoff)


def told(estimate: IncomeEstimate) -> dict[str, Any]:
    """What an estimate tells, as it is kept."""
    return {
        "point": estimate.point,
        "low": estimate.low,
        "high": estimate.high,
        "band": estimate.band,
        "currency": estimate.currency,
        "confidence": estimate.confidence,
    }


async def accuracy(act: Act, row: AnswerRow) -> dict[str, tuple[str, str]]:
    """How often the model was right on people it had not seen, and how often one and the same amount for everybody is."""
    stored = await ModelRow.get(id=row.model, using_db=act.db)
    tried = stored.card["slices"][decimals.EVERYTHING]
    return {name: (tried[name]["model"], tried[name]["constant"]) for name in ACCURACIES}


async def replay(act: Act, income: UUID) -> Again:
    """Work an old estimate out again from what was recorded. Records `income_replayed`."""
    row = await given.find(act, income, KIND)
    estimator = model((await ModelRow.get(id=row.model, using_db=act.db)).digest)
    evidence = Evidence(
        dict(zip(estimator.categories, row.events, strict=True)),
        dict(zip(estimator.categories, row.active_days, strict=True)),
    )
    values = np.asarray(unpack(row.vector))
    again = estimator.evaluate(values, evidence, frozenset(estimator.categories))
    answer = Again(row.told["point"], again.point, told(again) == row.told, Recomputed.NOT_AT_HAND)
    act.record(
        "income_replayed",
        {"answer": ids.public("ans", row.id), "same": answer.same},
        person=UserId(row.user_id),
    )
    return answer
