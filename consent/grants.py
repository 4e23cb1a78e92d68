"""The life of a grant: asked for, given or rejected, and ended; each step is one act and one fact."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from compliance import ids
from compliance.act import Act, Upkeep, View
from compliance.canonical import Json
from compliance.keys import KeyErased
from compliance.refusals import Fault, NotFound, Refusal, Unacceptable
from compliance.vocabulary import (
    OPERATOR,
    AnswerForm,
    Categories,
    Category,
    GrantId,
    Language,
    PartnerClient,
    PartnerId,
    Person,
    Purpose,
    UserId,
)
from consent import endings, life, notices, people, permits, receipts
from consent.endings import Ended
from consent.life import ASK_LAPSES_AFTER, ENDINGS, LIVE, GrantNotOpen, State, Step
from consent.permits import BUSINESS_ZONE, AgeNotEstablished
from consent.tables import GrantRow

NO_ASKING_AFTER_A_NO = timedelta(days=90)
"""What every notice promises; a rejection is at most `ASK_LAPSES_AFTER` younger than its request."""
LIST_MAX = 500


@dataclass(frozen=True, slots=True)
class Template:
    """The widest that a grant of a purpose may be."""

    id: str
    period_days_max: int
    data_life_days_max: int
    calls_per_month_max: int


TEMPLATES = {
    Purpose.CREDIT_ASSESSMENT: Template("credit_assessment@1", 365, 365, 1_000),
    Purpose.PRESCREEN: Template("prescreen@1", 365, 90, 60),
    Purpose.LOAN_REFERRAL: Template("loan_referral@1", 90, 90, 30),
    Purpose.INCOME_ESTIMATE: Template("income_estimate@1", 365, 365, 30),
    Purpose.PORTRAIT: Template("portrait@1", 365, 90, 30),
    Purpose.MODEL_DEVELOPMENT: Template("model_development@1", 365, 365, 30),
    Purpose.SELF_VIEW: Template("self_view@1", 365, 365, 300),
}
PARTNERS_ASK_FOR = frozenset(
    {
        Purpose.CREDIT_ASSESSMENT,
        Purpose.PRESCREEN,
        Purpose.LOAN_REFERRAL,
        Purpose.INCOME_ESTIMATE,
        Purpose.PORTRAIT,
    }
)


class AskLapsed(Refusal):
    """The request waited for more than an hour."""

    status, code, title = 409, "ask_lapsed", "This request has lapsed"


class AskedTooSoon(Refusal):
    """The person said no to this recipient and purpose less than 90 days ago."""

    status, code, title = 409, "asked_too_soon", "This person said no not long ago"


class NoticeChanged(Refusal):
    """Another text is in force than the one that the person read."""

    status, code, title = 409, "notice_changed", "The notice is not the one that was shown"


class AlreadyAsked(Refusal):
    """The person has not answered the request before."""

    status, code, title = 409, "already_asked", "This person was asked and has not answered yet"


class RejectionReason(StrEnum):
    """Why a person says no, if they care to say; for their own log and the recipient, never for a decision."""

    NOT_NOW = "not_now"
    RECIPIENT_UNKNOWN = "recipient_unknown"
    TOO_MUCH_DATA = "too_much_data"
    PURPOSE_UNCLEAR = "purpose_unclear"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Ask:
    """What a partner asks a person for."""

    recipient: PartnerId
    bureau: PartnerId | None
    user: UserId | None
    purpose: Purpose
    categories: Categories
    period_days: int
    data_life_days: int
    calls_per_month: int
    channel: str
    answer: AnswerForm = AnswerForm.FULL


async def ask(act: Act, wanted: Ask, *, offered: Categories) -> GrantRow:
    """Ask a person for a grant; nothing may be used before they say yes. Records `grant_requested`.

    Nobody else may ask again within 90 days of a no; the person's own wish is no asking.
    """
    permits.refuse_token_for_other(act.principal, None)
    permits.refuse_unregistered(act, wanted.purpose)
    _refuse_too_wide(wanted, offered)
    if wanted.user and not isinstance(act.principal, Person):
        await _refuse_erased(act, wanted.user)
        act.concern(wanted.user, None)
        await _refuse_too_soon(act, wanted.user, wanted.recipient, wanted.bureau, wanted.purpose)
        await _refuse_second_ask(act, wanted, wanted.user)
    notice = notices.current(wanted.purpose, Language.EN)
    row = await GrantRow.create(
        id=ids.ordered_id(),
        user_id=wanted.user,
        recipient=wanted.recipient,
        bureau=wanted.bureau,
        purpose=wanted.purpose,
        asked=sorted(wanted.categories),
        categories=[],
        state="requested",
        notice_id=notice.id,
        notice_version=notice.version,
        template=TEMPLATES[wanted.purpose].id,
        channel=wanted.channel,
        period_days=wanted.period_days,
        data_life_days=wanted.data_life_days,
        calls_per_month=wanted.calls_per_month,
        answer=wanted.answer,
        requested_at=act.now,
        using_db=act.db,
    )
    if wanted.user:
        act.concern(wanted.user, GrantId(row.id))
    act.record("grant_requested", _terms(row, row.asked), person=wanted.user, grant=GrantId(row.id))
    return row


async def _refuse_erased(act: Act, user: UserId) -> None:
    """A recipient knows who was deleted until it has answered; it asks them for nothing any more."""
    erased = await act.db.execute_query_dict(
        "select 1 from consent_person where id = $1 and erased_at is not null", [user]
    )
    if erased:
        raise KeyErased("this person was deleted at their own request; delete your own copy too")


async def _refuse_too_soon(
    act: Act, user: UserId, recipient: UUID, bureau: UUID | None, purpose: str
) -> None:
    if await rejected_lately(act, user, recipient, bureau, purpose):
        raise AskedTooSoon("respect the no; ask again no sooner than 90 days after it")


async def _refuse_second_ask(act: Act, wanted: Ask, user: UserId) -> None:
    """One ask at a time: many open ones would bury what a person has to see."""
    waiting = GrantRow.filter(
        user_id=user,
        recipient=wanted.recipient,
        bureau=wanted.bureau,
        purpose=wanted.purpose,
        state="requested",
        requested_at__gt=act.now - ASK_LAPSES_AFTER,
    )
    if await waiting.using_db(act.db).exists():
        raise AlreadyAsked("wait for the person's answer, or until the request lapses after an hour")


async def rejected_lately(
    at: Act | View, user: UserId, recipient: UUID, bureau: UUID | None, purpose: str
) -> bool:
    """Whether the person said no to this recipient (through this bureau) and purpose within the last 90 days."""
    since = at.now - NO_ASKING_AFTER_A_NO - ASK_LAPSES_AFTER
    said_no = GrantRow.filter(
        user_id=user,
        recipient=recipient,
        bureau=bureau,
        purpose=purpose,
        state="rejected",
        requested_at__gt=since,
    )
    return await said_no.using_db(at.db).exists()


def _refuse_too_wide(wanted: Ask, offered: Categories) -> None:
    bounds = TEMPLATES[wanted.purpose]
    faults: list[Fault] = []
    if wanted.recipient != OPERATOR and wanted.purpose not in PARTNERS_ASK_FOR:
        faults.append(Fault("/purpose", "purpose_not_open", "partners cannot ask for this purpose"))
    if not wanted.categories:
        faults.append(Fault("/categories", "empty", "name at least one category"))
    faults += [
        Fault("/categories", "category_not_offered", f"{category} is not offered here")
        for category in sorted(wanted.categories - offered)
    ]
    for name, value, most in (
        ("period_days", wanted.period_days, bounds.period_days_max),
        ("data_life_days", wanted.data_life_days, bounds.data_life_days_max),
        ("calls_per_month", wanted.calls_per_month, bounds.calls_per_month_max),
    ):
        if not 1 <= value <= most:
            faults.append(Fault(f"/{name}", "out_of_range", f"between 1 and {most} for {bounds.id}"))
    if faults:
        raise Unacceptable("the consent asked for is wider than its template allows", *faults)


async def approve(
    act: Act, grant: GrantId, categories: Categories, language: Language, *, shown: str | None = None
) -> tuple[GrantRow, str]:
    """The person says yes, to all or some of the categories; returns the grant and its signed receipt.

    `shown` is the SHA-256 of the notice that they read: refused (`NoticeChanged`) if another is in force.
    Binds the exact notice shown (id, version, hash, language) and how the person was signed in. A live grant to the
    same recipient for the same purpose ends as `superseded`. Records `grant_given`.
    """
    person = acting_person(act)
    row = await _locked(act, grant)
    _refuse_lapsed(row, act.now)
    life.after(row, Step.APPROVE, act.now)
    if row.user_id not in (None, person.user):
        raise NotFound
    if not categories or not categories <= frozenset(row.asked):
        fault = Fault("/categories", "not_asked", "choose at least one, and only of those asked for")
        raise Unacceptable("choose among the categories that were asked for", fault)
    if shown not in (None, notices.current(Purpose(row.purpose), language).sha256):
        raise NoticeChanged("read the notice that is in force now, then answer")
    await _refuse_too_soon(act, person.user, row.recipient, row.bureau, row.purpose)
    return await _give(act, row, person, categories, language)


async def give(
    act: Act, wanted: Ask, language: Language, *, offered: Categories, shown: str | None = None
) -> tuple[GrantRow, str]:
    """The person gives a grant of their own accord, in the step that needs it (applying, picking a lender).

    `shown` is the hash of the notice they saw; another one in force is refused.
    """
    person = acting_person(act)
    if shown not in (None, notices.current(wanted.purpose, language).sha256):
        raise NoticeChanged("read the notice that is in force now, then answer")
    row = await ask(act, wanted, offered=offered)
    return await _give(act, row, person, wanted.categories, language)


async def _give(
    act: Act, row: GrantRow, person: Person, categories: Categories, language: Language
) -> tuple[GrantRow, str]:
    grant = GrantId(row.id)
    act.concern(person.user, grant)
    await refuse_minor(act, person.user)
    await _supersede(act, row, person.user)
    notice = notices.current(Purpose(row.purpose), language)
    row.user_id = person.user
    row.categories = sorted(categories)
    row.state = life.after(row, Step.APPROVE, act.now)
    row.notice_version, row.notice_sha256, row.language = notice.version, notice.sha256, language
    row.given_at = act.now
    row.expires_at = act.now + timedelta(days=row.period_days)
    row.evidence = evidence_of(person)
    await row.save(using_db=act.db)
    known_as = await subject(act, row, person.user)
    act.record(
        "grant_given", _terms(row, row.categories), person=person.user, grant=grant, partner=_tenant(row)
    )
    return row, await receipts.issue(act, row, subject=known_as)


async def subject(act: Act, row: GrantRow, user: UserId) -> str:
    """Give the recipient (and the bureau that relays) their pseudonyms of this person; say the recipient's."""
    if row.bureau:
        await people.pseudonym(act, user, PartnerId(row.bureau))
    if row.recipient == OPERATOR:
        return "operator"
    return ids.public("usr", await people.pseudonym(act, user, PartnerId(row.recipient)))


