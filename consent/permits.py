"""A permit is proof, made now, that a use is allowed. Code that reads a person's data takes one.

There are four kinds, each made by one function here: `permit` (a partner uses a person's data), `own_permit` (a person
looks at their own), `staff_permit` (staff look, with a stated reason) and `population_permit` (batch work).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from compliance.act import Act
from compliance.canonical import digest
from compliance.refusals import NotFound, Refusal
from compliance.replies import Stored, check_on_replay
from compliance.vocabulary import (
    OPERATOR,
    AnswerForm,
    Categories,
    Category,
    GrantId,
    PartnerClient,
    PartnerId,
    Person,
    Principal,
    Purpose,
    Staff,
    UserId,
)
from consent.people import is_adult

BUSINESS_ZONE = ZoneInfo("Asia/Shanghai")
REASON_LENGTH_MIN = 10

FIND = """
with found as (
    select g.id, g.user_id, g.recipient, g.categories, g.answer, g.state, g.ended_code, g.expires_at, g.calls_per_month,
           p.born_on, coalesce(p.objected_to_prescreen_at, p.objected_to_automation_at) as objected_to_lists_at,
           p.objected_to_automation_at,
           array(select d.category from consent_dispute d where d.user_id = g.user_id and d.state = 'upheld'
                 and d.about = 'category' and coalesce(d.corrected_at, d.lifted_at) is null) as held,
           array(select coalesce(d.category, d.about) from consent_dispute d where d.user_id = g.user_id
                 and d.state = 'open' and (d.about = 'category' or d.recipient = g.recipient)) as disputed
    from consent_grant g join consent_person p on p.id = g.user_id
    where g.user_id = $1 and g.recipient = $2 and g.purpose = $3 and g.bureau is not distinct from $4
    order by g.state in ('active', 'paused') desc, g.state = 'ended' desc, g.requested_at desc
    limit 1 for no key update of g
), used as (
    insert into consent_use (grant_id, month, calls, last_used_at)
    select id, $5, $7, $6 from found where state = 'active' and expires_at > $6
    on conflict (grant_id, month) do update set calls = consent_use.calls + excluded.calls, last_used_at = excluded.last_used_at
    returning calls
)
select found.*, (select calls from used) as calls, clock_timestamp() as now from found
"""


class ConsentMissing(Refusal):
    """No grant covers this use."""

    status, code, title = 403, "consent_missing", "The person has not consented to this use"


class ConsentWithdrawn(Refusal):
    """The person ended the grant."""

    status, code, title = 403, "consent_withdrawn", "The person has withdrawn this consent"


class ConsentRelinquished(Refusal):
    """The recipient gave the grant back."""

    status, code, title = 403, "consent_relinquished", "You have given this consent back"


class ConsentExpired(Refusal):
    """The grant's period is over."""

    status, code, title = 403, "consent_expired", "This consent has expired"


class ConsentPaused(Refusal):
    """The person paused the grant."""

    status, code, title = 403, "consent_paused", "The person has paused this consent"


class ConsentFrequencyExceeded(Refusal):
    """The grant was used as often as it allows in this calendar month."""

    status, code, title = (
        403,
        "consent_frequency_exceeded",
        "This consent was used as often as it allows this month",
    )


class CategoryNotGranted(Refusal):
    """Nothing is left of what was asked."""

    status, code, title = 403, "category_not_granted", "None of the categories asked for were granted"


class PurposeNotRegistered(Refusal):
    """The client is not registered for this purpose."""

    status, code, title = 403, "purpose_not_registered", "This client is not registered for this purpose"


class TokenForOtherConsent(Refusal):
    """The access token is for another consent than the one that covers this use."""

    status, code, title = 403, "token_for_other_consent", "The access token is for another consent"


class UserObjected(Refusal):
    """The person objected to this kind of use."""

    status, code, title = 403, "user_objected", "The person has objected to this use"


class AgeNotEstablished(Refusal):
    """Unknown age, or a minor: refused before any feature is read."""

    status, code, title = 403, "age_not_established", "The person is not known to be an adult"


class ReasonMissing(Refusal):
    """Staff must say why they look at personal data."""

    status, code, title = 422, "reason_missing", "A reason is needed to look at personal data"


