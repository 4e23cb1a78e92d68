"""A model is trained on a folder nobody here has seen, and tried on people it never saw."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from support.research_sets import write

from compliance.act import open_act
from compliance.refusals import NotFound, Unacceptable
from compliance.vocabulary import Category, Purpose, Worker
from consent import permits
from scoring import behaviour, development, evaluation, named, registry, training, trial
from scoring.boosting import Recipe
from scoring.training import CannotTrain

DEVELOPER = Worker("developer")
QUICK = Recipe(trees=40, student_trees=30, depth=3, learning_rate=0.1, copies=2, folds=2, twins=4)


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


def outcomes(rows):
    """(user, days since the first decision, days observed, defaulted) of each application."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "user": [row[0] for row in rows],
            "decided_at": [start + timedelta(days=row[1]) for row in rows],
            "observed_until": [start + timedelta(days=row[1] + row[2]) for row in rows],
            "defaulted": [row[3] for row in rows],
            "days_past_due_max": [90 if row[3] else 0 for row in rows],
        }
    )


def test_an_early_default_counts_once_its_vintage_can_be_seen_through():
    seen = outcomes(
        [
            ("a", 0, 800, False),
            ("b", 1, 150, True),
            ("c", 2, 300, False),
            ("d", 700, 60, True),
            ("e", 3, 400, False),
        ]
    )
    assert development._target(seen) == (development.Scale.PRODUCT, 300)
    assert development._mature(seen, 365).tolist() == [True, True, False, False, True]


def test_people_who_were_fitted_on_are_not_held_out_where_others_are_enough():
    repeated = outcomes([(f"user-{n % 150}", n, 400, n % 3 == 0) for n in range(300)])
    new = outcomes([(f"user-{n}", n, 400, n % 3 == 0) for n in range(300)])
    everybody = np.ones(300, np.bool_)
    fit, held, how = development.split(repeated, everybody, least=50)
    assert (how, int(held.sum())) == ("time_70_30", 90)
    fit, held, how = development.split(new, everybody, least=50)
    assert (how, int(held.sum()), (fit & held).any()) == ("time_70_30_new_people", 90, False)
    mixed = pl.concat(
        [new.head(250), repeated.head(50).with_columns(decided_at=pl.lit(new["decided_at"][-1]))]
    )
    fit, held, _ = development.split(mixed, everybody, least=30)
    users = mixed["user"].to_numpy()
    assert not set(users[held]) & set(users[fit])


def test_intervals_are_of_people_and_not_of_rows():
    random = np.random.default_rng(1)
    risk, bad = random.normal(size=300), random.random(300) < 0.3
    often = np.repeat(np.arange(300), 10)
    narrow = evaluation.bootstrap(evaluation.auc, risk[often], bad[often], seed=1)
    wide = evaluation.bootstrap(evaluation.auc, risk[often], bad[often], seed=1, user_of=often)
    assert wide == evaluation.bootstrap(evaluation.auc, risk, bad, seed=1)
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
