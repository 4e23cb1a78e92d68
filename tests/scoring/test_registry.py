"""The register of models: each step by another person, and a model with an obstacle goes nowhere."""

import json

import pytest
from support import small_models, world
from support.world import DEVELOPER, OFFICER, VALIDATOR

from compliance.act import open_act, open_view
from compliance.refusals import NotFound
from compliance.vocabulary import Purpose, Staff, StaffRole
from scoring import registry, training
from scoring.manifest import CARD, ModelAltered
from scoring.registry import NoModel, NotPromotable
from scoring.release import SamePerson

BUILDING = Purpose.MODEL_DEVELOPMENT


@pytest.fixture
async def candidate(ground):
    training.save(small_models.trained(), ground.home / "models")
    async with open_act(DEVELOPER, BUILDING) as act:
        return await registry.register(act, small_models.trained().digest)


async def step(who, take, row) -> None:
    async with open_act(who, BUILDING) as act:
        await take(act, row.id)


async def state_of(owner, row) -> str:
    return await owner.fetchval("select state from scoring_model where id = $1", row.id)


async def test_a_model_is_in_use_after_three_people(candidate, owner):
    with pytest.raises(NoModel):
        async with open_view(OFFICER) as view:
            await registry.champion(view)
    await step(VALIDATOR, registry.validate, candidate)
    await step(OFFICER, registry.promote, candidate)
    async with open_view(OFFICER) as view:
        assert (await registry.champion(view)).digest == candidate.digest
    kinds = await world.kinds(owner)
    assert [k for k in kinds if k.startswith("model_")] == [
        "model_registered",
        "model_validated",
        "model_promoted",
    ]


async def test_a_model_in_use_is_not_validated_again(candidate, owner):
    await step(VALIDATOR, registry.validate, candidate)
    await step(OFFICER, registry.promote, candidate)
    with pytest.raises(NotPromotable, match="champion"):
        await step(OFFICER, registry.validate, candidate)
    assert await state_of(owner, candidate) == "champion"


async def test_nobody_takes_two_steps(candidate, owner):
    with pytest.raises(SamePerson):
        await step(DEVELOPER, registry.validate, candidate)
    await step(VALIDATOR, registry.validate, candidate)
    with pytest.raises(SamePerson):
        await step(VALIDATOR, registry.promote, candidate)
    with pytest.raises(SamePerson):  # the developer, in another role
        await step(Staff(DEVELOPER.staff, StaffRole.COMPLIANCE_OFFICER), registry.promote, candidate)
    assert await state_of(owner, candidate) == "validated"


async def test_an_unvalidated_model_is_not_promoted(candidate, owner):
    with pytest.raises(NotPromotable):
        await step(OFFICER, registry.promote, candidate)
    assert await state_of(owner, candidate) == "candidate"


async def test_a_card_with_an_obstacle_stops_it(candidate, owner):
    card = json.loads(small_models.trained().files[CARD])
    card["slices"]["all"]["defaults"] = 3
    await owner.execute("update scoring_model set card = $1", json.dumps(card))
    with pytest.raises(NotPromotable, match="insufficient_evidence"):
        await step(VALIDATOR, registry.validate, candidate)
    assert await state_of(owner, candidate) == "candidate"


async def test_registering_again_finds_the_same(candidate):
    async with open_act(DEVELOPER, BUILDING) as act:
        assert (await registry.register(act, candidate.digest)).id == candidate.id
    with pytest.raises(NotFound):
        async with open_view(OFFICER) as view:
            await registry.find(view, "0" * 64)


async def test_a_file_that_was_touched_is_not_loaded(candidate, ground):
    file = registry.folder(candidate.digest) / "model.json"
    file.write_bytes(file.read_bytes().replace(b"1", b"2", 1))
    with pytest.raises(ModelAltered):
        registry.scorer(candidate.digest)