async def refuse_minor(act: Act, user: UserId) -> None:
    """Nobody can agree to anything here who is not known to be an adult (`AgeNotEstablished`)."""
    rows = await act.db.execute_query_dict("select born_on from consent_person where id = $1", [user])
    born_on = rows[0]["born_on"] if rows else None
    today = act.now.astimezone(BUSINESS_ZONE).date()
    if not people.is_adult(born_on, today):
        raise AgeNotEstablished("only people who are known to be adults can agree to this")


async def _supersede(act: Act, row: GrantRow, user: UserId) -> None:
    live = GrantRow.filter(
        user_id=user,
        recipient=row.recipient,
        bureau=row.bureau,
        purpose=row.purpose,
        state__in=LIVE,
    )
    for old in await live.using_db(act.db).select_for_update():
        await _end(act, old, _ending(old, Step.SUPERSEDE, act.now))


def _refuse_lapsed(row: GrantRow, now: datetime) -> None:
    if life.state_now(row, now)[0] is State.LAPSED:
        raise AskLapsed("a request can be answered for an hour; ask the bank to send you a new one")


async def reject(act: Act, grant: GrantId, reason: RejectionReason | None = None) -> GrantRow:
    """The person says no; nothing else changes for them. Records `grant_rejected`, with the reason if they gave one."""
    person = acting_person(act)
    row = await _locked(act, grant)
    if row.state == State.REJECTED and row.user_id == person.user:
        act.record("grant_rejected_again", {}, person=person.user, grant=grant, partner=_tenant(row))
        return row
    _refuse_lapsed(row, act.now)
    if row.user_id not in (None, person.user):
        raise GrantNotOpen("this request was answered before")
    row.state, row.user_id = life.after(row, Step.REJECT, act.now), person.user
    if reason:
        row.rejected_reason = reason
    await row.save(using_db=act.db)
    act.record("grant_rejected", {"reason": reason}, person=person.user, grant=grant, partner=_tenant(row))
    return row


