"""A model is trained on a folder nobody here has seen, and tried on people it never saw."""

import json
from dataclasses import replace

import pytest
from support.research_sets import write

from compliance.act import open_act
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import Category, Purpose, Worker
from consent import permits
from scoring import behaviour, development, named, registry, training, trial
from scoring.boosting import Recipe
from scoring.training import CannotTrain

DEVELOPER = Worker("developer")
QUICK = Recipe(trees=40, depth=3, learning_rate=0.1, copies=2, folds=2, twins=4)


async def read(folder, tmp_path):
    async with open_act(DEVELOPER, Purpose.MODEL_DEVELOPMENT) as act:
        permit = permits.research_permit(act, folder.name, act.now)
    return permit, behaviour.read(folder, tmp_path / "aside")


async def trained(folder, tmp_path, home, **more):
    permit, found = await read(folder, tmp_path)
    made = development.develop(
        permit, found, frozenset(Category), seed=1, threads=1, recipe=QUICK, keep_learning=True, **more
    )
    training.save(made.artifact, home / "models")
    return made.artifact


@pytest.mark.parametrize("category", ["credit_history", "declared", "device_usage"])
async def test_a_set_of_profiles_alone_can_be_learnt_and_tried(ground, tmp_path, category):
    known = write(tmp_path / "known", 1_500, seed=1, category=category)
    artifact = await trained(known, tmp_path, ground.home, name="mine")
    named.give("mine", artifact.digest)
    model = registry.scorer(named.find("mine"))
    assert {each.name for each in model.manifest.inputs} == {"level", "kind=open", "kind=closed"}
    permit, unseen = await read(write(tmp_path / "unseen", 1_000, seed=2, category=category), tmp_path)
    tried = trial.run(permit, model, unseen)
    assert tried.n > 950
    assert tried.answered == tried.n / 1_000
    low, high = tried.intervals["auc"]
    assert 0.6 < low < tried.figures["auc"] < high < 0.9
    assert tried.figures["ece"] < 0.1
    assert 0 < tried.ece_envelope < 0.06
    assert tried == trial.run(permit, model, unseen)


async def test_the_served_model_learns_from_all_and_the_card_is_of_those_held_out(ground, tmp_path):
    folder = write(tmp_path / "known", 1_500, seed=1)
    permit, found = await read(folder, tmp_path)

    def develop(**more):
        return development.develop(
            permit, found, frozenset(Category), seed=1, threads=1, recipe=QUICK, **more
        )

    once, again = develop(), develop(keep_learning=True)
    assert once.artifact.files["model.json"] != again.artifact.files["model.json"]
    cards = [json.loads(made.artifact.files["card.json"]) for made in (once, again)]
    assert [card["about"]["measured_on"] for card in cards] == ["itself", "first_70_30"]
    assert cards[0]["slices"] == cards[1]["slices"]
    assert again.artifact.digest == develop(keep_learning=True).artifact.digest


async def test_a_column_that_a_set_lacks_is_missing_and_nothing_worse(ground, tmp_path):
    artifact = await trained(write(tmp_path / "known", 1_500, seed=1), tmp_path, ground.home)
    permit, unseen = await read(write(tmp_path / "unseen", 500, seed=2), tmp_path)
    without = replace(unseen, profiles=unseen.profiles.drop("level"), schema=without_level(unseen.schema))
    tried = trial.run(permit, registry.scorer(artifact.digest), without)
    assert tried.n == 500


def without_level(schema):
    return replace(schema, profiles=tuple(c for c in schema.profiles if c.name != "level"))


async def test_what_cannot_be_tried_is_refused(ground, tmp_path):
    artifact = await trained(write(tmp_path / "known", 1_500, seed=1), tmp_path, ground.home)
    model = registry.scorer(artifact.digest)
    permit, unlabelled = await read(write(tmp_path / "bare", 50, seed=2, outcomes=False), tmp_path)
    with pytest.raises(CannotTrain, match="outcome"):
        trial.run(permit, model, unlabelled)
    permit, other = await read(write(tmp_path / "other", 50, seed=3, category="shopping"), tmp_path)
    empty = replace(other, profiles=other.profiles.clear())
    with pytest.raises(CannotTrain, match="nobody was answered"):
        trial.run(permit, model, empty)


async def test_names_are_names_and_stand_for_the_last(ground):
    named.give("m-1", "a" * 64)
    named.give("m-1", "b" * 64)
    assert named.find("m-1") == "b" * 64
    with pytest.raises(NotFound):
        named.find("nobody")
    for bad in ("", "../x", "A", "a/b", "a" * 65, ".hidden"):
        with pytest.raises(Unacceptable):
            named.find(bad)
