"""The budget of information: how much of a person's score one institution may learn in 90 days, whatever it asks.

Score, band, threshold, list and limit are all cuts through the same number. Each is counted in whole bits (the
logarithm of how many different answers there are, rounded up), each basis once: the same question about the same data
tells nothing new.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from compliance import ids
from compliance.act import Act, Upkeep
from compliance.canonical import digest
from compliance.refusals import Refusal
from compliance.vocabulary import AnswerForm, PartnerId, UserId
from consent.permits import Permit
from scoring import set_changes

PERIOD = timedelta(days=90)
LEARNERS = 7_004
"""Advisory locks of this class: one for each person and institution."""


class Disclosure(StrEnum):
    """What tells an institution something of a person's score."""

    FULL = "full"
    BAND = "band"
    THRESHOLD = "threshold"
    LIST = "list"
    LIMIT = "limit"


BITS: Mapping[Disclosure, int] = MappingProxyType(
    {
        Disclosure.FULL: 10,  # one of 601 points
        Disclosure.BAND: 3,  # one of five
        Disclosure.THRESHOLD: 1,
        Disclosure.LIST: 1,
        Disclosure.LIMIT: 3,  # the band is what it tells
    }
)
BITS_MAX: Mapping[AnswerForm, int] = MappingProxyType(
    {AnswerForm.FULL: 120, AnswerForm.BAND: 12, AnswerForm.THRESHOLD: 2}
)
"""In 90 days, by the form that the person agreed to: 12 full scores or 4 bands on new data; four classes at most
from thresholds, which is less than a band."""

SPEND = """
with spent as (
    select coalesce(sum(bits), 0)::int as bits, coalesce(bool_or(basis = $4), false) as told
    from scoring_disclosure where user_id = $2 and institution = $3 and told_at > $8
), added as (
    insert into scoring_disclosure (id, user_id, institution, basis, disclosure, bits, told_at)
    select $1, $2, $3, $4, $5, $6, $7 from spent where not told and bits + $6 <= $9
    on conflict (user_id, institution, basis) do update set bits = excluded.bits, told_at = excluded.told_at
    returning 1
)
select told or exists (select 1 from added) as allowed from spent
"""
TOLD = """
select exists (select 1 from scoring_disclosure where user_id = $1 and institution = $2 and basis = $3
               and told_at > $4) as told,
       exists (select 1 from scoring_score where grant_id = $5 and issued_at > $4)
       or exists (select 1 from scoring_answer where grant_id = $5 and kind = 'limit' and issued_at > $4) as known
"""
"""Whether the same was told, and whether anything was told of the score under this consent, whose choice of data
then counts as one that was used."""
MAY_BE_LISTED = """(
    select coalesce(bool_or(d.basis = {basis}), false) or coalesce(sum(d.bits), 0) + {bits} <= {bits_max}
    from scoring_disclosure d
    where d.user_id = e.user_id and d.institution = e.partner and d.told_at > {now} - interval '90 days')
"""
"""The condition that a line `e` of a list tells its bank no more than it may; `spend_on_list` then counts it."""
SPEND_ON_LIST = """
insert into scoring_disclosure (id, user_id, institution, basis, disclosure, bits, told_at)
select a.id, a.user_id, $3, $4, 'list', $5, $6 from unnest($1::uuid[], $2::uuid[]) as a (id, user_id)
on conflict (user_id, institution, basis) do nothing
"""


class InformationBudgetSpent(Refusal):
    """The institution was told as much of this person's score as it may be told in 90 days."""

    status, code, title = 403, "information_budget_spent", "Enough was told of this person's score for now"


async def spend(act: Act, permitted: Permit, disclosure: Disclosure, *about: str) -> None:
    """Count what an answer tells the recipient, or refuse (`InformationBudgetSpent`) before it is worked out.

    `about` is what the answer rests on beside the categories: the same again costs nothing. The budget is the
    recipient's, whoever relays and under whichever grant; the form that this grant agreed to says how large it is.
    The first answer under a grant is where a third choice of data is refused (`SetChangedTooOften`).
    """
    basis = _named([disclosure, *about, *sorted(permitted.categories)])
    said = [permitted.user, permitted.recipient, basis, act.now - PERIOD, permitted.grant]
    (before,) = await act.db.execute_query_dict(TOLD, said)
    if not before["known"]:
        await set_changes.refuse_third_set(act, permitted)
    if before["told"]:
        return
    who = f"{permitted.user}{permitted.recipient}"
    await act.db.execute_query_dict("select pg_advisory_xact_lock($1, hashtext($2))", [LEARNERS, who])
    rows = await act.db.execute_query_dict(
        SPEND,
        [
            ids.random_id(),
            permitted.user,
            permitted.recipient,
            basis,
            disclosure,
            BITS[disclosure],
            act.now,
            act.now - PERIOD,
            BITS_MAX[permitted.answer],
        ],
    )
    if not rows[0]["allowed"]:
        raise InformationBudgetSpent("use what you were told; more can be told when 90 days have gone by")


def listed(prescreen: str) -> UUID:
    """On which basis the lines of a list are counted."""
    return _named([Disclosure.LIST, prescreen])


def _named(about: Sequence[str]) -> UUID:
    return UUID(digest(about)[:32])


def may_be_listed(basis: str, now: str) -> str:
    """`MAY_BE_LISTED` with the names of the two parameters that hold the basis and the time."""
    most = BITS_MAX[AnswerForm.FULL]
    return MAY_BE_LISTED.format(basis=basis, bits=BITS[Disclosure.LIST], bits_max=most, now=now)


async def spend_on_list(act: Act, institution: PartnerId, users: Sequence[UserId], basis: UUID) -> None:
    """Count what standing on a list tells, of each of a page's people, once for each list."""
    made = [ids.random_id() for _ in users]
    await act.db.execute_query(
        SPEND_ON_LIST, [made, list(users), institution, basis, BITS[Disclosure.LIST], act.now]
    )


async def forget_old(upkeep: Upkeep) -> None:
    """Delete what counts no more."""
    await upkeep.db.execute_query("delete from scoring_disclosure where told_at <= $1", [upkeep.now - PERIOD])
