"""The invented population: stamped, sourced, reproducible in parts, and with a truth that can be found again."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from compliance.vocabulary import Category
from scoring import behaviour, features, synthetic, synthetic_people

CUTOFF = datetime(2026, 6, 1, 3, 30, tzinfo=UTC)
TABLES = ("events", "profiles", "outcomes")


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    synthetic.generate(folder, users=2_500, seed=7, cutoff=CUTOFF)
    return behaviour.read(folder, folder / "quarantine")


def area_under_curve(defaulted, score):
    ranks = pl.Series(score).rank().to_numpy()
    bad = int(defaulted.sum())
    return (ranks[defaulted].sum() - bad * (bad + 1) / 2) / (bad * (len(score) - bad))


def test_it_is_canonical_and_nothing_is_set_aside(population):
    assert population.quarantined == 0
    assert population.profiles.height == population.outcomes.height == 2_500
    assert population.events.height <= 2_500 * 400
    assert population.schema.currency == "CNY"


def test_every_file_is_stamped(tmp_path):
    synthetic.generate(tmp_path, users=10, seed=1, cutoff=CUTOFF)
    assert json.loads((tmp_path / "schema.json").read_text())["synthetic"] is True
    assert behaviour.read(tmp_path, tmp_path / "q").schema.synthetic
    for table in TABLES:
        assert pl.read_parquet_metadata(tmp_path / f"{table}.parquet")["synthetic"] == "true"


def test_a_person_is_the_same_in_any_size_of_population(population, tmp_path):
    synthetic.generate(tmp_path, users=1_200, seed=7, cutoff=CUTOFF)
    small = behaviour.read(tmp_path, tmp_path / "q")
    users = small.profiles["user"]
    for table in TABLES:
        whole = getattr(population, table).filter(pl.col("user").is_in(users.implode()))
        assert whole.equals(getattr(small, table))


def test_no_two_shards_are_the_same_people(population):
    first, second = (population.profiles.slice(start, 1_000).drop("user") for start in (0, 1_000))
    assert (first["birth_date"] == second["birth_date"]).mean() < 0.01


def test_the_seed_decides(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthetic.generate(tmp_path / name, users=50, seed=seed, cutoff=CUTOFF)
    a, b, c = ((tmp_path / n / "events.parquet").read_bytes() for n in "abc")
    assert a == b
    assert a != c


def test_outcomes_have_had_their_year(population):
    outcomes = population.outcomes
    assert (outcomes["observed_until"] >= outcomes["decided_at"] + timedelta(days=365)).all()
    assert (outcomes["observed_until"] <= CUTOFF).all()
    assert ((outcomes["days_past_due_max"] >= 90) == outcomes["defaulted"]).all()
    assert 0.03 < outcomes["defaulted"].mean() < 0.07


def test_events_go_on_to_the_cutoff_and_no_further(population):
    for category in (
        Category.DEVICE_USAGE,
        Category.APP_ACTIVITY,
        Category.SHOPPING,
        Category.CREDIT_HISTORY,
    ):
        last = population.events.filter(pl.col("category") == category)["at"].max()
        assert CUTOFF - timedelta(days=3) < last < CUTOFF


def test_there_is_behaviour_before_the_decision(population):
    rows = population.outcomes.select("user", cutoff="decided_at")
    matrix = features.compute(population, rows, features.chosen(population, frozenset(Category)))
    assert (matrix.events[Category.DEVICE_USAGE] > 0).mean() > 0.95
    thin = (matrix.events[Category.CREDIT_HISTORY] == 0).mean()
    assert 0.33 < thin < 0.5  # no loan ever, or none yet


def test_marginals_come_out_as_their_rows_say(population):
    shares = population.profiles["employment"].value_counts(normalize=True)
    for category, share in synthetic_people.shares("employment").items():
        assert shares.filter(pl.col("employment") == category)["proportion"].item() == pytest.approx(
            share, abs=0.03
        )
    rank = np.array([0.1, 0.5, 0.9, 0.99])
    assert synthetic_people.at_quantile("salary_per_month", rank) == pytest.approx([3000, 4500, 8000, 20000])


def lateness(population):
    late = population.events.filter(pl.col("name") == "loan_first_repaid_days_late")
    known = late.join(population.outcomes, on="user").filter(pl.col("at") < pl.col("decided_at"))
    return known.group_by("user").agg(pl.col("value").mean(), pl.col("defaulted").first())


def test_the_planted_truth_shows_in_behaviour_and_not_without_signal(population, tmp_path):
    found = lateness(population)
    assert area_under_curve(found["defaulted"].to_numpy(), found["value"].to_numpy()) > 0.6
    synthetic.generate(tmp_path, users=2_500, seed=7, cutoff=CUTOFF, signal=0.0)
    null = behaviour.read(tmp_path, tmp_path / "q")
    assert null.events.equals(population.events)  # the same behaviour, which now says nothing
    found = lateness(null)
    assert 0.42 < area_under_curve(found["defaulted"].to_numpy(), found["value"].to_numpy()) < 0.58
    assert 0.03 < null.outcomes["defaulted"].mean() < 0.07


def test_probability_depends_on_traits_alone_with_the_base_rate_kept():
    people = synthetic_people.draw(np.random.default_rng(1), 20_000, CUTOFF.date())
    assert synthetic_people.probability_of_default(people.traits, 1.0).mean() == pytest.approx(
        0.05, abs=0.005
    )
    assert np.ptp(synthetic_people.probability_of_default(people.traits, 0.0)) == 0
    by_sex = [
        synthetic_people.probability_of_default(people.traits, 1.0)[np.array(people.sex) == sex].mean()
        for sex in ("male", "female")
    ]
    assert by_sex[0] == pytest.approx(by_sex[1], abs=0.006)


def test_a_marginal_without_a_source_stops_the_build():
    header = "variable,category,share_or_quantile,value,source,status\n"
    assert synthetic_people.read(header + "x,,0.5,,somewhere,MEASURED\n")[0].share_or_quantile == 0.5
    for row in ("x,,0.5,, ,MEASURED", "x,,0.5,,somewhere,GUESSED", "x,,0.5"):
        with pytest.raises(ValueError, match="row 2"):
            synthetic_people.read(header + row + "\n")


def test_what_is_recalled_is_named():
    assert synthetic_people.recalled() == ("sex", "education", "region")


def test_shares_of_a_variable_add_up():
    for variable in ("sex", "education", "region", "employment"):
        assert sum(synthetic_people.shares(variable).values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "change", [{"users": 0}, {"users": 10**9}, {"seed": -1}, {"cutoff": CUTOFF.replace(tzinfo=None)}]
)
def test_what_cannot_be_meant_is_an_error(tmp_path, change):
    with pytest.raises(ValueError, match=r"users|zone"):
        synthetic.generate(tmp_path, **({"users": 10, "seed": 1, "cutoff": CUTOFF} | change))


@pytest.fixture(scope="module")
def of_every_category(tmp_path_factory):
    folder = tmp_path_factory.mktemp("every_category")
    synthetic.generate(folder, users=1_200, seed=7, cutoff=CUTOFF, every_category=True)
    return behaviour.read(folder, folder / "quarantine")


def test_every_category_adds_to_the_set_and_changes_nothing_of_it(population, of_every_category):
    assert of_every_category.quarantined == 0
    users = of_every_category.profiles["user"]
    further = of_every_category.events.filter(~pl.col("category").is_in(elsewhere_categories()))
    order = ["user", "at", "name"]
    before = population.events.filter(pl.col("user").is_in(users.implode()))
    assert further.sort(order, maintain_order=True).equals(before.sort(order, maintain_order=True))
    assert of_every_category.outcomes.equals(population.outcomes.head(1_200))
    assert {Category(c) for c in of_every_category.events["category"]} == frozenset(Category) - {
        Category.DECLARED,
        Category.SOCIAL_GRAPH,
    }
    assert of_every_category.events["at"].max() < CUTOFF
    assert of_every_category.edges["at"].max() < CUTOFF


def elsewhere_categories():
    return [c.value for c in (Category.LOCATION_RHYTHM, Category.FITNESS, Category.SMART_HOME)]


def test_what_is_not_offered_can_be_measured_of_invented_people(of_every_category):
    rows = of_every_category.outcomes.select("user", cutoff="decided_at")
    found = features.chosen(of_every_category, frozenset(Category))
    matrix = features.compute(of_every_category, rows, found)
    for category in (*map(Category, elsewhere_categories()), Category.SOCIAL_GRAPH):
        assert 0.2 < (matrix.events[category] > 0).mean() < 0.9, category
        own = [i for i, f in enumerate(found) if f.category is category]
        assert len(own) >= 10
        varied = np.nanstd(matrix.values[:, own].astype(float), axis=0) > 0
        assert varied.all(), [
            found[i].name for i, is_varied in zip(own, varied, strict=True) if not is_varied
        ]


def test_the_graph_alone_says_little_and_somebody_else_of_like_traits_is_a_little_nearer(of_every_category):
    edges, defaulted = of_every_category.edges, of_every_category.outcomes.select("user", "defaulted")
    assert (edges["user_a"] != edges["user_b"]).all()
    pairs = edges.select("user_a", "user_b").unique()
    ends = pairs.join(defaulted, left_on="user_a", right_on="user").join(
        defaulted, left_on="user_b", right_on="user", suffix="_b"
    )
    both = (ends["defaulted"] & ends["defaulted_b"]).mean() / (
        ends["defaulted"].mean() * ends["defaulted_b"].mean()
    )
    assert 0.7 < both < 2


def test_an_unshown_person_is_in_nobodys_edges(tmp_path):
    synthetic.generate(tmp_path, users=50, seed=7, cutoff=CUTOFF, every_category=True)
    few = behaviour.read(tmp_path, tmp_path / "q")
    assert set(few.edges["user_a"]) | set(few.edges["user_b"]) <= set(few.profiles["user"])
