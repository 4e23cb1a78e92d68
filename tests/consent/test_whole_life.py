"""Every state of a consent, every step, every kind of caller: the published step, or the exact refusal and no change."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
import pytest
from support import world
from support.world import MANAGER, STORY

from compliance.act import Act, open_act
from compliance.refusals import Refusal
from compliance.vocabulary import (
    GrantId,
    Language,
    PartnerClient,
    PartnerKind,
    Person,
    Principal,
)
from consent import extensions, grants, life
from consent.life import State
from consent.tables import GrantRow

pytestmark = pytest.mark.usefixtures("ground")
Do = Callable[[Act, GrantId], Awaitable[object]]
CHOSEN, DAYS = world.ALL, 60
OF_PERSON: dict[str, Do] = {
    "approve": lambda act, grant: grants.approve(act, grant, CHOSEN, Language.EN),
    "reject": grants.reject,
    "pause": grants.pause,
    "resume": grants.resume,
    "withdraw": grants.withdraw,
    "wish": lambda act, grant: extensions.agree(act, grant, Language.EN, period_days=DAYS),
    "agree": lambda act, grant: extensions.agree(act, grant, Language.EN),
    "decline": extensions.reject,
}
OF_RECIPIENT: dict[str, Do] = {
    "relinquish": grants.relinquish,
    "ask": lambda act, grant: extensions.ask(act, grant, DAYS),
}
ACTIONS = OF_PERSON | OF_RECIPIENT
ALL_AT_ONCE = {"pause": grants.pause_all, "resume": grants.resume_all, "withdraw": grants.withdraw_all}
SHORT = {"-": "grant_not_open", "404": "not_found", "late": "ask_lapsed", "again": "already_asked"}
PUBLISHED = """
              approve  reject    pause   resume  withdraw      wish    agree   decline  relinquish    ask
open          active   rejected  404     404     -             -       -       -        404           -
requested     active   rejected  -       -       -             -       -       -        -             -
lapsed        late     late      -       -       -             -       -       -        -             -
rejected      -        rejected  -       -       -             -       -       -        -             -
active        -        -         paused  active  withdrawn     active  -       -        relinquished  active
active_asked  -        -         paused  active  withdrawn     active  active  active   relinquished  again
paused        -        -         paused  active  withdrawn     paused  -       -        relinquished  paused
paused_asked  -        -         paused  active  withdrawn     paused  paused  paused   relinquished  again
active_over   -        -         -       -       expired       -       -       -        expired       -
paused_over   -        -         -       -       expired       -       -       -        expired       -
withdrawn     -        -         -       -       withdrawn     -       -       -        withdrawn     -
relinquished  -        -         -       -       relinquished  -       -       -        relinquished  -
expired       -        -         -       -       expired       -       -       -        expired       -
superseded    -        -         -       -       superseded    -       -       -        superseded    -
"""
"""What the right caller gets: the state reached, an end by its code, or a refusal by `SHORT`.

`open` is a request that is addressed to nobody yet, `asked` has a request to extend that waits, `over` is past its
time and nobody has noted that. Done twice, a step answers the same: that is no other step.
"""
HEAD, *LINES = [line.split() for line in PUBLISHED.strip().splitlines()]
SITUATIONS = {line[0]: dict(zip(HEAD, line[1:], strict=True)) for line in LINES}
HELD = """
select (select jsonb_agg(g order by g.id) from consent_grant g),
       (select jsonb_agg(e order by e.id) from consent_extension e),
       (select count(*) from consent_receipt), (select count(*) from consent_effect)
