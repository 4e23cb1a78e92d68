"""/v1/applications: a person compares what lenders offer for a wish, and picks the one that may learn of it."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody

from api.access import AnyRequest, answered, person, request_act, request_view
from api.v1.wire import Id, Money, when
from compliance import ids
from compliance.vocabulary import Language, PartnerId, Purpose
from consent import receipts
from partners import applications, loan_math
from partners.applications import OFFERS_STAND_FOR, Application
from partners.connectors import registry
from partners.loan_math import Formula
from partners.products import Names, Titles
from partners.tables import OfferRow, ReferralRow
from partners.terms import INSTALMENTS_CEILING
from partners.wishes import Stated, UseOfFunds

Instalments = Annotated[int, msgspec.Meta(ge=1, le=INSTALMENTS_CEILING)]
Region = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,31}$")]
Jurisdiction = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}$", description="ISO 3166-1")]


class ApplicationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What you wish. `agree_to_matching` gives us, not a lender, the consent to compare, if you have not given it."""

    amount: Money
    instalments: Instalments
    region: Region
    is_student: bool
    use_of_funds: UseOfFunds
    language: Language
    jurisdiction: Jurisdiction = "CN"
    agree_to_matching: bool = False


class PickRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Your yes: to this one lender, which learns of you only now."""

    offer: Id
    agree_to_hand_over: bool
    language: Language


class Text(msgspec.Struct, frozen=True, rename={"zh": "zh-CN"}):
    """A text in both languages."""

    zh: str
    en: str


class LenderView(Text, frozen=True):
    """A lender, by its id and its name."""

    id: str


class AnnualRate(msgspec.Struct, frozen=True):
    """The whole cost as a yearly fraction, by a named formula: a simple rate is called simple."""

    formula: Formula
    label: Text
    annual: str


class FeeView(msgspec.Struct, frozen=True):
    """A fee, and who collects it."""

    amount: Money
    collector: str
    charged: str


class InstalmentView(msgspec.Struct, frozen=True):
    """What is due on one day, in minor units of the offer's currency."""

    k: int
    due: str
    days: int
    principal_minor: int
    interest_minor: int
    fee_minor: int
    balance_minor: int


class LateView(msgspec.Struct, frozen=True):
    """The penalty if the dearest instalment is paid this many days late."""

    days: int
    penalty: Money


class OfferView(msgspec.Struct, frozen=True):
    """A lender's terms for your wish. `operator_stake`: we own a part of this lender; it does not change the order."""

    id: str
    rank: int
    lender: LenderView
    product: Text
    monthly: Money
    total_cost: Money
    rates: list[AnnualRate]
    fees: list[FeeView]
    worst_case_if_late: LateView
    schedule: list[InstalmentView]
    schedule_digest: str
    operator_stake: bool


class LeftOutView(msgspec.Struct, frozen=True):
    """A lender whose terms do not fit your wish, and why."""

    lender: LenderView
    product: Text
    code: str


