"""Extensions: a fresh yes by which a consent goes on under its own id, each with its place in the history."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from compliance import ids
from compliance.act import Act, View
from compliance.canonical import Json
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import GrantId, Language, PartnerId, Purpose, UserId
from consent import endings, grants, life, notices, permits, receipts
from consent.grants import NO_ASKING_AFTER_A_NO, TEMPLATES, AlreadyAsked, AskedTooSoon, NoticeChanged
from consent.life import GrantNotOpen, Step
from consent.notices import Notice
from consent.tables import ExtensionRow, GrantRow

ASK_LAPSES_AFTER = timedelta(days=7)
USUAL_DAYS = 90
"""What a person is offered who extends of their own accord, where the template allows as much."""
LONGER_BY_MIN = timedelta(days=1)
"""What ends less than a day later is no extension: a button pressed twice extends once."""
EXTENSIONS_MAX = 100
"""Every receipt lists them all; a consent that was extended so often deserves to be asked for anew."""
HISTORY_MAX = 200
endings.keep(
    "consent_extension", "each yes and no to a longer period: proof for the person and the recipient"
)


class Standing(StrEnum):
    """How far a request to extend is."""

    REQUESTED = "requested"
    GIVEN = "given"
    REJECTED = "rejected"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Offered:
    """What a person can say yes to now; `asked_at` is None where nobody asks and the wish is their own."""

    period_days: int
    until: datetime
    asked_at: datetime | None


async def ask(act: Act, grant: GrantId, period_days: int) -> GrantRow:
    """The recipient asks the person to let a live grant go on. Records `grant_extension_requested`.

    The new end is counted from the day of the yes. The request lapses after seven days. Refused: a second one while
    one waits (`AlreadyAsked`), one within 90 days of a no to it (`AskedTooSoon`), one after the notice has changed.
    """
    grants.refuse_other_than_partner(act)
    row = await _held(act, grant)
    user = grants.user_of(row)
    permits.refuse_unregistered(act, Purpose(row.purpose))
    _refuse_changed(row, Language(str(row.language)))
    _refuse_period(row, period_days, act.now)
    await _refuse_asking(act, row)
    await ExtensionRow.create(
        id=ids.ordered_id(),
        grant_id=grant,
        user_id=user,
        recipient=row.recipient,
        asked_at=act.now,
        asked_by="partner",
        period_days=period_days,
        using_db=act.db,
    )
    act.record("grant_extension_requested", {"period_days": period_days}, person=user, grant=grant)
    return row


async def agree(
    act: Act, grant: GrantId, language: Language, *, period_days: int | None = None, shown: str | None = None
) -> tuple[GrantRow, str]:
    """The person says yes to a longer period; returns the grant and its new signed receipt. Records `grant_extended`.

    Answers the request that waits, for the days it names; where none does, `period_days` is the person's own wish.
    `shown` is the SHA-256 of the notice they read. Refused (`NoticeChanged`) if the grant rests on another version
    than the one in force: then only a new consent will do. Takes the grant's lock: of two answers at once one wins.
    """
    person = grants.acting_person(act)
    row = await _held(act, grant)
    extension = await _waiting(act, row) or _own_wish(act, row, period_days)
    if period_days not in (None, extension.period_days):
        fault = Fault("/period_days", "not_asked", f"{extension.period_days} days are asked for")
        raise Unacceptable("answer what is asked for, without other days", fault)
    notice = _refuse_changed(row, language, shown)
    _refuse_period(row, extension.period_days, act.now)
    await grants.refuse_minor(act, person.user)
    until = _end(extension.period_days, act.now)
    told: dict[str, Json] = {
        "from": row.expires_at.isoformat() if row.expires_at else None,
        "to": until.isoformat(),
        "period_days": extension.period_days,
    }
    extension.answer, extension.answered_at = "yes", act.now
    extension.from_expires_at, extension.to_expires_at = row.expires_at, until
    extension.notice_version, extension.notice_sha256 = notice.version, notice.sha256
    extension.language, extension.evidence = language, grants.evidence_of(person)
    await extension.save(using_db=act.db)
    row.expires_at, row.extended_at, row.extensions = until, act.now, row.extensions + 1
    await row.save(using_db=act.db, update_fields=["expires_at", "extended_at", "extensions"])
    act.record("grant_extended", told, person=person.user, grant=grant, partner=PartnerId(row.recipient))
    return row, await receipts.issue(act, row, subject=await grants.subject(act, row, person.user))


async def reject(act: Act, grant: GrantId) -> GrantRow:
    """The person says no to the request that waits; the grant stays as it is. Records `grant_extension_rejected`."""
    person = grants.acting_person(act)
    row = await _held(act, grant)
    extension = await _waiting(act, row)
    if extension is None:
        raise GrantNotOpen("no request to extend this consent waits for an answer")
    extension.answer, extension.answered_at = "no", act.now
    extension.evidence = grants.evidence_of(person)
    await extension.save(using_db=act.db)
    act.record(
        "grant_extension_rejected", {}, person=person.user, grant=grant, partner=PartnerId(row.recipient)
    )
    return row


async def offered(view: View, row: GrantRow) -> Offered | None:
    """What the person can say yes to now; None where the grant already lasts as long as it can."""
    asked = await _waiting(view, row)
    days = asked.period_days if asked else _usual_days(row)
    if row.extensions >= EXTENSIONS_MAX or _faults(row, days, view.now):
        return None
    return Offered(days, _end(days, view.now), asked.asked_at if asked else None)


async def newest_asked(at: Act | View, grant: GrantId) -> ExtensionRow | None:
    """The newest request of the recipient, however it was answered."""
    asked = ExtensionRow.filter(grant_id=grant, asked_by="partner").using_db(at.db)
    return await asked.order_by("-asked_at").first()


async def waiting(view: View, user: UserId) -> dict[GrantId, datetime]:
    """Until when a person can answer which grant's request; whether the grant lives is for the caller to see."""
    asked = ExtensionRow.filter(
        user_id=user, answered_at__isnull=True, asked_at__gt=view.now - ASK_LAPSES_AFTER
    )
    rows = await asked.using_db(view.db).limit(grants.LIST_MAX)
    return {GrantId(row.grant_id): row.asked_at + ASK_LAPSES_AFTER for row in rows}


