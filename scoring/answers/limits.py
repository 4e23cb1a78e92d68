"""Suggest a limit: a published rule over an income, a band and what is owed each month; never more than the product."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import UUID

from compliance import ids
from compliance.act import Act
from compliance.canonical import Json
from compliance.refusals import Fault, NotFound, Unacceptable
from compliance.vocabulary import AnswerForm, Categories, Category, PartnerId, UserId
from consent import permits
from scoring import budget, population, registry, release, scores
from scoring.answers import given, incomes
from scoring.answers.given import Answer, Worked
from scoring.budget import Disclosure
from scoring.release import Released
from scoring.tables import AnswerRow

KIND: Final = "limit"
PURPOSE = scores.PURPOSE
FORMULA = "limit@1"
MONTHS: Mapping[str, int] = MappingProxyType({"A": 6, "B": 4, "C": 2, "D": 1, "E": 0})
"""How many months of what is left of the income are suggested, by band."""
DIGITS = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """What the product lends at least and at most, in minor units."""

    product: UUID
    currency: str
    least_minor: int
    most_minor: int


def suggested(low_minor: int, owed_minor: int, band: str, frame: Frame) -> int:
    """The published rule, in minor units: months of the band times what is left of a month's income.

    What is left is the lower end of the income's 80 % interval less what is owed each month. It is rounded down to
    two digits, is at most what the product lends, and nothing where that is less than the product lends at least.
    """
    room = MONTHS[band] * max(0, low_minor - owed_minor)
    limit = min(_rounded_down(room), frame.most_minor)
    return limit if limit >= frame.least_minor else 0


def _rounded_down(amount: int) -> int:
    unit: int = 10 ** max(0, len(str(amount)) - DIGITS)
    return amount // unit * unit


async def issue(
    act: Act,
    user: UserId,
    wanted: Categories,
    *,
    income: UUID,
    owed_minor: int,
    frame: Frame,
    recipient: PartnerId | None = None,
) -> Released[Answer]:
    """Suggest a limit for a product, from an income that the same recipient was told before and a band of now.

    Both consents must live, now and whenever the limit is shown: it rests on the data of both. A limit tells the band, so it needs a consent that allows the band, and is counted in the
    budget of information and among the choices of data. Records `limit_suggested`.
    """
    earned = await _income(act, income, user, recipient or act.tenant, frame)
    permitted = await permits.permit(act, user, PURPOSE, wanted, recipient=recipient)
    scores.refuse_form(permitted, AnswerForm.BAND)
    model = await registry.champion(act)
    scorer = registry.scorer(model.digest)

    async def evaluate() -> Worked:
        held = await population.read(act, permitted, scorer)
        await budget.spend(act, permitted, Disclosure.LIMIT, model.digest, held.snapshot)
        evaluation = scorer.evaluate(held.values, held.evidence, permitted.categories)
        low_minor = earned.told["low"] * incomes.MINOR
        told: dict[str, Json] = {
            "formula": FORMULA,
            "limit_minor": suggested(low_minor, owed_minor, evaluation.band, frame),
            "currency": frame.currency,
            "product": ids.public("prd", frame.product),
            given.INCOME: ids.public("ans", income),
            "owed_minor": owed_minor,
        }
        used = {*evaluation.used, *map(Category, earned.used)}
        return Worked(
            told=told,
            held=held,
            events=tuple(held.evidence.events.get(c, 0) for c in scorer.categories),
            active_days=tuple(held.evidence.active_days.get(c, 0) for c in scorer.categories),
            used=tuple(sorted(used)),
            not_used=tuple(c for c in evaluation.not_used if c not in used),
            until=earned.valid_until,
        )

    released = await release.release_evaluation(act, permitted, evaluate)
    return await given.keep(act, permitted, model, released, kind=KIND, fact="limit_suggested")


async def _income(act: Act, income: UUID, user: UserId, recipient: PartnerId, frame: Frame) -> AnswerRow:
    """The income that the recipient was told of this person, while it and its consent hold; or 404."""
    row = await given.find(act, income, incomes.KIND)
    if (row.user_id, row.partner) != (user, recipient):
        raise NotFound
    await given.permit_again(act, row)
    faults = []
    if row.valid_until <= act.now:
        faults.append(Fault("/income", "too_old", "ask for the income again"))
    if row.told["currency"] != frame.currency:
        faults.append(Fault("/product", "currency", f"the income is in {row.told['currency']}"))
    if faults:
        raise Unacceptable("no limit can be worked out from this income", *faults)
    return row
