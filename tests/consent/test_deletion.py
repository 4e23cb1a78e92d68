"""Deletion: all use ends in the same act, nothing about the person is left but what law demands, sealed to two."""

import asyncio
import contextvars
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from support import world
from tortoise.exceptions import IntegrityError

from compliance import custodians, ids
from compliance.act import open_act, open_upkeep, open_view
from compliance.database import ground
from compliance.keys import KeyErased
from compliance.refusals import NotFound
from compliance.replies import Once, Replayed
from compliance.vocabulary import Worker
from consent import capsules, deletion, effects, grants, holdings, people, permits
from consent.holdings import StillHeld
from consent.people import NewPerson
from partners import outcomes
from scoring import population, replaying, scores, showing

CLERK = Worker("clerk")


async def deleted(person):
    async with open_act(person, None) as act:
        made = await deletion.delete_person(act)
    await deletion.destroy_key(person.user)
    return made


async def finished():
    async with open_act(CLERK, None) as act:
        return await deletion.finish(act, 10)


@pytest.fixture
async def here(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return ground


@pytest.mark.usefixtures("here")
async def test_everything_stops_in_the_same_act(owner):
    bank = await world.a_bank()
    [person] = await world.persons(1)
    given = await world.granted(person, bank)
    paused = await world.granted(person, bank, world.LISTING)
    async with open_act(person, None) as act:
        await grants.pause(act, paused.id)
    waiting = await world.asked(bank, world.Purpose.PORTRAIT, user=person.user)
    await world.scored(bank, person)
    await deleted(person)
    rows = await owner.fetch("select id, state, ended_code, evidence, erased_at from consent_grant")
    assert {r["id"]: (r["state"], r["ended_code"]) for r in rows} == {
        given.id: ("ended", "withdrawn"),
        paused.id: ("ended", "withdrawn"),
        waiting.id: ("rejected", None),
    }
    assert all(r["evidence"] is None and r["erased_at"] for r in rows)
    with pytest.raises(permits.ConsentWithdrawn):
        await world.scored(bank, person)
    for table in ("scoring_feature", "scoring_score", "consent_use", "consent_receipt"):
        assert await owner.fetchval(f"select count(*) from {table}") == 0


@pytest.mark.usefixtures("here")
async def test_who_is_deleted_can_do_nothing_more_and_not_be_deleted_again(owner):
    bank = await world.a_bank()
    [person] = await world.persons(1)
    await world.granted(person, bank)
    await deleted(person)
    with pytest.raises(KeyErased):
        await world.asked(bank, world.Purpose.PORTRAIT, user=person.user)
    with pytest.raises(KeyErased):
        await world.granted(person, bank)
    with pytest.raises(KeyErased):
        await deleted(person)
    async with open_act(
        CLERK, None
    ) as act:  # whatever got past all of that: nobody of no age agrees to anything
        act.record("done", {})
        with pytest.raises(permits.AgeNotEstablished):
            await grants.refuse_minor(act, person.user)
    assert await owner.fetchval("select count(*) from consent_deletion") == 1


@pytest.mark.usefixtures("here")
async def test_nobody_else_is_touched(owner):
    bank = await world.a_bank()
    one, other = await world.persons(2)
    await world.granted(one, bank)
    kept = await world.granted(other, bank)
    await world.scored(bank, other)
    before = await owner.fetchrow("select * from consent_person where id = $1", other.user)
    await deleted(one)
    await finished()
    assert await owner.fetchrow("select * from consent_person where id = $1", other.user) == before
    assert (await owner.fetchrow("select * from consent_grant where id = $1", kept.id))["erased_at"] is None
    for table in ("scoring_feature", "scoring_score", "consent_use", "consent_receipt", "consent_pseudonym"):
        assert await owner.fetchval(f"select count(*) from {table} where true") >= 1
    assert (await world.scored(bank, other)).points


@pytest.mark.usefixtures("here")
async def test_the_same_reference_is_somebody_new():
    reference = str(uuid4())
    async with open_act(CLERK, None) as act:
        before = (await people.bring(act, [NewPerson(reference, None, fictional=True)]))[reference]
    await deleted(world.Person(before, uuid4(), world.datetime.now(world.UTC), "one_time_link"))
    async with open_act(CLERK, None) as act:
        assert (await people.bring(act, [NewPerson(reference, None, fictional=True)]))[reference] != before


@pytest.mark.usefixtures("here")
async def test_a_score_of_somebody_deleted_is_told_as_erased(owner):
    bank, other = await world.a_bank(), await world.a_bank("beta")
    [person] = await world.persons(1)
    await world.granted(person, bank)
    score = await world.scored(bank, person)
    await deleted(person)
    await finished()
    for caller, refusal in ((bank, KeyErased), (other, NotFound)):
        with pytest.raises(refusal):
            async with open_act(caller, None) as act:
                await scores.show(act, score.id)
    with pytest.raises(KeyErased):
        async with open_act(Worker("auditor"), None) as act:
            await replaying.replay(act, score.id)


@pytest.mark.usefixtures("here")
async def test_a_recipient_knows_whom_it_has_to_delete_until_it_has_answered(owner):
    bank = await world.a_bank()
    [person] = await world.persons(1)
    await world.granted(person, bank)
    await deleted(person)
    assert await finished() == 1
    assert await owner.fetchval("select count(*) from consent_pseudonym") == 1
    await owner.execute(
        """update consent_effect set state = 'purged', delivered_at = now(), acknowledged_at = now(), settled_at = now(),
           attestation = 'x'"""
    )
    async with open_upkeep(CLERK) as upkeep:
        assert await deletion.any_unfinished(upkeep)
    await finished()
    assert await owner.fetchval("select count(*) from consent_pseudonym") == 0
    async with open_upkeep(CLERK) as upkeep:
        assert not await deletion.any_unfinished(upkeep)


@pytest.mark.usefixtures("here")
async def test_a_crash_before_the_key_is_destroyed_is_made_good(owner):
    [person] = await world.persons(1)
    async with open_act(person, None) as act:
        made = await deletion.delete_person(act)
    assert await ground().key_store.sealers([person.user])
    assert await finished() == 1
    assert not await ground().key_store.sealers([person.user])
    async with open_view(None) as view:
        assert (await deletion.look(view, made.id)).finished_at


@pytest.mark.usefixtures("here")
async def test_the_certificate_verifies_and_names_nobody(owner):
    bank = await world.a_bank()
    [person] = await world.persons(1)
    await world.granted(person, bank)
    known_as = await owner.fetchval("select id from consent_pseudonym")
    made = await deleted(person)
    token = jwt.decode(made.certificate, KeySet(ground().keyring.published()), algorithms=["ES256"])
    assert token.header["typ"] == "deletion-certificate+jwt"
    assert token.claims["rows"]["consent_person"] == 1
    assert token.claims["capsule"]["keep_until"] > "2029"
    for secret in (person.user, known_as):
        assert str(secret) not in json.dumps(token.claims)
        assert ids.public("usr", secret) not in json.dumps(token.claims)


@pytest.mark.usefixtures("here")
async def test_a_capsule_opens_to_both_custodians_together_and_to_nobody_else(owner, home):
    bank = await world.a_bank()
    [person] = await world.persons(1)
    given = await world.granted(person, bank)
    await world.scored(bank, person)
    made = await deleted(person)
    async with open_act(CLERK, None) as act:
        [sealed] = await capsules.hand_over(act, made.capsule.id, "court order 1")
    private = json.loads((home / "keys" / custodians.FICTIONAL).read_bytes())["keys"]
    first, second = (ECKey.import_key(key) for key in private)
    algorithms = list(capsules.HEADER.values())
    inner = jwe.decrypt_compact(sealed, first, algorithms=algorithms).plaintext
    for wrong in (second, ground().keyring.signing):
        with pytest.raises((JoseError, ValueError)):
            jwe.decrypt_compact(sealed, wrong, algorithms=algorithms)
    with pytest.raises((JoseError, ValueError)):
        jwe.decrypt_compact(inner, first, algorithms=algorithms)
    content = json.loads(jwe.decrypt_compact(inner, second, algorithms=algorithms).plaintext)
    told = [json.loads(fact["payload"])["kind"] for fact in content["facts"]]
    assert {"grant_given", "score_issued", "grant_withdrawn"} <= set(told)
    assert all(json.loads(fact["payload"])["grant"] == str(given.id) for fact in content["facts"])
    [receipt] = content["receipts"]
    claims = jwt.decode(receipt, KeySet(ground().keyring.published()), algorithms=["ES256"]).claims
    assert claims["state"] == "ended"


@pytest.mark.usefixtures("here")
async def test_a_long_history_fills_several_parts(owner, monkeypatch):
    monkeypatch.setattr(capsules, "PART_FACTS", 2)
    bank = await world.a_bank()
    [person] = await world.persons(1)
    await world.granted(person, bank)
    for _ in range(3):
        await world.scored(bank, person)
    made = await deleted(person)
    assert await owner.fetchval("select count(*) from consent_capsule where id = $1", made.capsule.id) >= 3


@pytest.mark.usefixtures("here")
async def test_a_capsule_is_destroyed_when_its_time_is_over(owner):
    bank = await world.a_bank()
    [person] = await world.persons(1)
    await world.granted(person, bank)
    made = await deleted(person)
    async with open_upkeep(CLERK) as upkeep:
        assert not await capsules.any_due(upkeep)
    await owner.execute("update consent_capsule set keep_until = current_date - 1")
    async with open_upkeep(CLERK) as upkeep:
        assert await capsules.any_due(upkeep)
    async with open_act(CLERK, None) as act:
        assert await capsules.destroy_due(act, 10) == 1
    with pytest.raises(NotFound):
        async with open_act(CLERK, None) as act:
            await capsules.hand_over(act, made.capsule.id, "court order 1")


@pytest.mark.usefixtures("here")
async def test_who_never_agreed_to_anything_leaves_no_capsule(owner):
    [person] = await world.persons(1)
    assert (await deleted(person)).capsule is None
    assert await owner.fetchval("select count(*) from consent_capsule") == 0


@pytest.mark.usefixtures("here")
async def test_an_unknown_number_is_nothing():
    async with open_view(None) as view:
        with pytest.raises(NotFound):
            await deletion.look(view, ids.random_id())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("change", ["born_on = '1980-01-01'", "reference_index = 'x'", "born_on = null"])
async def test_a_person_cannot_become_somebody_else(change):
    [person] = await world.persons(1)
    with pytest.raises(IntegrityError, match="only delete it"):
        async with open_act(person, None) as act:
            await act.db.execute_query(f"update consent_person set {change} where id = $1", [person.user])


@pytest.mark.usefixtures("here")
async def test_a_batch_that_was_made_ready_before_brings_nothing_back(owner):
    [person] = await world.persons(1)
    kept = await owner.fetchrow("select * from scoring_feature where user_id = $1", person.user)
    await deleted(person)
    async with open_act(world.STORY, None) as act:
        await act.db.execute_many(
            population.INSERT,
            [
                [
                    person.user,
                    *(kept[name] for name in ("model", "vector", "events", "active_days")),
                    kept["attributes"],
                    kept["snapshot"],
                    kept["data_cutoff"],
                    kept["contacts_for"],
                ]
            ],
        )
        act.record("features_stored", {})
    assert await owner.fetchval("select count(*) from scoring_feature") == 0


async def test_a_first_import_on_its_way_is_waited_for_and_deleted(here, owner):
    """The batch holds the person's row; the deletion takes it before it looks for anything to delete."""
    [person] = await world.persons(1)
    kept = await owner.fetchrow("select * from scoring_feature where user_id = $1", person.user)
    await owner.execute("delete from scoring_feature")
    holding, stored = asyncio.Event(), asyncio.Event()

    async def store():
        async with open_act(world.STORY, None) as act:
            await act.db.execute_query(population.INSERT, list(kept.values()))
            holding.set()
            await stored.wait()
            act.record("features_stored", {})

    batch = asyncio.create_task(store(), context=contextvars.Context())
    await holding.wait()
    going = asyncio.create_task(deleted(person), context=contextvars.Context())
    await asyncio.sleep(0.3)
    assert not going.done()
    stored.set()
    await batch
    await going
    assert await owner.fetchval("select count(*) from scoring_feature") == 0


@pytest.mark.usefixtures("here")
async def test_an_outcome_on_its_way_goes_with_its_person_and_none_comes_after(owner):
    bank = await world.a_bank()
    [person] = await world.persons(1)
    await world.granted(person, bank)
    score = await world.scored(bank, person)
    told = outcomes.Outcome(
        decision=outcomes.Decision.DECLINED, decided_on=datetime.now(UTC).date(), currency="CNY"
    )
    reported, over = asyncio.Event(), asyncio.Event()

    async def report():
        async with open_act(bank, None) as act:
            await outcomes.report(act, told, outcomes.About(score=score.id))
            reported.set()
            await over.wait()

    bank_reports = asyncio.create_task(report(), context=contextvars.Context())
    await reported.wait()
    going = asyncio.create_task(deleted(person), context=contextvars.Context())
    await asyncio.sleep(0.3)
    assert not going.done()
    over.set()
    await bank_reports
    await going
    assert await owner.fetchval("select count(*) from partners_outcome") == 0
    with pytest.raises(KeyErased):
        async with open_act(bank, None) as act:
            await outcomes.report(act, told, outcomes.About(score=score.id))


@pytest.mark.usefixtures("here")
async def test_an_answer_about_somebody_deleted_is_repeated_the_same():
    bank = await world.a_bank()
    [person] = await world.persons(1)
    grant = await world.granted(person, bank)
    await deleted(person)
    once = Once.of(bank, "POST /acknowledgement", "key-1", b"")
    async with open_act(bank, None, once) as act:
        act.concern(person.user, None)
        await effects.acknowledge(act, grant.id)
        act.answer(200, b"{}")
    with pytest.raises(Replayed) as again:
        async with open_act(bank, None, once) as act:
            pytest.fail("the block must not run")
    assert again.value.reply.body == b"{}"


@pytest.mark.usefixtures("here")
async def test_a_bank_fills_up_nobodys_log(monkeypatch):
    monkeypatch.setattr(showing, "SHOWN_A_DAY", 2)
    bank = await world.a_bank()
    [person] = await world.persons(1)
    await world.granted(person, bank)
    score = await world.scored(bank, person)
    for _ in range(2):
        async with open_act(bank, world.SCORING) as act:
            await scores.show(act, score.id)
    with pytest.raises(permits.ConsentFrequencyExceeded):
        async with open_act(bank, world.SCORING) as act:
            await scores.show(act, score.id)


@pytest.fixture
def stuck():
    """A kind of file that cannot let go of those who are in it."""
    users = set()

    async def forget(_, asked):
        if users & set(asked):
            raise StillHeld(users & set(asked))

    holdings.files("stuck", part="stuck")(forget)
    yield users
    del holdings._filed["stuck"]


@pytest.mark.usefixtures("here")
async def test_files_that_hold_one_person_still_hold_up_nobody_elses_deletion(owner, stuck):
    held, *others = await world.persons(4)
    stuck.add(held.user)
    for person in (held, *others):
        async with open_act(person, None) as act:
            await deletion.delete_person(act)
    assert await finished() == 3
    assert not await ground().key_store.sealers([held.user])
    left = await owner.fetch("select user_id from consent_deletion where finished_at is null")
    assert [row["user_id"] for row in left] == [held.user]
    with pytest.raises(StillHeld):  # nothing could be done, so nothing is recorded again and again
        await finished()
    stuck.clear()
    assert await finished() == 1


@pytest.mark.usefixtures("here")
async def test_files_that_cannot_be_written_keep_no_key(owner):
    [person] = await world.persons(1)
    async with open_act(person, None) as act:
        await deletion.delete_person(act)

    async def fails(_, __):
        raise OSError("the disk is full")

    holdings.files("full", part="full")(fails)
    try:
        with pytest.raises(OSError, match="the disk is full"):
            await finished()
    finally:
        del holdings._filed["full"]
    assert not await ground().key_store.sealers([person.user])
    assert await owner.fetchval("select finished_at from consent_deletion") is None
