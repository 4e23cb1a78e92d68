"""Disputes: a person says that something held or recorded about them is wrong, and staff answer within 20 days."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act, Upkeep, View
from compliance.canonical import Json
from compliance.refusals import NotFound, Refusal
from compliance.vocabulary import Category, FactId, PartnerId, UserId
from consent import access_log, clocks, objections, people, statements
from consent.permits import OwnPermit, StaffPermit
from consent.tables import DisputeRow

ANSWER_WITHIN = timedelta(days=20)
"""征信业管理条例 Art 25: marked at once, checked and answered within 20 days."""
OPEN_MAX = 20
LIST_MAX = 100
FOUND_WRONG = """
select user_id, category, max(closed_at) as until from consent_dispute
where user_id = any($1::uuid[]) and state = 'upheld' and about = 'category' and lifted_at is null
group by user_id, category
"""
CORRECT = """
update consent_dispute d set corrected_at = $1
from unnest($2::uuid[], $3::text[], $4::timestamptz[]) as renewed (user_id, category, until)
where d.user_id = renewed.user_id and d.category = renewed.category and d.closed_at <= renewed.until
  and d.state = 'upheld' and d.about = 'category' and coalesce(d.corrected_at, d.lifted_at) is null
returning d.id, d.user_id, d.category
"""


class About(StrEnum):
    """What can be disputed."""

    CATEGORY = "category"
    SCORE = "score"
    FACT = "fact"


class State(StrEnum):
    """Where a dispute stands; whatever is not open stays as it is."""

    OPEN = "open"
    UPHELD = "upheld"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class DisputeOpen(Refusal):
    """The same thing is disputed already."""

    status, code, title = 409, "dispute_open", "This is already disputed"


class TooManyDisputes(Refusal):
    """More open disputes than one person can be answered about."""

    status, code, title = 409, "too_many_disputes", "Too many disputes are open"


class DisputeSettled(Refusal):
    """It was answered or withdrawn before."""

    status, code, title = 409, "dispute_settled", "This dispute is closed"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is disputed: a kind of data, a score that `recipient` was given, or a fact of one's own log."""

    about: About
    category: Category | None = None
    score: UUID | None = None
    fact: FactId | None = None
    recipient: PartnerId | None = None

    @property
    def told(self) -> dict[str, Json]:
        """As a fact names it."""
        return {
            "about": self.about,
            **({"category": self.category} if self.category else {}),
            **({"score": ids.public("scr", self.score)} if self.score else {}),
            **({"fact": ids.public("fct", self.fact)} if self.fact else {}),
        }


@dataclass(frozen=True, slots=True)
class Read:
    """A dispute with what was written: by the person, and by staff once they answered, or lifted what was held back."""

    row: DisputeRow
    text: str
    answer: str | None
    lifted: str | None


@dataclass(frozen=True, slots=True)
class Wrong:
    """Whatever came in of one kind about a person up to a moment was found wrong."""

    user: UserId
    category: Category
    until: datetime


async def raise_category(act: Act, own: OwnPermit, category: Category, text: str) -> DisputeRow:
    """The person disputes what is held about them of one kind."""
    return await raise_about(act, own, Subject(About.CATEGORY, category=category), text)


async def raise_fact(act: Act, own: OwnPermit, fact: FactId, text: str) -> DisputeRow:
    """The person disputes an entry of their own log."""
    if (await access_log.find(act, fact)).person != own.user:
        raise NotFound
    return await raise_about(act, own, Subject(About.FACT, fact=fact), text)


async def raise_about(act: Act, own: OwnPermit, subject: Subject, text: str) -> DisputeRow:
    """Open a dispute, which marks its subject in this same act. Records `dispute_opened`.

    Whoever names a score has checked that it is the person's own. Refused while the same thing is disputed already
    (`DisputeOpen`), and where twenty are open (`TooManyDisputes`).
    """
    plain = statements.checked(text)
    live = await still_open(act, own.user)
    if subject.told in [subject_of(row).told for row in live]:
        raise DisputeOpen("wait for the answer, or withdraw it first")
    if len(live) >= OPEN_MAX:
        raise TooManyDisputes("withdraw one, or wait for an answer")
    dispute = ids.ordered_id()
    row = await DisputeRow.create(
        id=dispute,
        user_id=own.user,
        about=subject.about,
        category=subject.category,
        score=subject.score,
        fact=subject.fact,
        recipient=subject.recipient,
        text_sealed=await statements.seal(own.user, plain, "dispute", dispute),
        state=State.OPEN,
        raised_at=act.now,
        due_at=act.now + ANSWER_WITHIN,
        using_db=act.db,
    )
    _record(act, "dispute_opened", row, text_sha256=statements.digest(plain), due=row.due_at.isoformat())
    return row


async def withdraw(act: Act, own: OwnPermit, dispute: UUID) -> DisputeRow:
    """The person takes a dispute back; twice is fine. Records `dispute_withdrawn`."""
    row = await _held(act, dispute)
    if row.user_id != own.user:
        raise NotFound
    if row.state not in (State.OPEN, State.WITHDRAWN):
        raise DisputeSettled("it was answered; raise it anew if it is still wrong")
    if row.state == State.OPEN:
        row.state, row.closed_at = State.WITHDRAWN, act.now
        await row.save(using_db=act.db, update_fields=["state", "closed_at"])
    _record(act, "dispute_withdrawn", row)
    return row


async def mine(at: Act | View, user: UserId) -> list[DisputeRow]:
    """A person's own disputes, newest first, without what was written."""
    return await DisputeRow.filter(user_id=user).using_db(at.db).order_by("-id").limit(LIST_MAX)


