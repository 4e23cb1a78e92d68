"""/v1/limits: a partner asks how much of a product of its own an income and a band carry."""

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
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Category
from consent import people
from consent.people import Pseudonym
from partners import directory, products
from scoring.answers import given, limits
from scoring.answers.given import Answer
from scoring.answers.limits import Frame
from scoring.release import Released
from scoring.tables import AnswerRow


class LimitRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whose limit, for which product, from which income that you were told before and which band's categories.

    `owed` is what the person repays each month elsewhere, as you know it; zero where you know of nothing.
    """

    user: Id
    purpose: Literal["credit_assessment"]
    categories: Annotated[list[Category], msgspec.Meta(min_length=1, max_length=9)]
    product: Id
    income: Id
    owed: Money
    recipient: Id | None = None


class LimitTold(msgspec.Struct, frozen=True):
    """What a suggestion says, and from what it was worked out."""

    limit: Money
    formula: str
    product: str
    income: str
    owed: Money


class LimitView(Evaluated, frozen=True, omit_defaults=True, kw_only=True):
    """A suggestion by a published formula. It never says approve or decline; zero is no verdict either."""

    limit: Money
    formula: str
    product: str
    income: str
    owed: Money


@post(
    "/v1/limits", opt=client(Scope.SCORES, limits.PURPOSE, once=True), summary="Suggest a limit for a product"
)
async def issue_limit(request: AnyRequest, data: JSONBody[LimitRequest]) -> Response[bytes]:
    """Work a limit out by the formula `limit@1`: months of the band (A 6, B 4, C 2, D 1, E 0) times what is left.

    What is left is the lower end of the income's interval less what is owed each month. Rounded down to two digits,
    never above what the product lends, and zero where it is below what the product lends at least.
    """
    async with request_act(request) as act:
        user = await people.by_pseudonym(act, Pseudonym(ids.private("usr", data.user)))
        recipient = await directory.relayed_for(act, data.recipient) if data.recipient else None
        product = ids.private("prd", data.product)
        own = {each.id: each for each in await products.open_of(act, recipient or act.tenant)}
        if product not in own:
            fault = Fault("/product", "not_the_lenders_product", "name an open product of the lender's")
            raise Unacceptable("a limit is for a product", fault)
        bounds, currency = own[product].limits, own[product].currency
        if data.owed.currency != currency:
            fault = Fault("/owed/currency", "not_the_products", f"the product is in {currency}")
            raise Unacceptable("amounts are in the product's currency", fault)
        body = view(
            await limits.issue(
                act,
                user,
                frozenset(data.categories),
                income=ids.private("ans", data.income),
                owed_minor=data.owed.amount_minor,
                frame=Frame(product, currency, bounds.principal_min_minor, bounds.principal_max_minor),
                recipient=recipient,
            )
        )
        return answered(act, body, 201, {"Location": f"/v1/limits/{body.id}"})


@get("/v1/limits/{limit_id:str}", opt=client(Scope.SCORES, limits.PURPOSE), summary="See an earlier limit")
async def show_limit(request: AnyRequest, limit_id: FromPath[str]) -> LimitView:
    """Look at a limit again, while the consent it rests on lives. Each look is recorded like the first."""
    async with request_act(request) as act:
        return view(await given.show(act, ids.private("ans", limit_id), limits.KIND))


def view(released: Released[Answer]) -> LimitView:
    """A limit as its recipient sees it."""
    return evaluated(LimitView, released, **structs.asdict(told(released.value.row)))


def told(row: AnswerRow) -> LimitTold:
    """What a suggestion says, in minor units like every amount."""
    of = row.told
    limit, owed = (Money(of[name], of["currency"]) for name in ("limit_minor", "owed_minor"))
    return LimitTold(limit, of["formula"], of["product"], of["income"], owed)


routes = [issue_limit, show_limit]