@dataclass(frozen=True, slots=True)
class Permit:
    """Proof that `recipient` may use these categories of this person's data for this purpose, now."""

    grant: GrantId
    user: UserId
    recipient: PartnerId
    bureau: PartnerId | None
    purpose: Purpose
    categories: Categories
    answer: AnswerForm
    expires_at: datetime
    digest: str
    automation_objected: bool
    """The person objects to decisions made by automated means alone (PIPL Art 24)."""
    disputed: frozenset[str]
    """What is in open dispute: kinds of data, and `score` for a score that this recipient was given."""


@dataclass(frozen=True, slots=True)
class OwnPermit:
    """Proof that a person looks at their own data, in their own session."""

    user: UserId


@dataclass(frozen=True, slots=True)
class StaffPermit:
    """Proof that a member of staff looks for a stated reason, which stands in the log."""

    staff: Staff
    reason: str


@dataclass(frozen=True, slots=True)
class PopulationPermit:
    """The only key to batch work: who may be in it, by which grant, with which categories.

    `basis` is `grants` (each person's own) or `research_set` (a stamped set that no grant covers).
    `born_on` lets eligibility be judged; the digest covers the whole permit.
    """

    purpose: Purpose
    recipient: PartnerId
    basis: str
    cutoff: datetime
    grants: dict[UserId, GrantId]
    masks: dict[UserId, Categories]
    born_on: dict[UserId, date]
    digest: str
    bureau: PartnerId | None = None


async def permit(
    act: Act,
    user: UserId,
    purpose: Purpose,
    wanted: Categories,
    *,
    recipient: PartnerId | None = None,
    count: bool = True,
) -> Permit:
    """Prove a live grant covers this use, or refuse; one query, which locks the grant until the act ends.

    Withdrawal waits for that lock before it records, so the order in the log is the order of effect. The lock is
    exclusive: overlapping shared ones could keep a withdrawal waiting without end. A bureau that relays names the
    `recipient`. Answers with the intersection of what is wanted and what was granted; `count` says whether this use
    counts against the calls of the month.
    """
    refuse_unregistered(act, purpose)
    relays = isinstance(act.principal, PartnerClient) and recipient not in (None, act.tenant)
    bureau = act.tenant if relays else None
    towards = recipient or act.tenant
    month = act.now.astimezone(BUSINESS_ZONE).date().replace(day=1)
    rows = await act.db.execute_query_dict(FIND, [user, towards, purpose, bureau, month, act.now, int(count)])
    if not rows:
        act.concern(user, None)
        raise ConsentMissing("ask the person for consent (POST /v1/grants), then try again")
    row = rows[0]
    act.now = row["now"]  # read after the lock: uses of one grant stand in the order of their times
    grant = GrantId(row["id"])
    act.concern(user, grant)
    refuse_token_for_other(act.principal, grant)
    _refuse_unless_live(row, act.now, count=count)
    _refuse_unless_of_age(row["born_on"], act.now)
    if purpose is Purpose.PRESCREEN and row["objected_to_lists_at"]:
        raise UserObjected("take the person off your lists")
    # What was found wrong is not used until newer data come (PIPL Art 46); who applies states everything anew.
    held = set(row["held"]) - ({Category.DECLARED} if purpose is Purpose.LOAN_REFERRAL else set())
    allowed = frozenset(Category(c) for c in set(row["categories"]) - held) & wanted
    if not allowed:
        raise CategoryNotGranted("ask for a grant that names at least one of these categories")
    proof = digest(
        {
            "grant": str(grant),
            "user": str(user),
            "recipient": str(towards),
            "bureau": str(bureau) if bureau else None,
            "purpose": purpose,
            "categories": sorted(allowed),
            "at": act.now.isoformat(),
        }
    )
    return Permit(
        grant=grant,
        user=user,
        recipient=towards,
        bureau=bureau,
        purpose=purpose,
        categories=allowed,
        answer=AnswerForm(row["answer"]),
        expires_at=row["expires_at"],
        digest=proof,
        automation_objected=row["objected_to_automation_at"] is not None,
        disputed=frozenset(row["disputed"]),
    )


def refuse_token_for_other(principal: Principal | None, grant: GrantId | None) -> None:
    """A token that one consent stands behind is for that one, and for no new one (`grant` is None)."""
    if isinstance(principal, PartnerClient) and principal.grant not in (None, grant):
        raise TokenForOtherConsent("use the token of this very consent, or one of the client's own")


