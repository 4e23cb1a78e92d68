"""Outcomes: what a lender reports of a referral or a score, so that models can be held against what happened."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from compliance import ids
from compliance.act import Act
from compliance.canonical import Json
from compliance.keys import KeyErased
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import GrantId, PartnerId, UserId
from consent import deletion, endings
from consent.permits import BUSINESS_ZONE
from partners.tables import OutcomeRow, ReferralRow
from scoring import scores

endings.keep(
    "partners_outcome",
    "the lender's own record of its own decision and loan, which it reports and the law makes it keep",
)


class Decision(StrEnum):
    """What the lender decided; it alone decides."""

    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One report. Dates are local; `observed_until` is the last day that the observation covers."""

    decision: Decision
    decided_on: date
    currency: str | None = None
    approved_minor: int | None = None
    disbursed_minor: int | None = None
    observed_until: date | None = None
    days_past_due_max: int | None = None
    defaulted: bool | None = None


async def report(
    act: Act,
    outcome: Outcome,
    *,
    referral: UUID | None,
    score: UUID | None,
    lender: PartnerId | None = None,
) -> OutcomeRow:
    """Keep a lender's report about one referral or one score of its own; a later report adds to it.

    The caller is the lender, or somebody of ours who was given its file. Records `outcome_reported`. Raises
    `NotFound` for what is not the lender's, `Unacceptable` for what cannot be.
    """
    lender = lender or act.tenant
    user, grant = await _about(act, referral, score, lender)
    await _refuse_erased(act, grant)
    act.concern(user, grant)
    _refuse_impossible(outcome, act.now.astimezone(BUSINESS_ZONE).date())
    row = await OutcomeRow.create(
        id=ids.ordered_id(),
        partner=lender,
        referral=referral,
        score=score,
        user_id=user,
        grant_id=grant,
        report=_write(outcome),
        reported_at=act.now,
        using_db=act.db,
    )
    about = {"referral": ids.public("ref", referral)} if referral else {}
    about |= {"score": ids.public("scr", score)} if score else {}
    act.record("outcome_reported", about | _write(outcome), person=user, grant=grant, partner=lender)
    return row


async def is_reported(act: Act, outcome: Outcome, *, referral: UUID | None, score: UUID | None) -> bool:
    """Whether the very same was reported before: a file that is loaded twice changes nothing."""
    return (
        await OutcomeRow.filter(referral=referral, score=score, report=_write(outcome))
        .using_db(act.db)
        .exists()
    )


async def _about(
    act: Act, referral: UUID | None, score: UUID | None, lender: PartnerId
) -> tuple[UserId, GrantId]:
    if (referral is None) == (score is None):
        fault = Fault("/referral", "one_of", "name either a referral or a score")
        raise Unacceptable("a report is about one thing", fault)
    if score:
        return await scores.subject(act, score, lender)
    row = await ReferralRow.filter(id=referral).using_db(act.db).first()
    if row is None or row.partner != lender:
        raise await deletion.missing(act, referral)
    return UserId(row.user_id), GrantId(row.grant_id)


async def _refuse_erased(act: Act, grant: GrantId) -> None:
    """Holds the consent until the act ends: a deletion on its way is waited for, one that comes waits."""
    rows = await act.db.execute_query_dict(
        "select erased_at from consent_grant where id = $1 for no key update", [grant]
    )
    if rows and rows[0]["erased_at"]:
        raise KeyErased("this person was deleted at their own request; delete your own copy too")


def _refuse_impossible(outcome: Outcome, today: date) -> None:
    lent = outcome.disbursed_minor is not None
    watched = outcome.days_past_due_max is not None or outcome.defaulted is not None
    demands = (
        (outcome.decided_on <= today, Fault("/decided_on", "in_future", "today or before")),
        (
            outcome.observed_until is None or outcome.decided_on <= outcome.observed_until <= today,
            Fault("/observed_until", "out_of_range", "from the decision to today"),
        ),
        (
            outcome.decision is Decision.APPROVED or not (outcome.approved_minor or lent or watched),
            Fault("/decision", "not_approved", "only an approved loan has amounts and repayments"),
        ),
        (
            not watched or outcome.observed_until is not None,
            Fault("/observed_until", "missing", "say until when repayment was observed"),
        ),
    )
    faults = [fault for holds, fault in demands if not holds]
    if faults:
        raise Unacceptable("the report contradicts itself", *faults)


def _write(outcome: Outcome) -> dict[str, Json]:
    """The report as it is kept; what was not given is left out."""
    given: dict[str, Json] = {
        "decision": outcome.decision,
        "decided_on": outcome.decided_on.isoformat(),
        "currency": outcome.currency,
        "approved_minor": outcome.approved_minor,
        "disbursed_minor": outcome.disbursed_minor,
        "observed_until": outcome.observed_until.isoformat() if outcome.observed_until else None,
        "days_past_due_max": outcome.days_past_due_max,
        "defaulted": outcome.defaulted,
    }
    return {name: value for name, value in given.items() if value is not None}