async def pause(act: Act, grant: GrantId) -> GrantRow:
    """The person stops all use for as long as they like; the grant stands. Twice is fine. Records `grant_paused`."""
    return await _switch(act, grant, Step.PAUSE, State.PAUSED)


async def resume(act: Act, grant: GrantId) -> GrantRow:
    """The person lets a paused grant be used again. Twice is fine. Records `grant_resumed`."""
    return await _switch(act, grant, Step.RESUME, State.ACTIVE)


async def _switch(act: Act, grant: GrantId, step: Step, reached: State) -> GrantRow:
    """Takes the grant's exclusive lock, like a withdrawal: no use of it stands later in the log."""
    person = acting_person(act)
    row = await _locked(act, grant)
    await act.tick()
    act.concern(person.user, grant)
    if row.user_id != person.user:
        raise NotFound
    again = "_again" if life.state_now(row, act.now)[0] is reached else ""
    if not again:
        row.state = life.after(row, step, act.now)
        await row.save(using_db=act.db, update_fields=["state"])
    kind = f"grant_{'paused' if step is Step.PAUSE else 'resumed'}{again}"
    act.record(kind, {}, person=person.user, grant=grant, partner=_tenant(row))
    return row


async def pause_all(act: Act) -> int:
    """The person pauses every grant they have, in one act; returns how many. Records `everything_paused`."""
    return await _switch_all(act, Step.PAUSE, State.ACTIVE, State.PAUSED)