class ReferralState(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the lender you picked is."""

    id: str
    lender: str
    state: str
    delivery: str
    changed_at: str
    reason: str | None = None


class ApplicationView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Your wish and what is offered for it, cheapest first by `metric`; everybody who does not fit is named."""

    id: str
    metric: str
    wish: dict[str, Any]
    offers: list[OfferView]
    left_out: list[LeftOutView]
    receipt_digest: str
    grant: str
    made_at: str
    valid_until: str
    picked: str | None = None
    closed_at: str | None = None
    referral: ReferralState | None = None


class PickedView(msgspec.Struct, frozen=True):
    """Where you go on: `redirect_to` is the lender's own page and works once, for ten minutes."""

    referral: str
    grant: str
    receipt: str
    redirect_to: str


@post(
    "/v1/applications",
    opt=person(Purpose.LOAN_REFERRAL, once=True),
    status_code=201,
    summary="Compare loans for a wish",
)
async def apply(request: AnyRequest, data: JSONBody[ApplicationRequest]) -> Response[bytes]:
    """Find the lenders whose published terms fit, ranked by what the loan costs you in all. No lender learns of it."""
    async with request_act(request) as act:
        made = await applications.apply(
            act,
            Stated(
                amount_minor=data.amount.amount_minor,
                currency=data.amount.currency,
                instalments=data.instalments,
                region=data.region,
                is_student=data.is_student,
                use_of_funds=data.use_of_funds,
                jurisdiction=data.jurisdiction,
            ),
            data.language,
            agree_to_matching=data.agree_to_matching,
            offered=request.app.state.settings.offered,
        )
        body = view(made)
        return answered(act, body, 201, {"Location": f"/v1/applications/{body.id}"})


@get("/v1/applications/{application_id:str}", opt=person(), summary="See an application")
async def show(request: AnyRequest, application_id: FromPath[str]) -> ApplicationView:
    """See your wish, the offers as they were shown to you, and how far the lender you picked is."""
    async with request_view(request) as looking:
        return view(await applications.find(looking, ids.private("app", application_id)))


@get("/v1/applications/{application_id:str}/receipt", opt=person(), summary="Get the receipt of a ranking")
async def show_receipt(request: AnyRequest, application_id: FromPath[str]) -> dict[str, Any]:
    """All that went into the ranking and the order that came out: `receipt_digest` is its SHA-256 (RFC 8785 form)."""
    async with request_view(request) as looking:
        return (await applications.find(looking, ids.private("app", application_id))).row.receipt


@post(
    "/v1/applications/{application_id:str}/pick",
    opt=person(Purpose.LOAN_REFERRAL),
    status_code=201,
    summary="Pick one lender",
)
async def pick(
    request: AnyRequest, application_id: FromPath[str], data: JSONBody[PickRequest]
) -> Response[bytes]:
    """Say yes to one lender by name; it learns of you now. Go on at `redirect_to`, on the lender's own page."""
    settings = request.app.state.settings
    async with request_act(request) as act:
        picked = await applications.pick(
            act,
            ids.private("app", application_id),
            ids.private("off", data.offer),
            data.language,
            agree=data.agree_to_hand_over,
            offered=settings.offered,
            connectors=registry.read(settings.home),
        )
        body = PickedView(
            referral=ids.public("ref", picked.referral.id),
            grant=ids.public("gnt", picked.referral.grant_id),
            receipt=picked.receipt,
            redirect_to=picked.redirect_to,
        )
        return answered(act, body, 201, {"Location": f"/v1/applications/{application_id}"})


def view(made: Application) -> ApplicationView:
    """An application as its person sees it."""
    row = made.row
    return ApplicationView(
        id=ids.public("app", row.id),
        metric=row.metric,
        wish=row.wish,
        offers=[_offer(offer, made) for offer in made.offers],
        left_out=[_left_out(out, made) for out in row.receipt["left_out"]],
        receipt_digest=row.receipt_digest,
        grant=ids.public("gnt", row.grant_id),
        made_at=when(row.made_at),
        valid_until=when(row.made_at + OFFERS_STAND_FOR),
        picked=ids.public("off", row.picked) if row.picked else None,
        closed_at=when(row.closed_at) if row.closed_at else None,
        referral=_referral(made.referral) if made.referral else None,
    )


def _offer(offer: OfferRow, made: Application) -> OfferView:
    shown = offer.terms
    titles = made.titles[offer.product]

    def money(amount_minor: int) -> Money:
        return Money(amount_minor, shown["currency"])

    return OfferView(
        id=ids.public("off", offer.id),
        rank=offer.rank,
        lender=_lender(titles),
        product=_text(titles.product),
        monthly=money(shown["monthly_minor"]),
        total_cost=money(shown["total_cost_minor"]),
        rates=[_rate(Formula(name), annual) for name, annual in shown["rates"].items()],
        fees=[FeeView(money(f["amount_minor"]), f["collector"], f["charged"]) for f in shown["fees"]],
        worst_case_if_late=LateView(shown["late_days"], money(shown["late_minor"])),
        schedule=[InstalmentView(**line) for line in shown["schedule"]],
        schedule_digest=shown["schedule_digest"],
        operator_stake=shown["operator_stake"],
    )


def _left_out(out: dict[str, str], made: Application) -> LeftOutView:
    product: UUID = ids.private("prd", out["product"])
    titles = made.titles[product]
    return LeftOutView(_lender(titles), _text(titles.product), out["code"])


def _lender(titles: Titles) -> LenderView:
    names = titles.lender
    return LenderView(names[Language.ZH_CN], names[Language.EN], receipts.party(titles.partner))


def _rate(formula: Formula, annual: str) -> AnnualRate:
    return AnnualRate(formula, _text(loan_math.LABELS[formula]), annual)


def _text(names: Names) -> Text:
    return Text(names[Language.ZH_CN], names[Language.EN])


def _referral(row: ReferralRow) -> ReferralState:
    return ReferralState(
        id=ids.public("ref", row.id),
        lender=receipts.party(PartnerId(row.partner)),
        state=row.state,
        delivery=row.delivery,
        changed_at=when(row.changed_at),
        reason=row.reason,
    )


routes = [apply, show, show_receipt, pick]
