"""A score, from permit to stored row: explained, recorded, replayable, and silent about what was refused."""

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from support import small_models, world
from support.world import ALL, SCORING

from api.v1 import scores as wire
from compliance import facts, ids
from compliance.act import open_act, open_view
from compliance.canonical import digest
from compliance.refusals import NotFound
from compliance.vocabulary import AnswerForm, Category, Channel, PartnerKind, Purpose
from consent import access_log
from consent.permits import CategoryNotGranted, ConsentWithdrawn
from scoring import replaying, scores
from scoring.release import NoLawfulChannel, Released
from scoring.scorer import InsufficientEvidence
from scoring.scores import Given
from scoring.set_changes import SetChangedTooOften

DECLARED, DEVICE = frozenset({Category.DECLARED}), frozenset({Category.DEVICE_USAGE})
RANDOM = {"id", "grant_id", "issued_at", "valid_until", "fact_id", "fact_promise"}


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return await world.a_bank()


def shown(row) -> dict[str, object]:
    """What the bank sees, less what is random or a time."""
    seen = json.loads(
        msgspec.json.encode(wire.view(Released(Given(row, False, False), Channel(row.channel))))
    )
    return {name: value for name, value in seen.items() if name not in RANDOM}


async def test_a_score_is_what_the_model_says_of_what_was_shared(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, categories=ALL - DEVICE)
    row = await world.scored(bank, person)
    matrix, _ = small_models.people()
    number = world.rich_rows()[0]
    expected = small_models.loaded().evaluate(
        np.asarray(matrix.values[number]), small_models.evidence(matrix, number), ALL - DEVICE
    )
    assert (row.points, row.band, row.probability) == (
        expected.points,
        expected.band,
        str(expected.probability),
    )
    assert row.reasons == [asdict(reason) for reason in expected.reasons]
    assert (set(row.used), set(row.not_used)) == (ALL - DEVICE, DEVICE)


async def test_it_is_recorded_with_all_that_it_rests_on(bank, owner, ground):
    (person,) = await world.persons(1)
    grant = await world.granted(person, bank)
    row = await world.scored(bank, person)
    fact = await owner.fetchrow("select * from compliance_fact where id = $1", row.fact)
    assert (fact["person"], fact["grant_id"], fact["partner"]) == (person.user, grant.id, bank.partner)
    sealer = await ground.key_store.sealer(person.user)
    payload, salt = facts.open_sealed(fact["sealed"], fact["id"], sealer)
    what = facts.read_opening(payload, salt).payload["what"]
    assert what["score"] == ids.public("scr", row.id)
    assert (what["points"], what["permit"], what["snapshot"]) == (row.points, row.permit_digest, row.snapshot)
    assert what["vector"] == digest(bytes(row.vector).hex())
    assert row.valid_until <= grant.expires_at


async def test_what_was_not_shared_is_not_even_stored(bank, owner):
    (person,) = await world.persons(1)
    await world.granted(person, bank, categories=ALL - DEVICE)
    row = await world.scored(bank, person)
    values = np.frombuffer(bytes(row.vector), "<f4")
    of_device = [i.category is Category.DEVICE_USAGE for i in small_models.loaded().manifest.inputs]
    assert np.isnan(values[of_device]).all()
    assert not np.isnan(values).all()
    place = small_models.loaded().categories.index(Category.DEVICE_USAGE)
    assert (row.events[place], row.active_days[place]) == (0, 0)


async def test_refusing_is_never_evidence(bank, owner):
    """Refused, withdrawn, never asked, without data, with other data: the same answer to the byte."""
    ways = dict(
        zip(("refused", "not_wanted", "withdrawn", "empty", "other_data"), await same_people(5), strict=True)
    )
    await world.said_yes(ways["refused"], await world.asked(bank), ALL - DEVICE)
    await world.granted(ways["not_wanted"], bank)
    before = await world.granted(ways["withdrawn"], bank)
    await world.withdrawn(ways["withdrawn"], before.id)
    await world.granted(ways["withdrawn"], bank, categories=ALL - DEVICE)
    await world.granted(ways["empty"], bank)
    await forget(owner, ways["empty"], Category.DEVICE_USAGE)
    await world.granted(ways["other_data"], bank, categories=ALL - DEVICE)
    await overwrite(owner, ways["other_data"], Category.DEVICE_USAGE, 9.0)
    answers = {}
    for name, person in ways.items():
        wanted = ALL - DEVICE if name == "not_wanted" else ALL
        answers[name] = json.dumps(shown(await world.scored(bank, person, wanted)), sort_keys=True)
    assert set(answers.values()) == {answers["refused"]}
    (everything,) = await same_people(1)
    await world.granted(everything, bank)
    assert json.dumps(shown(await world.scored(bank, everything)), sort_keys=True) != answers["refused"]


