"""/v1/outcomes: a lender reports what became of a referral, a score or an entry of its list."""

from datetime import date
from typing import Annotated

import msgspec
from litestar import Response, post
from litestar.params import JSONBody

from api.access import AnyRequest, answered, client, request_act
from api.oauth.scopes import Scope
from api.v1.wire import DecimalString, Id, Money, when
from compliance import ids
from compliance.refusals import Fault, Unacceptable
from partners import outcomes
from partners.outcomes import About, Decision, Outcome


class OutcomeReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """About one referral, score or list entry of yours. `observed_until` is the last day that you looked at repayment.

    Of a list entry: the day on which the application was complete; once approved, the limit and the daily rate that you
    approved; `undecided` while you have not decided, `not_verified` where your own criteria hold no longer.
    """

    decision: Decision
    decided_on: date | None = None
    referral: Id | None = None
    score: Id | None = None
    entry: Id | None = None
    applied_on: date | None = None
    approved: Money | None = None
    daily_rate: DecimalString | None = None
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
            About(
                referral=ids.private("ref", data.referral) if data.referral else None,
                score=ids.private("scr", data.score) if data.score else None,
                entry=ids.private("ent", data.entry) if data.entry else None,
            ),
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
        applied_on=data.applied_on,
        daily_rate=data.daily_rate,
        currency=currencies.pop() if currencies else None,
        approved_minor=data.approved.amount_minor if data.approved else None,
        disbursed_minor=data.disbursed.amount_minor if data.disbursed else None,
        observed_until=data.observed_until,
        days_past_due_max=data.days_past_due_max,
        defaulted=data.defaulted,
    )


routes = [report_outcome]
