"""Outcomes: what a lender reports of a referral, a score or a list's entry, so that promises can be held against what happened."""

from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
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
from partners.tables import EntryRow, OutcomeRow, PrescreenRow, ReferralRow
from scoring import scores

endings.keep(
    "partners_outcome",
    "the lender's own record of its own decision and loan, which it reports and the law makes it keep",
)

ZONES_APART = timedelta(days=1)
PREFIXES = {"referral": "ref", "score": "scr", "entry": "ent"}


class Decision(StrEnum):
    """What the lender decided; it alone decides. The last two are said of applications upon a list alone."""

    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    UNDECIDED = "undecided"
    """The application is complete, and nothing is decided."""
    NOT_VERIFIED = "not_verified"
    """Declined since the frozen criteria of the list no longer hold for the applicant."""


OF_LISTS = frozenset({Decision.UNDECIDED, Decision.NOT_VERIFIED})


@dataclass(frozen=True, slots=True)
class About:
    """What a report is about: exactly one of them."""

    referral: UUID | None = None
    score: UUID | None = None
    entry: UUID | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One report. Dates are local; `observed_until` is the last day that the observation covers.

    `applied_on` is the day on which an application upon a list was complete; `daily_rate` its approved price, a
    fraction per day.
    """

    decision: Decision
    decided_on: date | None = None
    applied_on: date | None = None
    daily_rate: str | None = None
    currency: str | None = None
    approved_minor: int | None = None
    disbursed_minor: int | None = None
    observed_until: date | None = None
    days_past_due_max: int | None = None
    defaulted: bool | None = None


async def report(
    act: Act,
    outcome: Outcome,
    about: About,
    lender: PartnerId | None = None,
) -> OutcomeRow:
    """Keep a lender's report about one referral, score or list entry of its own; a later report adds to it.

    The caller is the lender, or somebody of ours who was given its file. Records `outcome_reported`. Raises
    `NotFound` for what is not the lender's, `Unacceptable` for what cannot be.
    """
    lender = lender or act.tenant
    user, grant, since = await _found(act, about, lender)
    await _refuse_erased(act, grant)
    act.concern(user, grant)
    _refuse_impossible(outcome, about, _local_day(since), act.now.astimezone(BUSINESS_ZONE).date())
    row = await OutcomeRow.create(
        id=ids.ordered_id(),
        partner=lender,
        **asdict(about),
        user_id=user,
        grant_id=grant,
        report=_write(outcome),
        reported_at=act.now,
        using_db=act.db,
    )
    named: dict[str, Json] = {
        name: ids.public(PREFIXES[name], each) for name, each in asdict(about).items() if each
    }
    act.record("outcome_reported", named | _write(outcome), person=user, grant=grant, partner=lender)
    return row


async def is_reported(act: Act, outcome: Outcome, about: About, lender: PartnerId) -> bool:
    """Whether it says what the lender said of it last: a file that is loaded twice changes nothing.

    What was said before that and is said again is news: the last word counts.
    """
    said = OutcomeRow.filter(**asdict(about), partner=lender).using_db(act.db)
    last = await said.order_by("-reported_at", "-id").first()
    return last is not None and last.report == _write(outcome)


async def _found(act: Act, about: About, lender: PartnerId) -> tuple[UserId, GrantId, datetime]:
    """Whom it is about, the grant that it rests on, and since when there has been what a lender could decide upon."""
    named = [each for each in (about.referral, about.score, about.entry) if each]
    if len(named) != 1:
        fault = Fault("/referral", "one_of", "name either a referral, a score or an entry")
        raise Unacceptable("a report is about one thing", fault)
    if about.score:
        return await scores.subject(act, about.score, lender)
    table = ReferralRow if about.referral else EntryRow
    row = await table.filter(id=named[0]).using_db(act.db).first()
    if row is None or row.partner != lender:
        raise await deletion.missing(act, named[0])
    since = row.made_at if isinstance(row, ReferralRow) else await _ready_at(act, row.prescreen)
    return UserId(row.user_id), GrantId(row.grant_id), since


async def _ready_at(act: Act, prescreen: UUID) -> datetime:
    ready_at = (await PrescreenRow.get(id=prescreen, using_db=act.db)).ready_at
    if ready_at is None:
        raise RuntimeError("a list has entries and is not ready")
    return ready_at


async def _refuse_erased(act: Act, grant: GrantId) -> None:
    """Holds the consent until the act ends: a deletion on its way is waited for, one that comes waits."""
    rows = await act.db.execute_query_dict(
        "select erased_at from consent_grant where id = $1 for no key update", [grant]
    )
    if rows and rows[0]["erased_at"]:
        raise KeyErased("this person was deleted at their own request; delete your own copy too")


def _refuse_impossible(outcome: Outcome, about: About, since: date, today: date) -> None:
    """With a day before there was anything, a bank would have it seen through at once, or put it out of an honour rate."""
    lent = outcome.disbursed_minor is not None
    watched = outcome.days_past_due_max is not None or outcome.defaulted is not None
    decided, until = outcome.decided_on, outcome.observed_until
    demands = (
        (
            (decided is None) == (outcome.decision is Decision.UNDECIDED),
            Fault("/decided_on", "missing_or_undecided", "the day of the decision, unless it is undecided"),
        ),
        (decided is None or decided <= today, Fault("/decided_on", "in_future", "today or before")),
        (
            decided is None or decided >= since,
            Fault("/decided_on", "too_early", "not before you had the referral, the score or the list"),
        ),
        (
            until is None or (decided is not None and decided <= until <= today),
            Fault("/observed_until", "out_of_range", "from the decision to today"),
        ),
        (
            outcome.decision is Decision.APPROVED or not (outcome.approved_minor or lent or watched),
            Fault("/decision", "not_approved", "only an approved loan has amounts and repayments"),
        ),
        (
            not watched or until is not None,
            Fault("/observed_until", "missing", "say until when repayment was observed"),
        ),
        *(_demands_of_an_entry(outcome, since, today) if about.entry else _demands_of_others(outcome)),
    )
    faults = [fault for holds, fault in demands if not holds]
    if faults:
        raise Unacceptable("the report contradicts itself", *faults)


def _demands_of_an_entry(outcome: Outcome, since: date, today: date) -> tuple[tuple[bool, Fault], ...]:
    """Whether the offer was kept can be seen: from when on it was due, and at which limit and price."""
    applied, approved = outcome.applied_on, outcome.decision is Decision.APPROVED
    latest = min(today, outcome.decided_on or today)
    return (
        (
            applied is not None and applied <= latest,
            Fault(
                "/applied_on",
                "missing_or_too_late",
                "the day of the complete application, before any decision",
            ),
        ),
        (
            applied is None or applied >= since,
            Fault("/applied_on", "too_early", "nobody applied upon a list before it was there"),
        ),
        (
            not approved or None not in (outcome.approved_minor, outcome.currency),
            Fault("/approved", "missing", "the limit that was approved, whatever of it is drawn"),
        ),
        (
            approved == (outcome.daily_rate is not None),
            Fault("/daily_rate", "missing_or_not_approved", "the approved price, and no other"),
        ),
    )


def _local_day(moment: datetime) -> date:
    """The first day that it may have been at a moment where a lender is: its zone may be behind ours."""
    return (moment.astimezone(BUSINESS_ZONE) - ZONES_APART).date()


def _demands_of_others(outcome: Outcome) -> tuple[tuple[bool, Fault], ...]:
    return (
        (
            outcome.decision not in OF_LISTS,
            Fault("/decision", "only_of_an_entry", "said of applications upon a list alone"),
        ),
        (
            outcome.applied_on is None,
            Fault("/applied_on", "only_of_an_entry", "said of a list's entry alone"),
        ),
        (
            outcome.daily_rate is None,
            Fault("/daily_rate", "only_of_an_entry", "said of a list's entry alone"),
        ),
    )


def _write(outcome: Outcome) -> dict[str, Json]:
    """The report as it is kept; what was not given is left out."""
    given = {name: value for name, value in asdict(outcome).items() if value is not None}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in given.items()}
