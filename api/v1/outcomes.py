"""/v1/outcomes: a lender reports what became of a referral or a score."""

from datetime import date
from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.params import JSONBody

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.v1.wire import Id, Money, when
from compliance import ids
from compliance.refusals import Fault, Unacceptable
from partners import outcomes
from partners.outcomes import Decision, Outcome


class OutcomeReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """About one referral or one score of yours. `observed_until` is the last day that you looked at repayment."""

    decision: Decision
    decided_on: date
    referral: Id | None = None
    score: Id | None = None
    approved: Money | None = None
    disbursed: Money | None = None
    observed_until: date | None = None
    days_past_due_max: Annotated[int, msgspec.Meta(ge=0, le=36_500)] | None = None
    defaulted: bool | None = None


class OutcomeView(msgspec.Struct, frozen=True):
    """Your report was kept."""

    id: str
    reported_at: str


@post("/v1/outcomes", opt=client(Scope.OUTCOMES, once=True), status_code=201, summary="Report an outcome")
async def report_outcome(request: AnyRequest, data: JSONBody[OutcomeReport]) -> Response[bytes]:
    """Tell us what you decided and how the loan was repaid; later reports about the same thing add to it."""
    async with request_act(request) as act:
        row = await outcomes.report(
            act,
            _outcome(data),
            referral=ids.private("ref", data.referral) if data.referral else None,
            score=ids.private("scr", data.score) if data.score else None,
        )
        return answered(act, OutcomeView(ids.public("out", row.id), when(row.reported_at)), 201)


def _outcome(data: OutcomeReport) -> Outcome:
    currencies = {money.currency for money in (data.approved, data.disbursed) if money}
    if len(currencies) > 1:
        fault = Fault("/disbursed/currency", "currency_differs", "one loan has one currency")
        raise Unacceptable("the report contradicts itself", fault)
    return Outcome(
        decision=data.decision,
        decided_on=data.decided_on,
        currency=currencies.pop() if currencies else None,
        approved_minor=data.approved.amount_minor if data.approved else None,
        disbursed_minor=data.disbursed.amount_minor if data.disbursed else None,
        observed_until=data.observed_until,
        days_past_due_max=data.days_past_due_max,
        defaulted=data.defaulted,
    )


routes = [report_outcome]