async def read_own(act: Act, own: OwnPermit, dispute: UUID) -> Read:
    """One of the person's own disputes with both texts. Records `own_dispute_read`."""
    row = await _found(act, dispute)
    if row.user_id != own.user:
        raise NotFound
    _record(act, "own_dispute_read", row)
    return await _read(row)


def subject_of(row: DisputeRow) -> Subject:
    """What a dispute is about."""
    return Subject(
        About(row.about),
        Category(row.category) if row.category else None,
        row.score,
        FactId(row.fact) if row.fact else None,
        PartnerId(row.recipient) if row.recipient else None,
    )


async def still_open(at: Act | View, user: UserId) -> list[DisputeRow]:
    """A person's disputes that wait for an answer."""
    return await DisputeRow.filter(user_id=user, state=State.OPEN).using_db(at.db).limit(OPEN_MAX)


def marks(waiting: Iterable[DisputeRow], recipient: PartnerId) -> frozenset[str]:
    """What is in open dispute towards a recipient, in the words of its permit."""
    told = (row for row in waiting if row.category or row.recipient == recipient)
    return frozenset(row.category or About.SCORE for row in told)


async def queue(act: Act) -> list[DisputeRow]:
    """What waits for an answer, the next due first. Records `disputes_listed`."""
    rows = await DisputeRow.filter(state=State.OPEN).using_db(act.db).order_by("due_at").limit(LIST_MAX)
    act.record("disputes_listed", {"count": len(rows)})
    return rows


async def whose(act: Act, dispute: UUID) -> UserId:
    """Whom a dispute is about, so that the look of staff can be recorded for them."""
    return UserId((await _found(act, dispute)).user_id)


async def read_as_staff(act: Act, looks: StaffPermit, dispute: UUID) -> Read:
    """Staff read what the person wrote, for the reason that the permit has recorded. Records `dispute_read`."""
    row = await _found(act, dispute)
    _record(act, "dispute_read", row, reason=looks.reason)
    return await _read(row)


async def answer(act: Act, looks: StaffPermit, dispute: UUID, *, upheld: bool, text: str) -> DisputeRow:
    """Staff answer, once, with a reason. Records `dispute_upheld` or `dispute_rejected`.

    Upheld about a kind of data: records `correction_ordered`, and no permit names that kind for this person any more
    until data of it that came in after this moment stand in place of the earlier ones.
    """
    plain = statements.checked(text, length_min=statements.ANSWER_LENGTH_MIN)
    await people.hold(act, await whose(act, dispute))
    row = await _held(act, dispute)
    if row.state != State.OPEN:
        raise DisputeSettled("it was answered or withdrawn before")
    row.state = State.UPHELD if upheld else State.REJECTED
    row.closed_at, row.answered_by = act.now, facts.describe(looks.staff)
    row.answer_sealed = await statements.seal(UserId(row.user_id), plain, "answer", dispute)
    await row.save(using_db=act.db)
    kind = "dispute_upheld" if upheld else "dispute_rejected"
    _record(act, kind, row, answer_sha256=statements.digest(plain))
    if upheld and row.category:
        _record(act, "correction_ordered", row)
        await objections.leave_lists(act, UserId(row.user_id), "disputed", row.category)
    return row


async def found_wrong(act: Act, users: Sequence[UserId]) -> list[Wrong]:
    """What was ever found wrong of what is held about these people: it stays so, whatever comes in later (`holds`)."""
    rows = await act.db.execute_query_dict(FOUND_WRONG, [list(users)])
    return [Wrong(UserId(row["user_id"]), Category(row["category"]), row["until"]) for row in rows]


async def note_renewed(act: Act, renewed: Sequence[Wrong]) -> None:
    """Other data came in after these were found wrong, and stand in their place: the kind can be used again.

    Records `correction_applied` for each dispute that waited for it.
    """
    columns = [[getattr(each, name) for each in renewed] for name in ("user", "category", "until")]
    for row in await act.db.execute_query_dict(CORRECT, [act.now, *columns]):
        what: dict[str, Json] = {"dispute": ids.public("dsp", row["id"]), "category": row["category"]}
        act.record("correction_applied", what, person=UserId(row["user_id"]))


async def any_overdue(upkeep: Upkeep) -> bool:
    """Whether there is anything for `note_overdue` to do; the upkeep is a worker's."""
    return await clocks.any_late(upkeep, DisputeRow)


async def note_overdue(act: Act, limit: int) -> int:
    """Record which answers are late, each once; returns how many. Records `dispute_overdue` for each."""
    rows = await clocks.note_late(act, DisputeRow, limit)
    for row in rows:
        _record(act, "dispute_overdue", row, due=row.due_at.isoformat())
    act.record("overdue_disputes_noted", {"count": len(rows)})
    return len(rows)


async def _read(row: DisputeRow) -> Read:
    user = UserId(row.user_id)
    text = await statements.read(user, row.text_sealed, "dispute", row.id)
    answered = await statements.read(user, row.answer_sealed, "answer", row.id)
    return Read(row, text or "", answered, await statements.read(user, row.lifted_sealed, "lifted", row.id))


async def _found(act: Act, dispute: UUID) -> DisputeRow:
    row = await DisputeRow.filter(id=dispute).using_db(act.db).first()
    if row is None:
        raise NotFound
    return row


async def _held(act: Act, dispute: UUID) -> DisputeRow:
    row = await DisputeRow.filter(id=dispute).using_db(act.db).select_for_update().first()
    if row is None:
        raise NotFound
    await act.tick()
    return row


def _record(act: Act, kind: str, row: DisputeRow, **more: str) -> None:
    told: dict[str, Json] = {"dispute": ids.public("dsp", row.id), **subject_of(row).told, **more}
    recipient = PartnerId(row.recipient) if row.recipient else None
    act.record(kind, told, person=UserId(row.user_id), partner=recipient)
