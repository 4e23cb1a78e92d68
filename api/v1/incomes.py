"""/v1/incomes: a partner asks for an estimate of the income of a person who consented."""

from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody
from msgspec import structs

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.v1.evaluated import Evaluated, evaluated
from api.v1.wire import Id, Money
from compliance import ids
from compliance.act import Act
from compliance.vocabulary import Category
from consent import people
from consent.people import Pseudonym
from partners import directory
from scoring.answers import given, incomes
from scoring.answers.given import Answer
from scoring.release import Released
from scoring.tables import AnswerRow


class IncomeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose income, from what. A licensed bureau that relays names the `recipient`."""

    user: Id
    purpose: Literal["income_estimate"]
    categories: Annotated[list[Category], msgspec.Meta(min_length=1, max_length=9)]
    recipient: Id | None = None


class Accuracy(msgspec.Struct, frozen=True):
    """How often the model was right about people whom it had not seen, beside one and the same amount for everybody."""

    model: str
    constant: str


class IncomeTold(msgspec.Struct, frozen=True):
    """What an estimate says of a month's income; `low` to `high` is the 80 % interval."""

    point: Money
    low: Money
    high: Money
    band: str
    confidence: str


class IncomeView(Evaluated, frozen=True, omit_defaults=True, kw_only=True):
    """An estimate of a month's income. It never says approve or decline.

    `low` to `high` is the 80 % interval; `band` is named by its bounds, in whole units of the currency; amounts have
    two significant digits.
    """

    point: Money
    low: Money
    high: Money
    band: str
    confidence: str
    accuracy: dict[str, Accuracy]


@post(
    "/v1/incomes",
    opt=client(Scope.SCORES, incomes.PURPOSE, once=True),
    summary="Estimate the income of a consenting person",
)
async def issue_income(request: AnyRequest, data: JSONBody[IncomeRequest]) -> Response[bytes]:
    """Estimate a person's monthly income from the categories they consented to for you, with the range it may lie in.

    Beside each accuracy of the model stands that of a constant: what a guess of one amount for everybody would reach.
    """
    async with request_act(request) as act:
        user = await people.by_pseudonym(act, Pseudonym(ids.private("usr", data.user)))
        recipient = await directory.relayed_for(act, data.recipient) if data.recipient else None
        body = await view(
            act, await incomes.issue(act, user, frozenset(data.categories), recipient=recipient)
        )
        return answered(act, body, 201, {"Location": f"/v1/incomes/{body.id}"})


@get(
    "/v1/incomes/{income_id:str}",
    opt=client(Scope.SCORES, incomes.PURPOSE),
    summary="See an earlier estimate of an income",
)
async def show_income(request: AnyRequest, income_id: FromPath[str]) -> IncomeView:
    """Look at an estimate again, while the consent it rests on lives. Each look is recorded like the first."""
    async with request_act(request) as act:
        return await view(act, await given.show(act, ids.private("ans", income_id), incomes.KIND))


async def view(act: Act, released: Released[Answer]) -> IncomeView:
    """An estimate as its recipient sees it."""
    accuracy = await incomes.accuracy(act, released.value.row)
    return evaluated(
        IncomeView,
        released,
        accuracy={name: Accuracy(*figures) for name, figures in accuracy.items()},
        **structs.asdict(told(released.value.row)),
    )


def told(row: AnswerRow) -> IncomeTold:
    """What an estimate says, in minor units like every amount."""
    point, low, high = (
        Money(row.told[name] * incomes.MINOR, row.told["currency"]) for name in ("point", "low", "high")
    )
    return IncomeTold(point, low, high, row.told["band"], row.told["confidence"])


routes = [issue_income, show_income]
