"""A challenger in shadow: it answers the same people from the same shared data, and nobody outside ever hears of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support import altered_models, small_models, world
from support.world import DEVELOPER, OFFICER, STORY, VALIDATOR

from api import worker
from compliance import ids
from compliance.act import open_act, open_upkeep
from compliance.vocabulary import Category, Purpose
from consent import copies, disputes, permits
from consent.disputes import About, Subject
from scoring import evaluation, population, registry, scorer, training
from scoring.manifest import Line, Manifest
from scoring.monitoring import shadow
from scoring.training import Artifact

BUILDING = Purpose.MODEL_DEVELOPMENT
FEW = frozenset({Category.SHOPPING, Category.DECLARED})


def shifted(stated: Manifest) -> Manifest:
    """Another level: the same trees, 50 points apart."""
    lines = {
        used: Line(line.intercept - math.log(2), line.slope) for used, line in stated.calibration.items()
    }
    return replace(stated, calibration=lines)


def rival() -> Artifact:
    return altered_models.with_manifest(small_models.trained(), shifted)


async def in_shadow() -> registry.ModelRow:
    training.save(rival(), registry.folder("x").parent)
    async with open_act(DEVELOPER, BUILDING) as act:
        row = await registry.register(act, rival().digest)
    async with open_act(VALIDATOR, BUILDING) as act:
        await registry.validate(act, row.id)
    async with open_act(OFFICER, BUILDING) as act:
        await registry.approve(act, row.id)
        return await registry.shadow(act, row.id)


@pytest.fixture
async def here(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return ground


async def scored_of(categories=world.ALL):
    bank, (person,) = await world.a_bank(str(ids.random_id())[:8]), await world.persons(1)
    await world.granted(person, bank)
    return bank, person, await world.scored(bank, person, categories)


async def test_the_challenger_answers_the_same_data_beside_the_champion(here, owner):
    _, _, earlier = await scored_of()
    challenger = await in_shadow()
    _, _, row = await scored_of()
    _, _, narrow = await scored_of(FEW)
    assert await worker.follow_in_shadow()
    assert not await worker.follow_in_shadow()
    kept = {r["score"]: r for r in await owner.fetch("select * from scoring_shadow")}
    assert earlier.id not in kept
    model = registry.scorer(challenger.digest)
    for score in (row, narrow):
        known = population.evidence_of(model, score.events, score.active_days, frozenset(model.categories))
        alone = model.evaluate(scorer.unpack(score.vector), known, frozenset(model.categories))
        assert kept[score.id]["points"] == alone.points
        before = evaluation.log_odds(np.array([float(score.probability)]))[0]
        assert before - float(kept[score.id]["log_odds"]) == pytest.approx(math.log(2), abs=0.01)
        assert kept[score.id]["user_id"] == score.user_id
    assert (await world.kinds(owner)).count("scores_shadowed") == 1


async def test_an_answer_is_the_same_to_the_byte_with_a_challenger_and_without(here):
    bank, (person,) = await world.a_bank(), await world.persons(1)
    await world.granted(person, bank)
    without = await world.scored(bank, person)
    challenger = await in_shadow()
    with_one = await world.scored(bank, person)
    told = ("points", "band", "probability", "reasons", "confidence", "model", "vector", "used", "not_used")
    assert [getattr(without, name) for name in told] == [getattr(with_one, name) for name in told]
    assert await worker.follow_in_shadow()
    async with open_act(STORY, world.SCORING) as act:
        assert challenger.digest != (await registry.champion(act)).digest
        act.record("score_replayed", {})


async def test_what_was_withdrawn_is_answered_no_more(here, owner):
    await in_shadow()
    _, person, row = await scored_of()
    await world.withdrawn(person, row.grant_id)
    async with open_upkeep(worker.CLERK) as upkeep:
        assert not await shadow.any_waiting(upkeep)
    assert await owner.fetchval("select count(*) from scoring_shadow") == 0


async def test_what_is_over_or_disputed_is_answered_no_more(here, owner):
    await in_shadow()
    _, _, old = await scored_of()
    await owner.execute(
        "update consent_grant set expires_at = now() - interval '1 second' where id = $1", old.grant_id
    )
    _, person, _ = await scored_of()
    async with open_act(person, None) as act:
        await disputes.raise_category(act, permits.own_permit(act), Category.SHOPPING, "Not mine.")
    bank, other, row = await scored_of()
    about = Subject(About.SCORE, score=row.id, recipient=bank.partner)
    async with open_act(other, None) as act:
        await disputes.raise_about(act, permits.own_permit(act), about, "Not me.")
    async with open_upkeep(worker.CLERK) as upkeep:
        assert not await shadow.any_waiting(upkeep)
    _, third, fine = await scored_of(FEW)
    async with open_act(third, None) as act:
        await disputes.raise_category(act, permits.own_permit(act), Category.DEVICE_USAGE, "Not mine.")
    assert await worker.follow_in_shadow()
    assert [r["score"] for r in await owner.fetch("select score from scoring_shadow")] == [fine.id]


async def test_a_person_sees_it_in_their_copy_and_takes_it_with_them(here, owner):
    await in_shadow()
    _, person, row = await scored_of()
    _, other, _ = await scored_of()
    assert await worker.follow_in_shadow()
    async with open_act(person, None) as act:
        copy = await copies.make(act, permits.own_permit(act))
    (line,) = copy.parts["shadow_scores"]
    assert line["score"] == ids.public("scr", row.id)
    await world.deleted(person)
    assert [r["user_id"] for r in await owner.fetch("select user_id from scoring_shadow")] == [other.user]


async def test_one_challenger_at_a_time_and_it_may_take_the_place(here, owner):
    first = await in_shadow()
    await owner.execute("update scoring_model set state = 'approved' where id = $1", first.id)
    async with open_act(OFFICER, BUILDING) as act:
        await registry.shadow(act, first.id)
    async with open_act(OFFICER, BUILDING) as act:
        await registry.promote(act, first.id)
    states = {r["digest"]: r["state"] for r in await owner.fetch("select digest, state from scoring_model")}
    assert states == {first.digest: "champion", small_models.trained().digest: "retired"}
    async with open_upkeep(worker.CLERK) as upkeep:
        assert not await shadow.any_waiting(upkeep)


async def test_a_challenger_that_cannot_read_the_new_vectors_steps_back(here, owner):
    challenger = await in_shadow()
    stranger = altered_models.with_input(small_models.trained(), expression="sum(*)")
    training.save(stranger, registry.folder("x").parent)
    async with open_act(DEVELOPER, BUILDING) as act:
        row = await registry.register(act, stranger.digest)
    async with open_act(VALIDATOR, BUILDING) as act:
        await registry.validate(act, row.id)
    async with open_act(OFFICER, BUILDING) as act:
        await registry.approve(act, row.id)
        await registry.promote(act, row.id)
    state = "select state from scoring_model where id = $1"
    assert await owner.fetchval(state, challenger.id) == "approved"


async def test_a_challenger_that_nobody_approved_answers_nothing(here, owner):
    await in_shadow()
    await scored_of()
    await owner.execute("update scoring_model set approved_by = 'x' where state = 'challenger'")
    with pytest.raises(registry.ModelNotApproved):
        await worker.follow_in_shadow()
    assert await owner.fetchval("select count(*) from scoring_shadow") == 0