def refuse_unregistered(act: Act, purpose: Purpose) -> None:
    """A client uses and asks for what it is registered for, and nothing else."""
    if isinstance(act.principal, PartnerClient) and purpose not in act.principal.purposes:
        raise PurposeNotRegistered("use a client that is registered for this purpose")


def _refuse_unless_live(row: dict[str, object], now: datetime, *, count: bool) -> None:
    state, expires_at = row["state"], row["expires_at"]
    if state == "ended" and row["ended_code"] == "expired":
        raise ConsentExpired("ask the person for a new consent")
    if state == "ended" and row["ended_code"] == "relinquished":
        raise ConsentRelinquished("ask the person for a new consent")
    if state == "ended":
        raise ConsentWithdrawn("stop using what this consent allowed, and do not ask again at once")
    if state not in ("active", "paused") or not isinstance(expires_at, datetime):
        raise ConsentMissing("the person has not said yes; wait for an answer, or ask (POST /v1/grants)")
    if expires_at <= now:
        raise ConsentExpired("ask the person for a new consent")
    if state == "paused":
        raise ConsentPaused("wait until the person resumes it")
    calls, limit = row["calls"], row["calls_per_month"]
    if count and isinstance(limit, int) and isinstance(calls, int) and calls > limit:
        raise ConsentFrequencyExceeded("wait for the next calendar month, or ask for a wider consent")


def _refuse_unless_of_age(born_on: date | None, now: datetime) -> None:
    if not is_adult(born_on, now.astimezone(BUSINESS_ZONE).date()):
        raise AgeNotEstablished("only people who are known to be adults can be assessed")


@check_on_replay
async def still_permitted(act: Act, stored: Stored) -> None:
    """An old answer about a person is given again only while the grant it rested on lives."""
    if stored.person is None or stored.grant is None or not isinstance(act.principal, PartnerClient):
        return
    rows = await act.db.execute_query_dict(
        """select g.state, g.ended_code, g.expires_at, g.purpose, null::int as calls, null::int as calls_per_month,
                  p.born_on, coalesce(p.objected_to_prescreen_at, p.objected_to_automation_at) as objected_to_lists_at
           from consent_grant g join consent_person p on p.id = g.user_id where g.id = $1 for no key update of g""",
        [stored.grant],
    )
    if not rows:
        raise NotFound
    row = rows[0]
    refuse_token_for_other(act.principal, stored.grant)
    refuse_unregistered(act, Purpose(row["purpose"]))
    if row["state"] == "requested":  # a request's own answer may be repeated while it waits
        return
    _refuse_unless_live(row, act.now, count=False)
    _refuse_unless_of_age(row["born_on"], act.now)
    if row["purpose"] == Purpose.PRESCREEN and row["objected_to_lists_at"]:
        raise UserObjected("take the person off your lists")


async def bureau_of(act: Act, grant: GrantId) -> tuple[PartnerId, PartnerId | None]:
    """Whom a grant of the caller's is for, and the bureau that relays, where one does."""
    rows = await act.db.execute_query_dict(
        "select recipient, bureau from consent_grant where id = $1", [grant]
    )
    if not rows:
        raise NotFound
    return PartnerId(rows[0]["recipient"]), PartnerId(rows[0]["bureau"]) if rows[0]["bureau"] else None


def own_permit(act: Act) -> OwnPermit:
    """A person may always look at their own data."""
    if not isinstance(act.principal, Person):
        raise NotFound
    return OwnPermit(act.principal.user)


def staff_permit(act: Act, reason: str, *, about: UserId | None = None) -> StaffPermit:
    """Staff may look for a stated reason; the look is recorded here, and shown to whom it is about (征信业管理条例 Art 22)."""
    if not isinstance(act.principal, Staff):
        raise NotFound
    if len(reason.strip()) < REASON_LENGTH_MIN:
        raise ReasonMissing("say in a sentence why you need to see this")
    act.record("staff_looked", {"reason": reason.strip()}, person=about)
    return StaffPermit(act.principal, reason.strip())


