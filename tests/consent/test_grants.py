"""The life of a grant: who may take which step, how wide it can be, and that time ends it by itself."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from support import world
from support.world import ALL, SCORING

from compliance.act import open_act, open_view
from compliance.refusals import NotFound, Refusal, Unacceptable
from compliance.vocabulary import (
    OFFERED,
    OPERATOR,
    SENSITIVE,
    Category,
    GrantId,
    Language,
    PartnerId,
    PartnerKind,
    Purpose,
)
from consent import endings, grants, life, notices
from consent.endings import Ended
from consent.grants import AskedTooSoon, AskLapsed, NoticeChanged
from consent.life import GrantNotOpen
from consent.permits import AgeNotEstablished
from consent.tables import GrantRow

pytestmark = pytest.mark.usefixtures("ground")
TODAY = datetime.now(UTC).date()
WIDEST = grants.TEMPLATES[SCORING]
PAST_THE_WALL = "set session_replication_role = replica"
"""What is over stays as it is written: a test that moves it in time goes past the trigger."""
SHOPPING = frozenset({Category.SHOPPING})


async def state_of(owner, row) -> tuple[str, str | None, str | None]:
    return tuple(
        await owner.fetchrow("select state, ended_by, ended_code from consent_grant where id = $1", row.id)
    )


async def rejected(person, row) -> GrantRow:
    async with open_act(person, None) as act:
        return await grants.reject(act, GrantId(row.id))


async def refuses(step, refusal) -> None:
    with pytest.raises(refusal):
        await step


async def test_from_a_request_to_an_end(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bank)
    assert await state_of(owner, row) == ("requested", None, None)
    row, _ = await world.said_yes(person, row, SHOPPING)
    assert (row.state, row.categories) == ("active", ["shopping"])
    assert row.expires_at - row.given_at == timedelta(days=30)
    assert row.evidence["method"] == "one_time_link"
    assert row.notice_sha256 == notices.current(SCORING, Language.ZH_CN).sha256
    await world.withdrawn(person, row.id)
    assert await state_of(owner, row) == ("ended", "person", "withdrawn")
    assert await world.kinds(owner, grant_id=row.id) == ["grant_requested", "grant_given", "grant_withdrawn"]


async def test_each_state_allows_only_its_own_steps(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bank)
    await refuses(world.withdrawn(person, row.id), GrantNotOpen)
    await world.said_yes(person, row)
    await refuses(world.said_yes(person, row), GrantNotOpen)
    await refuses(rejected(person, row), GrantNotOpen)
    await world.withdrawn(person, row.id)
    await refuses(world.said_yes(person, row), GrantNotOpen)
    await refuses(rejected(person, row), GrantNotOpen)
    assert (await state_of(owner, row))[0] == "ended"


async def test_withdrawing_twice_and_rejecting_twice_are_fine(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    for _ in range(2):
        assert (await world.withdrawn(person, row.id)).ended_code == "withdrawn"
    other = await world.asked(bank, Purpose.PORTRAIT)
    for _ in range(2):
        assert (await rejected(person, other)).state == "rejected"
    assert await world.kinds(owner, grant_id=row.id) == [
        "grant_requested",
        "grant_given",
        "grant_withdrawn",
        "grant_withdrawn_again",
    ]


async def test_a_request_lapses_after_an_hour(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bank)
    shift = "update consent_grant set requested_at = now() - $2::interval where id = $1"
    await owner.execute(shift, row.id, timedelta(minutes=60, seconds=5))
    await refuses(world.said_yes(person, row), AskLapsed)
    await refuses(rejected(person, row), AskLapsed)
    async with open_view(bank) as view:
        assert life.state_now(await grants.find(view, GrantId(row.id)), view.now) == ("lapsed", None)
    await owner.execute(shift, row.id, timedelta(minutes=59))
    await world.said_yes(person, row)


async def test_time_alone_ends_a_grant(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    await owner.execute("update consent_grant set expires_at = now() where id = $1", row.id)
    async with open_view(bank) as view:
        found = await grants.find(view, GrantId(row.id))
        assert (found.state, life.state_now(found, view.now)) == ("active", ("ended", "expired"))


async def test_nobody_else_can_answer_or_end_it():
    bank = await world.a_bank()
    person, stranger = await world.persons(2)
    row = await world.granted(person, bank)
    await refuses(world.withdrawn(stranger, row.id), NotFound)
    await refuses(world.said_yes(stranger, row), NotFound)
    for step in (grants.withdraw, grants.reject):
        with pytest.raises(NotFound):
            async with open_act(bank, None) as act:
                await step(act, GrantId(row.id))
    mine = await world.asked(bank, user=person.user)
    await refuses(world.said_yes(stranger, mine), NotFound)
    await refuses(rejected(stranger, mine), NotFound)


@pytest.mark.parametrize("born_on", [None, TODAY - timedelta(days=18 * 365)])
async def test_a_minor_or_a_person_of_unknown_age_cannot_agree(owner, born_on):
    bank = await world.a_bank()
    (person,) = await world.persons(1, born_on=born_on)
    row = await world.asked(bank)
    await refuses(world.said_yes(person, row), AgeNotEstablished)
    assert (await state_of(owner, row))[0] == "requested"


async def test_a_new_yes_supersedes_the_old_one(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    old = await world.granted(person, bank)
    other_purpose = await world.granted(person, bank, Purpose.PORTRAIT)
    new = await world.granted(person, bank, categories=SHOPPING)
    assert await state_of(owner, old) == ("ended", "person", "superseded")
    assert (await state_of(owner, new))[0] == (await state_of(owner, other_purpose))[0] == "active"


async def test_a_no_is_respected_for_90_days(owner):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    no = await world.asked(bank, Purpose.PORTRAIT, user=person.user)
    await rejected(person, no)
    await refuses(world.asked(bank, Purpose.PORTRAIT, user=person.user), AskedTooSoon)
    # A request that names nobody cannot be held back, so the yes is.
    await refuses(world.said_yes(person, await world.asked(bank, Purpose.PORTRAIT)), AskedTooSoon)
    await world.asked(bank, Purpose.INCOME_ESTIMATE, user=person.user)
    await owner.execute(PAST_THE_WALL)
    await owner.execute(
        "update consent_grant set requested_at = now() - interval '91 days' where id = $1", no.id
    )
    await world.asked(bank, Purpose.PORTRAIT, user=person.user)


async def test_another_notice_than_the_one_shown_is_refused():
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bank)
    with pytest.raises(NoticeChanged):
        async with open_act(person, None) as act:
            await grants.approve(act, GrantId(row.id), ALL, Language.EN, shown="0" * 64)
    async with open_act(person, None) as act:
        shown = notices.current(SCORING, Language.EN).sha256
        given_now, _ = await grants.approve(act, GrantId(row.id), ALL, Language.EN, shown=shown)
    assert given_now.language == "en"


@pytest.mark.parametrize("categories", [frozenset(), frozenset(Category), frozenset({Category.FITNESS})])
async def test_a_yes_is_to_some_of_what_was_asked(categories):
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.asked(bank)
    await refuses(world.said_yes(person, row, categories), Unacceptable)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"period_days": 0}, "/period_days"),
        ({"period_days": WIDEST.period_days_max + 1}, "/period_days"),
        ({"data_life_days": WIDEST.data_life_days_max + 1}, "/data_life_days"),
        ({"calls_per_month": WIDEST.calls_per_month_max + 1}, "/calls_per_month"),
        ({"calls_per_month": 0}, "/calls_per_month"),
        ({"categories": frozenset()}, "/categories"),
        ({"categories": frozenset({Category.LOCATION_RHYTHM})}, "/categories"),
        ({"purpose": Purpose.MODEL_DEVELOPMENT}, "/purpose"),
        ({"purpose": Purpose.SELF_VIEW}, "/purpose"),
    ],
)
async def test_nobody_can_ask_for_more_than_the_template(owner, changes, pointer):
    bank = await world.a_bank()
    with pytest.raises(Unacceptable) as refused:
        await world.asked(bank, **({"purpose": SCORING} | changes))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert await owner.fetchval("select count(*) from consent_grant") == 0


def test_what_is_offered_unasked_is_never_sensitive_beyond_credit_history():
    assert {Category.CREDIT_HISTORY} == OFFERED & SENSITIVE


@pytest.mark.parametrize("purpose", Purpose)
def test_every_purpose_has_a_template_of_its_own(purpose):
    assert grants.TEMPLATES[purpose].id.startswith(f"{purpose}@")


async def test_a_relay_names_bank_and_bureau():
    bureau, bank = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU), await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bureau, recipient=bank.partner, bureau=bureau.partner)
    assert (row.recipient, row.bureau) == (bank.partner, bureau.partner)
    for sees in (bureau, bank):
        async with open_view(sees) as view:
            assert (await grants.find(view, GrantId(row.id))).id == row.id
    direct = await world.granted(person, bank)
    assert (row.state, direct.state) == ("active", "active")  # one does not supersede the other


async def test_another_bank_does_not_see_it():
    bank, other = await world.a_bank(), await world.a_bank("beta")
    row = await world.asked(bank)
    async with open_view(other) as view:
        with pytest.raises(NotFound):
            await grants.find(view, GrantId(row.id))


async def test_what_ends_with_a_grant_runs_in_the_same_act(monkeypatch, owner):
    seen: list[Ended] = []

    async def stumbles(act, ended: Ended) -> None:
        seen.append(ended)
        raise ZeroDivisionError

    monkeypatch.setitem(endings._handlers, "of_this_test", stumbles)
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank)
    with pytest.raises(ZeroDivisionError):
        await world.withdrawn(person, row.id)
    assert (seen[0].grant, seen[0].user, seen[0].code) == (row.id, person.user, "withdrawn")
    assert (await state_of(owner, row))[0] == "active"


def test_a_table_has_one_handler_or_one_reason(monkeypatch):
    monkeypatch.setattr(endings, "_handlers", {})
    monkeypatch.setattr(endings, "_kept", {})

    @endings.on_grant_ended("a_table")
    async def stop(act, ended: Ended) -> None: ...

    with pytest.raises(RuntimeError):
        endings.keep("a_table", "the law")
    endings.keep("another", "the law")
    with pytest.raises(RuntimeError):
        endings.on_grant_ended("another")(stop)
    assert (endings.declared(), endings.kept()) == ({"a_table": stop}, {"another": "the law"})


async def test_the_persons_own_wish_needs_no_asking_and_names_the_operator():
    (person,) = await world.persons(1)
    wanted = world.an_ask(OPERATOR, Purpose.SELF_VIEW, user=person.user)
    async with open_act(person, Purpose.SELF_VIEW) as act:
        row, _ = await grants.give(act, wanted, Language.EN, offered=OFFERED)
    assert (row.state, row.recipient) == ("active", OPERATOR)
    with pytest.raises(Refusal):
        async with open_act(await world.a_bank(), None) as act:
            await grants.give(act, wanted, Language.EN, offered=OFFERED)


async def test_unknown_ids_are_not_found():
    (person,) = await world.persons(1)
    await refuses(world.withdrawn(person, uuid4()), NotFound)
    async with open_view(await world.a_bank()) as view:
        with pytest.raises(NotFound):
            await grants.find(view, GrantId(PartnerId(uuid4())))
