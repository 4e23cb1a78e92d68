"""/apply and after: a wish, the offers for it side by side, and the hand-over to the one lender that is picked."""

from urllib.parse import urlsplit

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api.access import AnyRequest, person, person_of, request_act, request_view
from api.v1.applications import Instalments, Region
from api.v1.wire import CurrencyCode
from api.web import forms, notice, page
from api.web.forms import Form
from compliance import ids
from compliance.refusals import NotFound
from compliance.vocabulary import Purpose
from consent import notices
from partners import applications, loan_math, products
from partners.applications import OFFERS_STAND_FOR, Application
from partners.connectors import registry
from partners.loan_math import Formula
from partners.tables import OfferRow
from partners.wishes import BARRED, Stated, UseOfFunds

PURPOSE = Purpose.LOAN_REFERRAL
SIMPLE = Formula.CN_SIMPLE_365


@get("/apply", opt=person(), include_in_schema=False)
async def wish_form(request: AnyRequest) -> Response[str]:
    """Ask for the wish; what can be chosen is what some lender offers."""
    async with request_view(request) as view:
        listed = await products.open_products(view)
    words = page.words(request)
    return page.show(
        request,
        "apply.html",
        regions=sorted({region for product in listed for region in product.regions}),
        currencies=sorted({product.currency for product in listed}),
        instalments=range(1, max((product.limits.instalments_max for product in listed), default=1) + 1),
        uses=[use for use in UseOfFunds if use not in BARRED],
        notice=notices.current(PURPOSE, words.language),
        text=notice.text(notice.referral_to(words.operator), words),
    )


@post("/apply", opt=person(PURPOSE), include_in_schema=False, status_code=303)
async def apply(request: AnyRequest) -> Redirect:
    """Compare; no lender learns of it."""
    form = await forms.read(request)
    async with request_act(request) as act:
        made = await applications.apply(
            act,
            _stated(form),
            page.language(request),
            agree_to_matching=form.ticked("agree_to_matching"),
            offered=request.app.state.settings.offered,
            shown=form.text("notice_sha256"),
        )
    return page.go(request, f"/me/applications/{ids.public('app', made.row.id)}")


def _stated(form: Form) -> Stated:
    currency = form.shaped("currency", CurrencyCode)
    return Stated(
        amount_minor=form.minor("amount", currency),
        currency=currency,
        instalments=form.shaped("instalments", Instalments),
        region=form.shaped("region", Region),
        is_student=form.ticked("is_student"),
        use_of_funds=form.shaped("use_of_funds", UseOfFunds),
        jurisdiction="CN",
    )


@get("/me/applications", opt=person(), include_in_schema=False)
async def own_applications(request: AnyRequest) -> Response[str]:
    """All wishes, newest first."""
    async with request_view(request) as view:
        rows = await applications.mine(view, person_of(request).user)
    return page.show(request, "applications.html", rows=[(ids.public("app", row.id), row) for row in rows])


@get("/me/applications/{application_id:str}", opt=person(), include_in_schema=False)
async def own_application(request: AnyRequest, application_id: FromPath[str]) -> Response[str]:
    """The offers as they were shown, who was left out and why, and how far the picked lender is."""
    async with request_view(request) as view:
        made = await applications.find(view, ids.private("app", application_id))
        return page.show(
            request,
            "offers.html",
            application_id=application_id,
            made=made,
            offers=[(ids.public("off", offer.id), offer) for offer in made.offers],
            left_out=[
                (made.titles[ids.private("prd", out["product"])], out["code"]) for out in _left_out(made)
            ],
            open=made.row.closed_at is None and made.row.made_at + OFFERS_STAND_FOR > view.now,
            grant_id=ids.public("gnt", made.referral.grant_id) if made.referral else None,
            simple=SIMPLE,
            rate_label=loan_math.LABELS[SIMPLE][page.language(request)],
        )


def _left_out(made: Application) -> list[dict[str, str]]:
    left: list[dict[str, str]] = made.row.receipt["left_out"]
    return left


@get("/me/applications/{application_id:str}/offers/{offer_id:str}", opt=person(), include_in_schema=False)
async def confirm(
    request: AnyRequest, application_id: FromPath[str], offer_id: FromPath[str]
) -> Response[str]:
    """Name the lender and what it would receive, before anybody learns of anything."""
    async with request_view(request) as view:
        made = await applications.find(view, ids.private("app", application_id))
    titles, words = made.titles[_offer(made, offer_id).product], page.words(request)
    return page.show(
        request,
        "pick.html",
        application_id=application_id,
        offer_id=offer_id,
        wish=made.row.wish,
        titles=titles,
        notice=notices.current(PURPOSE, words.language),
        text=notice.text(notice.referral_to(titles.lender[words.language]), words),
    )


@post(
    "/me/applications/{application_id:str}/offers/{offer_id:str}",
    opt=person(PURPOSE),
    include_in_schema=False,
    status_code=200,
)
async def pick(request: AnyRequest, application_id: FromPath[str], offer_id: FromPath[str]) -> Response[str]:
    """Yes to this one lender; the page leads to its own page, once."""
    form = await forms.read(request)
    settings = request.app.state.settings
    async with request_act(request) as act:
        application, offer = ids.private("app", application_id), ids.private("off", offer_id)
        picked = await applications.pick(
            act,
            application,
            offer,
            page.language(request),
            agree=form.ticked("agree_to_hand_over"),
            offered=settings.offered,
            connectors=registry.read(settings.home),
            shown=form.text("notice_sha256"),
        )
        made = await applications.find(act, application)
    return page.show(
        request,
        "hand_over.html",
        application_id=application_id,
        titles=made.titles[_offer(made, offer_id).product],
        wish=made.row.wish,
        redirect_to=picked.redirect_to,
        host=urlsplit(picked.redirect_to).netloc,
        grant_id=ids.public("gnt", picked.referral.grant_id),
    )


def _offer(made: Application, offer_id: str) -> OfferRow:
    offer = ids.private("off", offer_id)
    for row in made.offers:
        if row.id == offer:
            return row
    raise NotFound


routes = [wish_form, apply, own_applications, own_application, confirm, pick]