async def resume_all(act: Act) -> int:
    """The person lets everything that is paused be used again; returns how many. Records `everything_resumed`."""
    return await _switch_all(act, Step.RESUME, State.PAUSED, State.ACTIVE)


async def _switch_all(act: Act, step: Step, present: State, reached: State) -> int:
    person = acting_person(act)
    rows = GrantRow.filter(user_id=person.user, state=present, expires_at__gt=act.now)
    found = await rows.using_db(act.db).order_by("id")
    for row in found:
        await _switch(act, GrantId(row.id), step, reached)
    kind = "everything_paused" if step is Step.PAUSE else "everything_resumed"
    act.record(kind, {"count": len(found)}, person=person.user)
    return len(found)


async def withdraw(act: Act, grant: GrantId) -> GrantRow:
    """The person ends a grant; everything that rests on it stops in this same act. Twice is fine.

    Takes the grant's exclusive lock before it records, so that no use of it can stand later in the log.
    Records `grant_withdrawn`.
    """
    person = acting_person(act)
    row = await _locked(act, grant)
    await act.tick()
    act.concern(person.user, grant)
    if row.state == State.ENDED:
        act.record("grant_withdrawn_again", {}, person=person.user, grant=grant, partner=_tenant(row))
        return row
    if row.user_id != person.user:
        raise GrantNotOpen("only a consent that was given can be withdrawn")
    await _end(act, row, _ending(row, Step.WITHDRAW, act.now))
    await receipts.issue(act, row, subject=await subject(act, row, person.user))
    return row