async def population_permit(
    act: Act, purpose: Purpose, recipient: PartnerId, cutoff: datetime
) -> PopulationPermit:
    """Everybody with a live grant of this purpose to this recipient itself, of known age, who did not object.

    A grant that names a bureau allows the use through that bureau only, and is no part of this.

    Every release checks each row again; this only bounds the work.
    """
    rows = await act.db.execute_query_dict(
        """select g.id, g.user_id, p.born_on, array(
               select unnest(g.categories) except
               select d.category from consent_dispute d where d.user_id = g.user_id and d.state = 'upheld'
                 and d.about = 'category' and coalesce(d.corrected_at, d.lifted_at) is null) as categories
           from consent_grant g join consent_person p on p.id = g.user_id
           where g.recipient = $1 and g.bureau is null and g.purpose = $2 and g.state = 'active'
             and g.expires_at > $3 and p.born_on is not null
             and coalesce(p.objected_to_prescreen_at, p.objected_to_automation_at) is null
           order by g.user_id""",
        [recipient, purpose, act.now],
    )
    today = act.now.astimezone(BUSINESS_ZONE).date()
    adults = [r for r in rows if is_adult(r["born_on"], today)]
    masks = {UserId(r["user_id"]): frozenset(Category(c) for c in r["categories"]) for r in adults}
    grants = {UserId(r["user_id"]): GrantId(r["id"]) for r in adults}
    proof = digest(
        {
            "purpose": purpose,
            "recipient": str(recipient),
            "cutoff": cutoff.isoformat(),
            "grants": [[str(user), str(grant), sorted(masks[user])] for user, grant in grants.items()],
        }
    )
    act.record("population_permitted", {"people": len(grants), "digest": proof}, partner=recipient)
    born = {UserId(r["user_id"]): r["born_on"] for r in adults}
    return PopulationPermit(purpose, recipient, "grants", cutoff, grants, masks, born, proof)


async def features_permit(
    act: Act, users: Sequence[UserId], cutoff: datetime, renewed: Sequence[tuple[UserId, Category]]
) -> PopulationPermit:
    """Whose features may be made ready, and from which kinds of data: whatever somebody may use of them at present.

    Of known age, with a live grant to whomever for whatever answers about them; a mask is the union of what they all
    allow, without what was found wrong and is not `renewed`. Each use has a permit of its own, which sees no more than
    its own grant.
    """
    rows = await act.db.execute_query_dict(
        """select g.user_id, min(g.id::text)::uuid as id, p.born_on,
                  array_agg(distinct c) filter (where d.user_id is null) as categories
           from consent_grant g join consent_person p on p.id = g.user_id cross join unnest(g.categories) c
           left join unnest($4::uuid[], $5::text[]) as r (user_id, category)
                on r.user_id = g.user_id and r.category = c
           left join consent_dispute d on d.user_id = g.user_id and d.state = 'upheld' and d.about = 'category'
                and coalesce(d.corrected_at, d.lifted_at) is null and d.category = c and r.user_id is null
           where g.user_id = any($1::uuid[]) and g.state = 'active' and g.expires_at > $2 and g.purpose <> $3
             and p.born_on is not null and p.erased_at is null
           group by g.user_id, p.born_on order by g.user_id""",
        [
            list(users),
            act.now,
            Purpose.MODEL_DEVELOPMENT,
            [user for user, _ in renewed],
            [category for _, category in renewed],
        ],
    )
    today = act.now.astimezone(BUSINESS_ZONE).date()
    adults = [r for r in rows if r["categories"] and is_adult(r["born_on"], today)]
    masks = {UserId(r["user_id"]): frozenset(Category(c) for c in r["categories"]) for r in adults}
    grants = {UserId(r["user_id"]): GrantId(r["id"]) for r in adults}
    born = {UserId(r["user_id"]): r["born_on"] for r in adults}
    proof = digest(
        {
            "features": True,
            "cutoff": cutoff.isoformat(),
            "masks": [[str(user), sorted(mask)] for user, mask in masks.items()],
        }
    )
    act.record("population_permitted", {"people": len(masks), "digest": proof})
    purpose = act.purpose or Purpose.CREDIT_ASSESSMENT
    return PopulationPermit(purpose, OPERATOR, "grants", cutoff, grants, masks, born, proof)


def research_permit(act: Act, name: str, cutoff: datetime) -> PopulationPermit:
    """A stamped research set: no person of ours, exempt from grants and ages; the reading is recorded."""
    proof = digest({"research_set": name, "cutoff": cutoff.isoformat()})
    act.record("research_set_read", {"name": name, "digest": proof})
    return PopulationPermit(Purpose.MODEL_DEVELOPMENT, OPERATOR, "research_set", cutoff, {}, {}, {}, proof)
