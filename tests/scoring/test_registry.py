"""The register of models: each step by another person, a model with an obstacle goes nowhere, and what nobody approved answers nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from support import altered_models, small_models, world
from support.world import DEVELOPER, OFFICER, VALIDATOR

from compliance.act import open_act, open_view
from compliance.refusals import NotFound, SamePerson
from compliance.vocabulary import Purpose, Staff, StaffRole
from scoring import registry, training
from scoring.governance import places
from scoring.manifest import ModelAltered
from scoring.registry import ModelNotApproved, NoModel, NotPromotable, State
from scoring.scorer import InsufficientEvidence
from scoring.training import Artifact

BUILDING = Purpose.MODEL_DEVELOPMENT


async def registered(artifact: Artifact) -> UUID:
    training.save(artifact, registry.folder("").parent / "models")
    async with open_act(DEVELOPER, BUILDING) as act:
        return (await registry.register(act, artifact.digest)).id


@pytest.fixture
async def candidate(ground) -> UUID:
    return await registered(small_models.trained())


async def step(who, take, model: UUID) -> None:
    async with open_act(who, BUILDING) as act:
        await take(act, model)


async def approved(model: UUID) -> None:
    await step(VALIDATOR, registry.validate, model)
    await step(OFFICER, registry.approve, model)


async def state_of(owner, model: UUID) -> str:
    return await owner.fetchval("select state from scoring_model where id = $1", model)


async def in_use() -> str:
    async with open_view(OFFICER) as view:
        return (await registry.champion(view)).digest


def another() -> Artifact:
    """The same trees and inputs, and another digest."""
    return altered_models.with_manifest(
        small_models.trained(), lambda stated: replace(stated, about={"data": "another"})
    )


async def test_a_model_is_in_use_after_three_people(candidate, owner):
    with pytest.raises(NoModel):
        await in_use()
    await approved(candidate)
    with pytest.raises(NoModel):
        await in_use()
    await step(OFFICER, registry.promote, candidate)
    assert await in_use() == small_models.trained().digest
    kinds = await world.kinds(owner)
    assert [k for k in kinds if k.startswith("model_")] == [
        "model_registered",
        "model_validated",
        "model_approved",
        "model_promoted",
    ]


@pytest.mark.parametrize(
    ("state", "step_after"),
    {
        State.CANDIDATE: {"validate", "retire"},
        State.VALIDATED: {"approve", "retire"},
        State.APPROVED: {"promote", "shadow", "retire"},
        State.CHAMPION: {"retire"},
        State.CHALLENGER: {"promote", "retire"},
        State.RETIRED: {"roll_back"},
    }.items(),
)
async def test_a_step_is_taken_from_its_state_alone(candidate, owner, state, step_after):
    """Every step from every state; only those of the published life pass. (A challenger needs one to challenge.)"""
    await approved(candidate)
    for name in ("validate", "approve", "promote", "shadow", "retire", "roll_back"):
        await owner.execute("update scoring_model set state = $1", state)
        if name in step_after - {"shadow"}:
            if name == "approve":
                await step(OFFICER, registry.approve, candidate)
            else:
                await step(VALIDATOR, getattr(registry, name), candidate)
        else:
            refused = NoModel if name in step_after else NotPromotable
            with pytest.raises(refused):
                await step(VALIDATOR, getattr(registry, name), candidate)
            assert await state_of(owner, candidate) == state


async def test_nobody_takes_two_steps(candidate, owner):
    with pytest.raises(SamePerson):
        await step(DEVELOPER, registry.validate, candidate)
    await step(VALIDATOR, registry.validate, candidate)
    with pytest.raises(SamePerson):
        await step(VALIDATOR, registry.approve, candidate)
    disguised = Staff(DEVELOPER.staff, StaffRole.COMPLIANCE_OFFICER)
    with pytest.raises(SamePerson):
        await step(disguised, registry.approve, candidate)
    assert await state_of(owner, candidate) == "validated"
    await step(OFFICER, registry.approve, candidate)
    for take in (registry.promote, registry.shadow):
        with pytest.raises(SamePerson):
            await step(disguised, take, candidate)
    assert await state_of(owner, candidate) == "approved"


def card_says(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda card: card["slices"]["all"].update(changed)


def unfair(card: dict[str, Any]) -> None:
    group = {"group": "b", "rows": 400, "better": 90, "share": "0.2250", "evidence": "enough"}
    card["fairness"] = {"sex": [group | {"ratio": "0.5000", "low": "0.4000", "high": "0.6000"}]}


RED: dict[str, Callable[[], Artifact]] = {
    "insufficient_evidence": lambda: altered_models.with_card(small_models.trained(), card_says(defaults=3)),
    "calibration_red": lambda: altered_models.with_card(
        small_models.trained(),
        card_says(calibration_slope={"value": "2.0000", "low": "1.6000", "high": "2.4000"}),
    ),
    "stability_red": lambda: altered_models.with_card(
        small_models.trained(), lambda card: card["points"].update(psi="0.2501", state="red")
    ),
    "adverse_impact_red": lambda: altered_models.with_card(small_models.trained(), unfair),
    "one_feature_carries_too_much": lambda: altered_models.with_card(
        small_models.trained(), lambda card: card["largest_feature"].update(share="0.4001")
    ),
    "feature_forbidden": lambda: altered_models.with_input(small_models.trained(), name="maritalStatus"),
    "looks_back_too_far": lambda: altered_models.with_input(small_models.trained(), window_days=366),
}


@pytest.mark.parametrize("code", RED)
async def test_a_model_with_an_obstacle_goes_nowhere(ground, owner, code):
    model = await registered(RED[code]())
    with pytest.raises(NotPromotable, match=f"shows: {code}$"):
        await step(VALIDATOR, registry.validate, model)
    assert await state_of(owner, model) == "candidate"
    # Also not where somebody wrote into the register that it was validated, or approved.
    await owner.execute("update scoring_model set state = 'validated'")
    with pytest.raises(NotPromotable, match=code):
        await step(OFFICER, registry.approve, model)
    await owner.execute("update scoring_model set state = 'approved'")
    with pytest.raises(NotPromotable, match=code):
        await step(OFFICER, registry.promote, model)
    await owner.execute("update scoring_model set state = 'retired'")
    with pytest.raises(NotPromotable, match=code):
        await step(OFFICER, registry.roll_back, model)


async def test_its_developer_neither_puts_a_model_in_use_nor_takes_it_out(candidate, owner):
    await approved(candidate)
    await step(OFFICER, registry.promote, candidate)
    with pytest.raises(SamePerson):
        await step(DEVELOPER, registry.retire, candidate)
    assert await state_of(owner, candidate) == "champion"
    await step(OFFICER, registry.retire, candidate)
    await owner.execute("update scoring_model set state = 'candidate'")
    await step(DEVELOPER, registry.retire, candidate)


async def test_a_forbidden_column_under_another_name_is_seen(ground):
    hidden = altered_models.with_input(small_models.trained(), name="x1", expression='profile(sex) = "f"')
    model = await registered(hidden)
    with pytest.raises(NotPromotable, match="feature_forbidden"):
        await step(VALIDATOR, registry.validate, model)


async def test_a_card_that_was_prettied_up_in_the_register_is_refused(ground, owner):
    model = await registered(RED["insufficient_evidence"]())
    await owner.execute(
        """update scoring_model set card = jsonb_set(card, '{slices,all,defaults}', '5000')"""
    )
    with pytest.raises(ModelAltered):
        await step(VALIDATOR, registry.validate, model)


async def test_registering_again_finds_the_same(candidate):
    async with open_act(DEVELOPER, BUILDING) as act:
        assert (await registry.register(act, small_models.trained().digest)).id == candidate
    with pytest.raises(NotFound):
        async with open_view(OFFICER) as view:
            await registry.find(view, "0" * 64)
    with pytest.raises(ModelAltered):
        async with open_act(DEVELOPER, BUILDING) as act:
            await registry.register(act, "0" * 64)


@pytest.mark.parametrize(
    "written",
    [
        "state = 'champion'",
        "state = 'champion', validated_by = registered_by, approved_by = registered_by",
        "state = 'champion', approval = decode(repeat('00', 32), 'hex')",
    ],
)
async def test_a_row_that_was_written_by_hand_serves_nothing(candidate, owner, written):
    await owner.execute(f"update scoring_model set {written}")
    with pytest.raises(ModelNotApproved):
        await in_use()


@pytest.mark.parametrize(
    "written", ["digest = repeat('0', 64)", "validated_by = 'x'", "approved_by = 'x'", "registered_by = 'x'"]
)
async def test_an_approval_is_of_one_model_by_three_people(candidate, owner, written):
    await approved(candidate)
    await step(OFFICER, registry.promote, candidate)
    await owner.execute(f"update scoring_model set {written}")
    with pytest.raises(ModelNotApproved):
        await in_use()


async def test_the_approval_of_one_model_is_of_no_use_to_another(candidate, owner):
    await approved(candidate)
    await step(OFFICER, registry.promote, candidate)
    other = await registered(another())
    await owner.execute("update scoring_model set state = 'retired' where id = $1", candidate)
    await owner.execute(
        """update scoring_model m set state = 'champion', validated_by = o.validated_by, approved_by = o.approved_by,
           approval = o.approval from scoring_model o where m.id = $1 and o.id = $2""",
        other,
        candidate,
    )
    with pytest.raises(ModelNotApproved):
        await in_use()


@pytest.mark.parametrize("name", ["manifest.json", "model.json", "model.cbm", "card.json", "example.json"])
async def test_a_file_of_which_a_byte_was_touched_is_not_loaded(candidate, name):
    registry._loaded.cache_clear()
    file = registry.folder(small_models.trained().digest) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelAltered):
        registry.scorer(small_models.trained().digest)
    with pytest.raises(ModelAltered):
        await step(VALIDATOR, registry.validate, candidate)


async def test_rolling_back_is_one_act_and_people_are_scored_at_once(ground, owner):
    await world.put_model_in_use()
    await world.open_channel()
    bank, (person,) = await world.a_bank(), await world.persons(1)
    await world.granted(person, bank)
    first = (await world.scored(bank, person)).points
    newer = await registered(another())
    await approved(newer)
    await step(OFFICER, registry.promote, newer)
    old = await owner.fetchval("select id from scoring_model where state = 'retired'")
    row = await world.scored(bank, person)
    assert row.model == newer
    before = len(await world.kinds(owner))
    await step(OFFICER, registry.roll_back, old)
    assert (await world.kinds(owner))[before:] == ["model_retired", "model_rolled_back"]
    row = await world.scored(bank, person)
    assert (row.model, row.points) == (old, first)
    assert await state_of(owner, newer) == "retired"


async def test_of_two_that_are_put_in_use_at_once_one_is(candidate, owner):
    other = await registered(another())
    for model in (candidate, other):
        await approved(model)
    await asyncio.gather(*(step(OFFICER, registry.promote, model) for model in (candidate, other)))
    states = await owner.fetch("select state from scoring_model order by state")
    assert [row["state"] for row in states] == ["champion", "retired"]


async def test_a_model_that_was_never_approved_is_not_rolled_back_to(candidate):
    await step(VALIDATOR, registry.retire, candidate)
    with pytest.raises(ModelNotApproved):
        await step(OFFICER, registry.roll_back, candidate)


async def test_features_of_another_list_answer_nothing(ground):
    """After a change of model a vector is read only where it holds all that the new one reads."""
    await world.put_model_in_use()
    await world.open_channel()
    bank, (person,) = await world.a_bank(), await world.persons(1)
    await world.granted(person, bank)
    stranger = await registered(altered_models.with_input(small_models.trained(), expression="sum(*)"))
    await approved(stranger)
    with pytest.raises(NotPromotable, match="vectors do not hold it"):
        await step(OFFICER, registry.shadow, stranger)
    await step(OFFICER, registry.promote, stranger)
    with pytest.raises(InsufficientEvidence):
        await world.scored(bank, person)


async def test_a_vector_of_another_order_is_read_by_name(ground):
    """The same inputs in another order: each is found by what it measures."""
    stated = small_models.loaded().manifest
    turned = replace(stated, inputs=tuple(reversed(stated.inputs)))
    found = places.find(stated, turned)
    values = np.arange(len(stated.inputs))
    assert list(values[found.inputs]) == list(reversed(values))
    assert places.find(stated, replace(turned, minimum={})) is not None
    assert places.find(replace(stated, inputs=stated.inputs[1:]), stated) is None