async def same_people(count: int):
    """People with the same data."""
    return await world.persons(count, rows=(world.rich_rows()[0],))


async def overwrite(owner, person, category: Category, value: float) -> None:
    vector = await owner.fetchval("select vector from scoring_feature where user_id = $1", person.user)
    values = np.frombuffer(vector, "<f4").copy()
    values[[i.category is category for i in small_models.loaded().manifest.inputs]] = value
    await owner.execute(
        "update scoring_feature set vector = $2 where user_id = $1", person.user, values.tobytes()
    )


async def forget(owner, person, category: Category) -> None:
    await overwrite(owner, person, category, float("nan"))
    place = small_models.loaded().categories.index(category) + 1
    await owner.execute(
        f"update scoring_feature set events[{place}] = 0, active_days[{place}] = 0 where user_id = $1",
        person.user,
    )


async def test_nobody_is_scored_with_set_after_set(bank, owner):
    """A first choice and one other in 90 days; back to one that was used, another bank, and stopping are free."""
    (person,) = await world.persons(1)
    sets = [ALL, ALL - DEVICE, ALL - {Category.SHOPPING}]
    for chosen in (*sets[:2], sets[0], sets[1]):
        grant = await world.granted(person, bank, categories=chosen)
        await world.scored(bank, person)
        await world.withdrawn(person, grant.id)
    third = await world.granted(person, bank, categories=sets[2])
    before = await owner.fetchval("select count(*) from scoring_score")
    with pytest.raises(SetChangedTooOften) as refused:
        await world.scored(bank, person)
    assert (refused.value.status, refused.value.code) == (409, "set_changed_too_often")
    assert await owner.fetchval("select count(*) from scoring_score") == before
    other = await world.a_bank("beta")
    await world.granted(person, other, categories=sets[2])
    assert await world.scored(other, person)
    await world.withdrawn(person, third.id)
    await world.granted(person, bank, categories=sets[1])
    assert await world.scored(bank, person)


async def test_a_relay_is_no_way_to_a_third_choice(bank):
    bureau = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    await world.open_channel(bureau.partner, bank.partner)
    (person,) = await world.persons(1)
    for chosen in (ALL, ALL - DEVICE):
        grant = await world.granted(person, bank, categories=chosen)
        await world.scored(bank, person)
        await world.withdrawn(person, grant.id)
    third = await world.granted(
        person,
        bureau,
        recipient=bank.partner,
        bureau=bureau.partner,
        categories=ALL - {Category.SHOPPING},
    )
    with pytest.raises(SetChangedTooOften):
        await world.scored(bureau, person, recipient=bank.partner)
    await world.withdrawn(person, third.id)
    await world.granted(
        person, bureau, recipient=bank.partner, bureau=bureau.partner, categories=ALL - DEVICE
    )
    assert await world.scored(bureau, person, recipient=bank.partner)


async def test_which_choices_were_used_is_told_to_nobody_else(bank):
    """The database itself answers the recipient, a bureau that relays to it, the person and the platform."""
    bureau = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    rival = await world.a_bank("beta")
    person, other = await world.persons(2)
    await world.granted(person, bank)
    await world.scored(bank, person)

    async def sees(principal, purpose=SCORING):
        async with open_view(principal) as view:
            since = view.now - timedelta(days=90)
            return bool(await access_log.sets_used(view, person.user, purpose, bank.partner, since))

    told = [await sees(each) for each in (bank, person, world.STORY, world.OFFICER)]
    assert told == [True, True, True, True]
    assert [await sees(each) for each in (rival, other, bureau)] == [False, False, False]
    to_relay = {"recipient": bank.partner, "bureau": bureau.partner}
    await world.granted(person, bureau, Purpose.INCOME_ESTIMATE, **to_relay)
    assert not await sees(bureau)
    relayed = await world.granted(person, bureau, **to_relay)
    assert await sees(bureau)
    await world.withdrawn(person, relayed.id)
    assert not await sees(bureau)


async def test_after_ninety_days_a_choice_is_new_again(bank, owner):
    (person,) = await world.persons(1)
    for chosen in (ALL, ALL - DEVICE):
        grant = await world.granted(person, bank, categories=chosen)
        await world.scored(bank, person)
        await world.withdrawn(person, grant.id)
    await world.granted(person, bank, categories=ALL - {Category.SHOPPING})
    await owner.execute("update consent_use set last_used_at = last_used_at - interval '89 days'")
    with pytest.raises(SetChangedTooOften):
        await world.scored(bank, person)
    await owner.execute("update consent_use set last_used_at = last_used_at - interval '2 days'")
    assert await world.scored(bank, person)


