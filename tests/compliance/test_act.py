"""An act: all or nothing, always with a fact; refusals outlive their rollback; walls hold."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest
from tortoise import Tortoise
from tortoise.exceptions import OperationalError, TransactionManagementError

from compliance import facts, ids
from compliance.act import open_act, open_upkeep, open_view
from compliance.refusals import Refusal
from compliance.replies import CallInFlight, KeyReused, Once, Replayed
from compliance.vocabulary import PartnerClient, PartnerId, Person, Purpose, UserId

pytestmark = pytest.mark.usefixtures("ground")
SCORING = Purpose.CREDIT_ASSESSMENT


def a_bank() -> PartnerClient:
    return PartnerClient(PartnerId(uuid4()), "bank-a", frozenset({"scores"}))


class Declined(Refusal):
    status, code, title = 403, "declined", "Declined"


async def rows(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    return await owner.fetch("select * from compliance_fact order by seq")


async def test_a_fact_is_sealed_and_opens_to_its_commitment(owner, ground):
    bank = a_bank()
    async with open_act(bank, SCORING) as act:
        act.record("something_happened", {"n": 1})
    (row,) = await rows(owner)
    assert b"something" not in row["sealed"]
    payload, salt = facts.open_sealed(row["sealed"], row["id"], ground.key_store.installation)
    assert facts.commit_to(payload, salt) == row["commitment"]
    assert facts.read_opening(payload, salt).payload["what"] == {"n": 1}
    assert (row["kind"], row["partner"], row["principal"]) == (
        "something_happened",
        bank.partner,
        "client:bank-a",
    )


async def test_an_act_that_records_nothing_changes_nothing(owner):
    with pytest.raises(RuntimeError, match="at least one fact"):
        async with open_act(a_bank(), SCORING):
            pass
    assert await rows(owner) == []


async def test_a_bug_leaves_no_fact(owner):
    with pytest.raises(ZeroDivisionError):
        async with open_act(a_bank(), SCORING) as act:
            act.record("something_happened", {})
            raise ZeroDivisionError
    assert await rows(owner) == []


async def test_a_refusal_rolls_back_and_is_recorded(owner):
    with pytest.raises(Declined):
        async with open_act(a_bank(), SCORING) as act:
            act.record("something_happened", {})
            raise Declined("no")
    assert [r["kind"] for r in await rows(owner)] == ["refused"]


async def test_a_persons_facts_are_sealed_under_their_own_key(owner, ground):
    user = UserId(uuid4())
    await ground.key_store.make([user])
    async with open_act(a_bank(), SCORING) as act:
        act.record("seen", {}, person=user)
    (row,) = await rows(owner)
    payload, _ = facts.open_sealed(row["sealed"], row["id"], await ground.key_store.sealer(user))
    assert str(user).encode() in payload
    await ground.key_store.erase(user)
    with pytest.raises(Refusal, match="deleted"):
        await ground.key_store.sealer(user)


async def test_tenants_do_not_see_each_other():
    one, other, user = a_bank(), a_bank(), UserId(uuid4())
    for bank in (one, other):
        async with open_act(bank, SCORING) as act:
            act.record("seen", {}, person=user)
    person = Person(user, uuid4(), act.now, "one_time_link")
    count = "select count(*) as n from compliance_fact"
    for who, expected in ((one, 1), (other, 1), (person, 2), (None, 0)):
        async with open_view(who) as view:
            assert (await view.db.execute_query_dict(count))[0]["n"] == expected


async def test_a_partner_cannot_write_for_another():
    with pytest.raises(OperationalError, match="row-level security"):
        async with open_act(a_bank(), SCORING) as act:
            act.record("forged", {}, partner=PartnerId(uuid4()))


async def test_a_view_cannot_write(ground):
    with pytest.raises(TransactionManagementError, match="read-only"):
        async with open_view(a_bank()) as view:
            await view.db.execute_query("delete from compliance_reply")


async def test_outside_an_act_nothing_is_visible(ground):
    with pytest.raises(OperationalError, match="permission denied"):
        await Tortoise.get_connection("default").execute_query("select * from compliance_fact")


@pytest.mark.parametrize(
    "sql",
    [
        "update compliance_fact set kind = 'x'",
        "delete from compliance_fact",
        "truncate compliance_fact cascade",
    ],
)
async def test_facts_cannot_be_changed_even_by_the_owner(owner, sql):
    async with open_act(a_bank(), SCORING) as act:
        act.record("something_happened", {})
    with pytest.raises(asyncpg.RestrictViolationError, match="only added to"):
        await owner.execute(sql)


async def test_a_repeated_call_is_answered_the_same_and_recorded(owner):
    bank = a_bank()
    once = Once.of(bank, "POST /x", "key-1", b"{}")
    async with open_act(bank, SCORING, once) as act:
        act.record("done", {})
        act.answer(201, b'{"n":1}')
    with pytest.raises(Replayed) as again:
        async with open_act(bank, SCORING, once) as act:
            pytest.fail("the block must not run")
    assert (again.value.reply.status, again.value.reply.body) == (201, b'{"n":1}')
    assert [r["kind"] for r in await rows(owner)] == ["done", "answer_replayed"]


async def test_a_key_with_another_input_is_refused():
    bank = a_bank()
    async with open_act(bank, SCORING, Once.of(bank, "POST /x", "k", b"1")) as act:
        act.record("done", {})
        act.answer(200, b"1")
    with pytest.raises(KeyReused):
        async with open_act(bank, SCORING, Once.of(bank, "POST /x", "k", b"2")):
            pass


async def test_the_same_key_of_another_caller_is_another_call():
    for _ in range(2):
        bank = PartnerClient(PartnerId(uuid4()), f"bank-{ids.random_id()}", frozenset())
        async with open_act(bank, SCORING, Once.of(bank, "POST /x", "k", b"1")) as act:
            act.record("done", {})
            act.answer(200, b"1")


async def test_a_call_in_flight_is_not_made_twice():
    bank = a_bank()
    once = Once.of(bank, "POST /x", "k", b"1")
    inside, leave = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with open_act(bank, SCORING, once) as act:
            act.record("done", {})
            act.answer(200, b"1")
            inside.set()
            await leave.wait()

    running = asyncio.create_task(first())
    await inside.wait()
    with pytest.raises(CallInFlight):
        async with open_act(bank, SCORING, once):
            pass
    leave.set()
    await running


async def test_an_idempotent_act_must_say_its_answer():
    bank = a_bank()
    with pytest.raises(RuntimeError, match="must say what it answers"):
        async with open_act(bank, SCORING, Once.of(bank, "POST /x", "k", b"1")) as act:
            act.record("done", {})


async def test_upkeep_sees_no_facts():
    with pytest.raises(OperationalError, match="permission denied"):
        async with open_upkeep() as upkeep:
            await upkeep.db.execute_query("select * from compliance_fact")
