"""The published life of a grant: one table, kept by the code and by the database, and pauses."""

import ast
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from support import sources, world
from support.world import SCORING

from compliance.act import open_act
from compliance.refusals import NotFound
from compliance.vocabulary import GrantId, Purpose
from consent import grants, life
from consent.grants import RejectionReason
from consent.life import LIVE, TRANSITIONS, GrantNotOpen, State, Step
from consent.permits import ConsentPaused
from consent.tables import GrantRow

pytestmark = pytest.mark.usefixtures("ground")
DOCS = Path(__file__).parents[2] / "docs" / "consent.md"


async def test_the_database_keeps_the_same_table(owner):
    rows = await owner.fetch("select from_state, to_state from consent_transition")
    kept = {(State(r["from_state"]), State(r["to_state"])) for r in rows}
    assert kept == {(before, after) for (before, _), after in TRANSITIONS.items() if before is not after}


def test_the_published_table_is_the_one_in_force():
    lines = [line for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `")]
    published = {tuple(cell.strip(" `") for cell in line.strip("|").split("|")[:3]) for line in lines}
    assert published == {(before, step, after) for (before, step), after in TRANSITIONS.items()}


def test_the_published_bounds_are_those_in_force():
    cells = [line.strip("| ").split(" | ") for line in DOCS.read_text("utf-8").splitlines()]
    published = {row[1].strip("`"): row[2:] for row in cells if len(row) == 6 and "@" in row[1]}
    askers = {True: "partners", False: "the operator alone"}
    assert published == {
        t.id: [
            *map(str, (t.period_days_max, t.data_life_days_max, t.calls_per_month_max)),
            askers[purpose in grants.PARTNERS_ASK_FOR],
        ]
        for purpose, t in grants.TEMPLATES.items()
    }


def test_nobody_else_says_what_follows_what():
    """A grant's state is set where the table is asked, and nowhere by a statement of its own."""
    setters = set()
    for file, tree in sources.trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "update consent_grant" not in node.value.lower(), file
            if isinstance(node, ast.Attribute) and node.attr == "TRANSITIONS" and file.startswith("consent/"):
                setters.add(file)
    assert setters <= {"consent/life.py"}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_every_step_is_in_the_table_or_refused(state, step):
    now = world.datetime.now(world.UTC)
    row = GrantRow(state=state, requested_at=now, expires_at=now + timedelta(days=1))
    if (state, step) in TRANSITIONS:
        assert life.after(row, step, now) is TRANSITIONS[state, step]
    else:
        with pytest.raises(GrantNotOpen):
            life.after(row, step, now)


@pytest.mark.parametrize("state", LIVE)
def test_time_ends_a_grant_whatever_is_stored(state):
    now = world.datetime.now(world.UTC)
    row = GrantRow(state=state, requested_at=now, expires_at=now)
    assert life.state_now(row, now) == (State.ENDED, "expired")
    for step in set(Step) - {Step.EXPIRE}:
        with pytest.raises(GrantNotOpen):
            life.after(row, step, now)
    assert life.after(row, Step.EXPIRE, now) is State.ENDED


@pytest.mark.parametrize(
    ("before", "after"),
    [("ended", "active"), ("rejected", "active"), ("active", "requested"), ("requested", "paused")],
)
async def test_no_statement_takes_another_step(owner, before, after):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await (world.asked(bank) if before in ("requested", "rejected") else world.granted(person, bank))
    if before == "ended":
        await world.withdrawn(person, row.id)
    if before == "rejected":
        async with open_act(person, None) as act:
            await grants.reject(act, GrantId(row.id))
    with pytest.raises(asyncpg.PostgresError, match="stays so"):
        await owner.execute(
            "update consent_grant set state = $2, ended_code = null where id = $1", row.id, after
        )


async def switched(person, row, step):
    async with open_act(person, None) as act:
        return await step(act, GrantId(row.id))


async def test_a_paused_consent_waits_and_goes_on(owner):
    await world.put_model_in_use()
    await world.open_channel()
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    for _ in range(2):
        assert (await switched(person, row, grants.pause)).state == "paused"
    with pytest.raises(ConsentPaused):
        await world.scored(bank, person)
    for _ in range(2):
        assert (await switched(person, row, grants.resume)).state == "active"
    await world.scored(bank, person)
    assert (await world.kinds(owner, grant_id=row.id))[2:-1] == [
        "grant_paused",
        "grant_paused_again",
        "refused",
        "grant_resumed",
        "grant_resumed_again",
    ]


async def test_only_its_person_pauses_a_consent(owner):
    bank = await world.a_bank()
    person, other = await world.persons(2)
    row = await world.granted(person, bank)
    for who in (other, bank):
        with pytest.raises(NotFound):
            await switched(who, row, grants.pause)
    await world.withdrawn(person, row.id)
    with pytest.raises(GrantNotOpen):
        await switched(person, row, grants.pause)


async def test_everything_can_be_paused_at_once(owner):
    bank = await world.a_bank()
    person, other = await world.persons(2)
    for purpose in (SCORING, Purpose.PORTRAIT):
        await world.granted(person, bank, purpose)
    await world.granted(other, bank)
    async with open_act(person, None) as act:
        assert await grants.pause_all(act) == 2
    states = "select state from consent_grant where user_id = $1"
    assert {r["state"] for r in await owner.fetch(states, person.user)} == {"paused"}
    assert {r["state"] for r in await owner.fetch(states, other.user)} == {"active"}
    async with open_act(person, None) as act:
        assert await grants.resume_all(act) == 2
    assert {r["state"] for r in await owner.fetch(states, person.user)} == {"active"}


async def test_whoever_comes_after_the_time_is_over_finds_it_expired(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    await owner.execute("update consent_grant set expires_at = now() where id = $1", row.id)
    ended = await world.withdrawn(person, row.id)
    assert (ended.state, ended.ended_by, ended.ended_code) == ("ended", "period", "expired")


async def test_a_no_can_have_a_reason(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bank)
    async with open_act(person, None) as act:
        await grants.reject(act, GrantId(row.id), RejectionReason.TOO_MUCH_DATA)
    assert await owner.fetchval("select rejected_reason from consent_grant") == "too_much_data"