async def test_consents_that_were_never_used_are_no_choices(bank):
    (person,) = await world.persons(1)
    for left_off in sorted(ALL):
        grant = await world.granted(person, bank, categories=ALL - {left_off})
        await world.withdrawn(person, grant.id)
    await world.granted(person, bank)
    assert await world.scored(bank, person)


async def test_a_band_hides_points_and_probability(bank):
    one, other = await same_people(2)
    for person in (one, other):
        await world.granted(person, bank)
    full = shown(await world.scored(bank, one))
    band = shown(await world.scored(bank, other, answer=AnswerForm.BAND))
    assert full.keys() - band.keys() == {"points", "probability"}
    assert band["band"] == full["band"]
    assert str(full["points"]) not in json.dumps(band)


async def test_too_little_evidence_is_no_answer_and_nothing_is_kept(bank, owner):
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    with pytest.raises(InsufficientEvidence):
        await world.scored(bank, person, DECLARED)
    await owner.execute("delete from scoring_feature")
    with pytest.raises(InsufficientEvidence):
        await world.scored(bank, person)
    assert await owner.fetchval("select count(*) from scoring_score") == 0
    assert "score_issued" not in await world.kinds(owner)


async def test_without_a_channel_nothing_is_kept(ground, owner):
    await world.put_model_in_use()
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    with pytest.raises(NoLawfulChannel):
        await world.scored(bank, person)
    assert await owner.fetchval("select count(*) from scoring_score") == 0
    assert (await world.kinds(owner, person=person.user))[-1] == "refused"


async def test_only_granted_categories_count(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, categories=DEVICE)
    with pytest.raises(CategoryNotGranted):
        await world.scored(bank, person, DECLARED)
    assert (await world.scored(bank, person, ALL)).used == ["device_usage"]


async def test_an_old_score_is_shown_while_its_own_grant_lives(bank, owner):
    (person,) = await world.persons(1)
    grant = await world.granted(person, bank)
    row = await world.scored(bank, person)

    async def look(client=bank):
        async with open_act(client, SCORING) as act:
            return (await scores.show(act, row.id)).value.row

    assert shown(await look()) == shown(row)
    assert (await world.kinds(owner, grant_id=grant.id))[-1] == "score_shown"
    with pytest.raises(NotFound):
        await look(await world.a_bank("beta"))
    await world.withdrawn(person, grant.id)
    with pytest.raises(ConsentWithdrawn):
        await look()
    await world.granted(person, bank)  # a new yes does not bring back what rested on the old one
    with pytest.raises(ConsentWithdrawn):
        await look()


async def test_through_a_relay_the_lender_is_the_recipient(bank, owner):
    bureau = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    (person,) = await world.persons(1)
    await world.granted(person, bureau, recipient=bank.partner, bureau=bureau.partner)
    with pytest.raises(NoLawfulChannel):
        await world.scored(bureau, person, recipient=bank.partner)
    await world.open_channel(bureau.partner, bank.partner)
    row = await world.scored(bureau, person, recipient=bank.partner)
    assert (row.partner, row.relay, row.channel) == (bank.partner, bureau.partner, "licensed_bureau_relay")


async def test_a_fresh_process_computes_the_same_points(bank, database, ground):
    rows = []
    for person in await world.persons(3):
        await world.granted(person, bank, categories=ALL - DEVICE)
        rows.append(await world.scored(bank, person))
    program = f"""
import asyncio, sys
from pathlib import Path
from uuid import UUID
from compliance import database as databases
from compliance.act import open_act, open_view
from compliance.database import Database
from compliance.vocabulary import Worker
from scoring import replaying, scores
async def main():
    async with databases.opened({database!r}, Path({str(ground.home)!r}), {ground.origin!r}):
        for score in sys.argv[1:]:
            async with open_act(Worker("auditor"), scores.PURPOSE) as act:
                done = await replaying.replay(act, UUID(score))
                print(done.then, done.now, done.same)
asyncio.run(main())
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, *(str(row.id) for row in rows)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split("\n")[:-1] == [f"{row.points} {row.points} True" for row in rows]


async def test_a_replay_notices_a_changed_vector(bank, owner):
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    row = await world.scored(bank, person)
    values = np.frombuffer(bytes(row.vector), "<f4") * np.float32(-1)
    await owner.execute("update scoring_score set vector = $1", values.tobytes())
    async with open_act(world.STORY, SCORING) as act:
        done = await replaying.replay(act, row.id)
    assert done.then == row.points != done.now
    assert not done.same