async def relinquish(act: Act, grant: GrantId) -> GrantRow:
    """A partner gives a grant back; everything that rests on it stops in this same act. Twice is fine.

    Records `grant_relinquished`. Takes the same lock as a withdrawal, for the same reason.
    """
    refuse_other_than_partner(act)
    row = await held(act, grant)
    await act.tick()
    user = user_of(row)
    act.concern(user, grant)
    if row.state == State.ENDED:
        act.record("grant_relinquished_again", {}, person=user, grant=grant)
    else:
        await _end(act, row, _ending(row, Step.RELINQUISH, act.now))
    return row


def _ending(row: GrantRow, wished: Step, now: datetime) -> Step:
    """Whoever comes after the grant's time was over finds it expired, also if nobody has noted that yet."""
    return Step.EXPIRE if life.state_now(row, now) == (State.ENDED, "expired") else wished


async def withdraw_all(act: Act) -> int:
    """The person ends every grant they have, in one act; returns how many. Records `everything_stopped`."""
    person = acting_person(act)
    live = await GrantRow.filter(user_id=person.user, state__in=LIVE).using_db(act.db).order_by("id")
    for row in live:
        await withdraw(act, GrantId(row.id))
    act.record("everything_stopped", {"count": len(live)}, person=person.user)
    return len(live)


async def any_expired(upkeep: Upkeep) -> bool:
    """Whether there is anything for `end_expired` to do."""
    rows = await upkeep.db.execute_query_dict(
        "select 1 from consent_grant where state in ('active', 'paused') and expires_at <= $1 limit 1",
        [upkeep.now],
    )
    return bool(rows)


async def end_expired(act: Act, limit: int) -> int:
    """Record the end of grants whose period is over and run what ends with them; returns how many.

    Expiry took effect by the clock before; this is the job that takes back what was already handed out.
    """
    rows = await act.db.execute_query_dict(
        """select id from consent_grant where state in ('active', 'paused') and expires_at <= $1
           order by expires_at limit $2 for update skip locked""",
        [act.now, limit],
    )
    for found in rows:
        row = await GrantRow.get(id=found["id"], using_db=act.db)
        await _end(act, row, Step.EXPIRE)
    act.record("expired_grants_ended", {"count": len(rows)})
    return len(rows)


async def _end(act: Act, row: GrantRow, step: Step) -> None:
    row.state = life.after(row, step, act.now)
    by, code = row.ended_by, row.ended_code = ENDINGS[step]
    row.ended_at = act.now
    await row.save(using_db=act.db, update_fields=["state", "ended_by", "ended_code", "ended_at"])
    user, grant = UserId(user_of(row)), GrantId(row.id)
    # A partner that gives a grant back does so in its own log: a bureau that relays cannot write into the bank's.
    partner = act.tenant if isinstance(act.principal, PartnerClient) else _tenant(row)
    act.record(f"grant_{code}", {"purpose": row.purpose, "by": by}, person=user, grant=grant, partner=partner)
    await endings.run(act, Ended(grant, user, PartnerId(row.recipient), Purpose(row.purpose), code))


async def give_fictional(
    act: Act, users: list[UserId], recipient: PartnerId, purpose: Purpose, categories: Categories
) -> int:
    """Stamp fictional grants on the people of a demo or research set; never on people of ours. One fact for all."""
    notice, template = notices.current(purpose, Language.EN), TEMPLATES[purpose]
    rows = [
        GrantRow(
            id=ids.ordered_id(),
            user_id=user,
            recipient=recipient,
            purpose=purpose,
            asked=sorted(categories),
            categories=sorted(categories),
            state="active",
            notice_id=notice.id,
            notice_version=notice.version,
            notice_sha256=notice.sha256,
            language=Language.EN,
            template=template.id,
            channel="fictional",
            period_days=template.period_days_max,
            data_life_days=template.data_life_days_max,
            calls_per_month=template.calls_per_month_max,
            requested_at=act.now,
            given_at=act.now,
            expires_at=act.now + timedelta(days=template.period_days_max),
            fictional=True,
        )
        for user in users
    ]
    await GrantRow.bulk_create(rows, batch_size=1_000, using_db=act.db)
    act.record("fictional_grants_given", {"count": len(rows), "purpose": purpose}, partner=recipient)
    return len(rows)