"""


class Undone(Exception):
    """The act is rolled back, so that the next caller finds what this one found."""


@dataclass(frozen=True)
class Cast:
    """Everybody who might try."""

    person: Person
    stranger: Person
    bank: PartnerClient
    bureau: PartnerClient
    other_bank: PartnerClient

    def callers(self) -> dict[str, Principal]:
        return vars(self) | {"staff": MANAGER, "worker": STORY}


async def a_cast() -> Cast:
    bureau = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    return Cast(*await world.persons(2), await world.a_bank(), bureau, await world.a_bank("beta"))


async def does(who: Principal, action: Do, grant: GrantRow) -> object:
    async with open_act(who, None) as act:
        return await action(act, GrantId(grant.id))


async def found(cast: Cast, situation: str, owner: asyncpg.Connection) -> GrantRow:
    """A consent in that situation, between the person and the bank, through the bureau."""
    terms = {"recipient": cast.bank.partner, "bureau": cast.bureau.partner}
    user = None if situation == "open" else cast.person.user
    row = await world.asked(cast.bureau, user=user, **terms)
    if situation == "lapsed":
        await owner.execute("update consent_grant set requested_at = requested_at - interval '61 minutes'")
    if situation == "rejected":
        await does(cast.person, grants.reject, row)
    if situation in ("open", "requested", "lapsed", "rejected"):
        return row
    await does(cast.person, ACTIONS["approve"], row)
    state, _, more = situation.partition("_")
    if more:
        await does(cast.bank, ACTIONS["ask"], row)
    if state == "paused":
        await does(cast.person, grants.pause, row)
    if more == "over" or state == "expired":
        await owner.execute("update consent_grant set expires_at = now()")
    if state in ("withdrawn", "expired"):
        await does(cast.person, grants.withdraw, row)
    if state == "relinquished":
        await does(cast.bank, grants.relinquish, row)
    if state == "superseded":
        newer = await world.asked(cast.bureau, **terms)
        await does(cast.person, ACTIONS["approve"], newer)
    return row


def expected(situation: str, action: str, who: str) -> str:
    """Nobody but the person gives or takes, nobody but the recipient and its bureau asks or gives back."""
    answers = SITUATIONS[situation][action]
    person_may = who == "person" or (who == "stranger" and situation == "open")
    may = person_may if action in OF_PERSON else who in ("bank", "bureau")
    return SHORT.get(answers, answers) if may else "not_found"


async def tried(who: Principal, action: Do, row: GrantRow) -> str:
    """The state reached, or the code of the end; then it is all undone."""
    with suppress(Undone):
        async with open_act(who, None) as act:
            await action(act, GrantId(row.id))
            kept = await GrantRow.get(id=row.id, using_db=act.db)
            assert act.recorded
            raise Undone
    return str(kept.ended_code or kept.state)


async def outcome(who: Principal, action: Do, row: GrantRow) -> str:
    """What was reached, or the code of the refusal; nothing is left of it but the fact of a refusal."""
    try:
        return await tried(who, action, row)
    except Refusal as refusal:
        return refusal.code


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_each_caller_gets_the_published_answer(owner, situation):
    cast = await a_cast()
    row = await found(cast, situation, owner)
    before = await owner.fetchrow(HELD)
    refusals = await owner.fetchval("select count(*) from compliance_fact where kind = 'refused'")
    told, wanted = {}, {}
    for action, do in ACTIONS.items():
        for name, who in cast.callers().items():
            wanted[action, name] = expected(situation, action, name)
            told[action, name] = await outcome(who, do, row)
            assert await owner.fetchrow(HELD) == before, (action, name)
    assert told == wanted
    refused = sum(answer in SHORT.values() for answer in told.values())
    now = await owner.fetchval("select count(*) from compliance_fact where kind = 'refused'")
    assert now - refusals == refused > 0


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_time_ends_what_is_over_and_nothing_else(owner, situation):
    cast = await a_cast()
    row = await found(cast, situation, owner)
    before = await owner.fetchrow(HELD)
    async with open_act(STORY, None) as act:
        ended = await grants.end_expired(act, 10)
    over = situation.endswith("_over")
    assert ended == over
    assert (await owner.fetchrow(HELD) != before) is over
    if over:
        told = await owner.fetchrow(
            "select state, ended_by, ended_code from consent_grant where id = $1", row.id
        )
        assert tuple(told) == ("ended", "period", "expired")


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_a_yes_to_a_newer_request_ends_what_lives(owner, situation):
    """What is over ends as expired, and does not stand in the way of the new one."""
    cast = await a_cast()
    row = await found(cast, situation, owner)
    terms = {"recipient": cast.bank.partner, "bureau": cast.bureau.partner}
    newer = await world.asked(cast.bureau, **terms)
    if situation == "rejected":
        with pytest.raises(grants.AskedTooSoon):
            await does(cast.person, ACTIONS["approve"], newer)
        return
    before = await owner.fetchrow("select state, ended_code from consent_grant where id = $1", row.id)
    await does(cast.person, ACTIONS["approve"], newer)
    after = await owner.fetchrow("select state, ended_code from consent_grant where id = $1", row.id)
    code = "expired" if situation.endswith("_over") else "superseded"
    lived = State(before["state"]) in life.LIVE
    assert tuple(after) == (("ended", code) if lived else tuple(before))


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_all_at_once_takes_the_same_steps(owner, situation):
    cast = await a_cast()
    row = await found(cast, situation, owner)
    present = {"open": "requested", "lapsed": "requested"}.get(situation, situation.partition("_")[0])
    for step, everything in ALL_AT_ONCE.items():
        answer = SITUATIONS[situation][step]
        told = await tried(cast.person, lambda act, _, do=everything: do(act), row)
        assert told == (present if answer in SHORT else answer), step
        async with open_act(cast.stranger, None) as act:
            assert await everything(act) == 0