async def history(view: View, grant: GrantId) -> list[ExtensionRow]:
    """Every extension of a grant that was asked for, given or refused, newest first."""
    return (
        await ExtensionRow.filter(grant_id=grant).using_db(view.db).order_by("-asked_at").limit(HISTORY_MAX)
    )


def standing(extension: ExtensionRow, row: GrantRow, now: datetime) -> Standing:
    """How far a request is: it lapses after seven days, and with its grant."""
    if extension.answer:
        return Standing.GIVEN if extension.answer == "yes" else Standing.REJECTED
    open_still = extension.asked_at + ASK_LAPSES_AFTER > now and life.state_now(row, now)[0] in life.LIVE
    return Standing.REQUESTED if open_still else Standing.LAPSED


def rests_on_this_notice(row: GrantRow, notice: Notice) -> bool:
    """Whether the notice is the version that the person agreed to: no other can carry their yes on."""
    return notice.version == row.notice_version


async def _held(act: Act, grant: GrantId) -> GrantRow:
    """The grant under its lock, if it can go on at this very moment; a refusal is shown to its person."""
    row = await grants.held(act, grant)
    await act.tick()
    if row.user_id:
        act.concern(UserId(row.user_id), grant)
    life.after(row, Step.EXTEND, act.now)
    return row


async def _waiting(at: Act | View, row: GrantRow) -> ExtensionRow | None:
    asked = await newest_asked(at, GrantId(row.id))
    return asked if asked and standing(asked, row, at.now) is Standing.REQUESTED else None


def _own_wish(act: Act, row: GrantRow, period_days: int | None) -> ExtensionRow:
    if period_days is None:
        raise GrantNotOpen("no request waits for an answer; of your own accord, say for how many days")
    return ExtensionRow(
        id=ids.ordered_id(),
        grant_id=row.id,
        user_id=row.user_id,
        recipient=row.recipient,
        asked_at=act.now,
        asked_by="person",
        period_days=period_days,
    )


async def _refuse_asking(act: Act, row: GrantRow) -> None:
    asked = await newest_asked(act, GrantId(row.id))
    if asked is None:
        return
    if standing(asked, row, act.now) is Standing.REQUESTED:
        raise AlreadyAsked("wait for the person's answer, or until the request lapses after seven days")
    if asked.answer == "no" and asked.answered_at and asked.answered_at > act.now - NO_ASKING_AFTER_A_NO:
        raise AskedTooSoon("respect the no; ask to extend no sooner than 90 days after it")


def _refuse_changed(row: GrantRow, language: Language, shown: str | None = None) -> Notice:
    notice = notices.current(Purpose(row.purpose), language)
    if not rests_on_this_notice(row, notice):
        raise NoticeChanged("another notice is in force than the one agreed to: a new consent is needed")
    if shown not in (None, notice.sha256):
        raise NoticeChanged("read the notice that is in force now, then answer")
    return notice


def _refuse_period(row: GrantRow, period_days: int, now: datetime) -> None:
    if row.extensions >= EXTENSIONS_MAX:
        raise GrantNotOpen("this consent was extended as often as it can be: a new one is needed")
    if faults := _faults(row, period_days, now):
        raise Unacceptable("the period does not fit this consent", *faults)


def _faults(row: GrantRow, period_days: int, now: datetime) -> list[Fault]:
    bounds = TEMPLATES[Purpose(row.purpose)]
    if not 1 <= period_days <= bounds.period_days_max:
        most = f"between 1 and {bounds.period_days_max} for {bounds.id}"
        return [Fault("/period_days", "out_of_range", most)]
    if row.expires_at and _end(period_days, now) < row.expires_at + LONGER_BY_MIN:
        longer = "counted from today, the new end must be at least a day after the present one"
        return [Fault("/period_days", "not_longer", longer)]
    return []


def _usual_days(row: GrantRow) -> int:
    return min(USUAL_DAYS, TEMPLATES[Purpose(row.purpose)].period_days_max)


def _end(period_days: int, now: datetime) -> datetime:
    return now + timedelta(days=period_days)
