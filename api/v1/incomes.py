"""/v1/incomes: a partner asks for an estimate of the income of a person who consented."""

from typing import Annotated, Literal

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.v1.scores import Coverage, Marks
from api.v1.wire import Id, Money, when
from compliance import ids
from compliance.act import Act
from compliance.replies import Stored, check_on_replay
from compliance.vocabulary import Category
from consent import people
from consent.people import Pseudonym
from partners import directory
from scoring.answers import given, incomes
from scoring.answers.given import Answer
from scoring.release import Released

MINOR = 100
"""Minor units of a unit: incomes are estimated in currencies that have two decimal places."""


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


class IncomeView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An estimate of a month's income. It never says approve or decline.

    `low` to `high` is the 80 % interval; `band` is named by its bounds, in whole units of the currency; amounts have
    two significant digits.
    """

    id: str
    point: Money
    low: Money
    high: Money
    band: str
    confidence: str
    coverage: Coverage
    accuracy: dict[str, Accuracy]
    model: str
    channel: str
    grant_id: str
    issued_at: str
    valid_until: str
    fact_id: str
    fact_promise: str
    disputed: bool = False
    """The person disputes data that it rests on; staff answer within 20 days."""
    automated_decision: Literal["objected"] | None = None
    """The person objects to decisions made by automated means alone: one of your people must decide."""


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


@check_on_replay
async def still_told(act: Act, stored: Stored) -> None:
    """An old answer that holds an income is given again only while nothing was disputed or objected to since."""
    if act.purpose is not incomes.PURPOSE or stored.reply.status != 201 or stored.grant is None:
        return
    told = msgspec.json.decode(stored.reply.body, type=Marks)
    if told.id.startswith("ans_"):
        income, objected = ids.private("ans", told.id), told.automated_decision is not None
        await given.refuse_outdated(
            act, income, kind=incomes.KIND, disputed=told.disputed, automation_objected=objected
        )


async def view(act: Act, released: Released[Answer]) -> IncomeView:
    """What leaves: only a released evaluation can be shown."""
    answer, row = released.value, released.value.row
    accuracy = await incomes.accuracy(act, row)
    point, low, high = (
        Money(row.told[name] * MINOR, row.told["currency"]) for name in ("point", "low", "high")
    )
    return IncomeView(
        id=ids.public("ans", row.id),
        point=point,
        low=low,
        high=high,
        band=row.told["band"],
        confidence=row.told["confidence"],
        coverage=Coverage(row.used, row.not_used),
        accuracy={name: Accuracy(*figures) for name, figures in accuracy.items()},
        model=ids.public("mdl", row.model),
        channel=released.channel,
        grant_id=ids.public("gnt", row.grant_id),
        issued_at=when(row.issued_at),
        valid_until=when(row.valid_until),
        fact_id=ids.public("fct", row.fact),
        fact_promise=row.fact_promise,
        disputed=answer.disputed,
        automated_decision="objected" if answer.automation_objected else None,
    )


routes = [issue_income, show_income]