async def find(view: View | Act, grant: GrantId) -> GrantRow:
    """One grant that the caller may see, or 404; a token for one consent shows no other."""
    permits.refuse_token_for_other(view.principal, grant)
    row = await GrantRow.filter(id=grant).using_db(view.db).first()
    if row is None:
        raise NotFound
    return row


async def held(act: Act, grant: GrantId) -> GrantRow:
    """One grant that the caller may see, locked until the act ends: it neither ends nor pauses meanwhile."""
    permits.refuse_token_for_other(act.principal, grant)
    return await _locked(act, grant)


async def mine(view: View, user: UserId) -> list[GrantRow]:
    """A person's grants: all that live, then the newest of the others."""
    all_of_them = GrantRow.filter(user_id=user).using_db(view.db)
    live = await all_of_them.filter(state__in=LIVE).order_by("-given_at")
    return live + await all_of_them.exclude(state__in=LIVE).order_by("-requested_at").limit(LIST_MAX)


async def live(view: View, user: UserId, recipient: PartnerId, purpose: Purpose) -> GrantRow | None:
    """The person's consent of this purpose to this recipient, if one stands (active or paused)."""
    found = GrantRow.filter(
        user_id=user,
        recipient=recipient,
        bureau=None,
        purpose=purpose,
        state__in=LIVE,
        expires_at__gt=view.now,
    )
    return await found.using_db(view.db).first()


def user_of(row: GrantRow) -> UserId:
    """The person of a grant that was answered."""
    if row.user_id is None:
        raise NotFound
    return UserId(row.user_id)


async def _locked(act: Act, grant: GrantId) -> GrantRow:
    row = await GrantRow.filter(id=grant).using_db(act.db).select_for_update().first()
    if row is None:
        raise NotFound
    return row


def acting_person(act: Act) -> Person:
    """The person whose own act it is; to anybody else there is no such thing (404)."""
    if not isinstance(act.principal, Person):
        raise NotFound
    return act.principal


def refuse_other_than_partner(act: Act) -> None:
    """What only a recipient does, or the bureau that relays, nobody does in their name: neither person nor staff."""
    if not isinstance(act.principal, PartnerClient):
        raise NotFound


def evidence_of(person: Person) -> dict[str, str]:
    """How somebody who answers was known to be themselves: the session, when it began and by which method.

    Where a provider answers for them, also when and how strongly they proved it there.
    """
    said = {
        "session": ids.public("ses", person.session),
        "signed_in_at": person.signed_in_at.isoformat(),
        "method": person.method,
    }
    if person.auth_time:
        said["auth_time"] = person.auth_time.isoformat()
    return said | ({"acr": person.acr} if person.acr else {})


def _tenant(row: GrantRow) -> PartnerId:
    """In whose log a grant's facts stand: the bureau's own uses stand in its own."""
    return PartnerId(row.recipient)


def _terms(row: GrantRow, categories: list[str]) -> dict[str, Json]:
    return {
        "recipient": receipts.party(PartnerId(row.recipient)),
        "bureau": receipts.party(PartnerId(row.bureau)) if row.bureau else None,
        "purpose": row.purpose,
        "categories": [str(Category(c)) for c in categories],
        "period_days": row.period_days,
        "answer": row.answer,
        "template": row.template,
        "notice": f"{row.notice_id}@{row.notice_version}",
        "notice_sha256": row.notice_sha256,
    }
