"""The release gate: nothing leaves without a lawful channel, which two people open and either can close."""

from uuid import uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import world
from support.world import MANAGER, OFFICER, SCORING
from tortoise.exceptions import OperationalError

from compliance.act import open_act, open_view
from compliance.refusals import NotFound, SamePerson
from compliance.vocabulary import Channel, PartnerId, PartnerKind
from consent import permits
from scoring import release
from scoring.release import NoLawfulChannel

ONE, OTHER = PartnerId(uuid4()), PartnerId(uuid4())
BANK, RIVAL = PartnerId(uuid4()), PartnerId(uuid4())
HELD = st.frozensets(
    st.sampled_from(
        [("operator", None, None), ("relay", ONE, BANK), ("relay", ONE, RIVAL), ("relay", OTHER, BANK)]
    )
)


@given(HELD)
def test_a_channel_rests_on_exactly_its_own_licence(held):
    direct = Channel.OPERATOR_LICENSED if ("operator", None, None) in held else Channel.NONE
    relayed = Channel.LICENSED_BUREAU_RELAY if ("relay", ONE, BANK) in held else Channel.NONE
    assert (release.channel(held, BANK, None), release.channel(held, BANK, ONE)) == (direct, relayed)


async def licence(**changes):
    given_now = {"text_zh": "虚构", "text_en": "fictional", "fictional": True} | changes
    async with open_act(MANAGER, None) as act:
        return await release.record_licence(act, **given_now)


async def released(client, person, recipient=None):
    async with open_act(client, SCORING) as act:
        permit = await permits.permit(act, person.user, SCORING, world.ALL, recipient=recipient)
        act.record("evaluated", {})
        return await release.release_evaluation(act, permit, answer)


async def answer():
    return 42


@pytest.mark.usefixtures("ground")
class TestGate:
    async def test_a_new_installation_releases_nothing(self):
        bank = await world.a_bank()
        (person,) = await world.persons(1)
        await world.granted(person, bank)
        with pytest.raises(NoLawfulChannel):
            await released(bank, person)

    async def test_a_recorded_licence_counts_once_another_person_approved_it(self, owner):
        bank = await world.a_bank()
        (person,) = await world.persons(1)
        await world.granted(person, bank)
        row = await licence()
        with pytest.raises(NoLawfulChannel):
            await released(bank, person)
        with pytest.raises(SamePerson):
            async with open_act(MANAGER, None) as act:
                await release.approve_licence(act, row)
        with pytest.raises(NoLawfulChannel):
            await released(bank, person)
        async with open_act(OFFICER, None) as act:
            await release.approve_licence(act, row)
        out = await released(bank, person)
        assert (out.value, out.channel) == (42, Channel.OPERATOR_LICENSED)
        kinds = await world.kinds(owner)
        assert kinds.index("licence_recorded") < kinds.index("licence_approved") < kinds.index("evaluated")

    async def test_the_database_too_wants_two_people(self, owner):
        row = await licence()
        with pytest.raises(asyncpg.CheckViolationError):
            await owner.execute("update scoring_licence set approved_by = recorded_by where id = $1", row.id)

    async def test_a_removed_licence_releases_nothing(self):
        bank = await world.a_bank()
        (person,) = await world.persons(1)
        await world.granted(person, bank)
        await world.open_channel()
        await released(bank, person)
        async with open_act(MANAGER, None) as act:
            await release.remove_licence(act, "operator")
        with pytest.raises(NoLawfulChannel):
            await released(bank, person)
        with pytest.raises(NotFound):
            async with open_act(MANAGER, None) as act:
                await release.remove_licence(act, "operator")

    async def test_a_relay_is_for_the_named_bureau_only(self):
        bank = await world.a_bank()
        named, other = [await world.a_bank(code, PartnerKind.CREDIT_BUREAU) for code in ("one", "other")]
        (person,) = await world.persons(1)
        for bureau in (named, other):
            await world.granted(person, bureau, recipient=bank.partner, bureau=bureau.partner)
        await world.granted(person, bank)
        await world.open_channel(named.partner, bank.partner)
        out = await released(named, person, bank.partner)
        assert out.channel is Channel.LICENSED_BUREAU_RELAY
        for client, recipient in ((other, bank.partner), (bank, None)):
            with pytest.raises(NoLawfulChannel):
                await released(client, person, recipient)
        async with open_view(MANAGER) as view:
            assert await release.is_open(view, bank.partner, named.partner)
            assert not await release.is_open(view, other.partner, named.partner)
            assert not await release.is_open(view, bank.partner, None)

    async def test_a_partner_cannot_give_itself_a_licence(self, owner):
        bank = await world.a_bank()
        with pytest.raises(OperationalError, match="permission denied"):
            async with open_act(bank, None) as act:
                await release.record_licence(act, text_zh="", text_en="", fictional=True)
        assert await owner.fetchval("select count(*) from scoring_licence") == 0
