"""Portraits: coarse, by published rules, only with their categories shared."""

import numpy as np
import pytest
from support import small_models, world
from support.world import ALL, told

from compliance.vocabulary import Category, Purpose
from scoring import deciles, feature_catalogue, manifest
from scoring.answers import portraits
from scoring.answers.portraits import Measure, Rule, Step
from scoring.population import Held

MODEL = small_models.loaded()
MATRIX, _ = small_models.people()
SPREAD = deciles.read(small_models.trained().files[manifest.DECILES])
CREDIT, SHOPPING = Category.CREDIT_HISTORY, Category.SHOPPING
RULES = """
[risk_appetite]
version = 1
categories = ["credit_history", "shopping"]
measures = [{ feature = "late_count_30d", more = true }, { feature = "shopping_0", more = false }]
[product_need]
version = 2
categories = ["shopping"]
measures = [{ feature = "shopping_0", more = true }, { feature = "of_another_model", more = true }]
"""
APPETITE = Rule(
    "risk_appetite",
    1,
    frozenset({CREDIT, SHOPPING}),
    (Measure("late_count_30d", True), Measure("shopping_0", False)),
)
NEED = Rule("product_need", 2, frozenset({SHOPPING}), (Measure("shopping_0", True),))


def drawn(values, shared=ALL, rules=(APPETITE, NEED)):
    row = world.rich_rows()[0]
    held = Held(values, small_models.evidence(MATRIX, row), "", MATRIX.cutoffs[row])
    return portraits.drawn(MODEL, SPREAD, rules, held, shared)


def with_values(**changed):
    values = MATRIX.values[world.rich_rows()[0]].copy()
    for n, each in enumerate(MODEL.manifest.inputs):
        values[n] = changed.get(each.name, values[n])
    return values


@pytest.mark.parametrize(("value", "step"), [(-9, Step.LOW), (0, Step.MEDIUM), (9, Step.HIGH)])
def test_a_step_is_where_somebody_stands_among_people(value, step):
    assert drawn(with_values(shopping_0=value))["product_need"] is step


def test_more_of_one_and_less_of_another_make_it_high():
    assert drawn(with_values(late_count_30d=9, shopping_0=-9))["risk_appetite"] is Step.HIGH
    assert drawn(with_values(late_count_30d=9, shopping_0=9))["risk_appetite"] is Step.MEDIUM
    assert drawn(with_values(late_count_30d=-9, shopping_0=9))["risk_appetite"] is Step.LOW


def test_an_attribute_needs_all_its_categories_and_reads_no_other():
    assert drawn(with_values(), ALL - {CREDIT}).keys() == {"product_need"}
    assert drawn(with_values(), ALL - {SHOPPING}) == {}
    first = drawn(with_values(), frozenset({SHOPPING}))
    assert drawn(with_values(late_count_30d=99), frozenset({SHOPPING})) == first


def test_what_is_not_held_is_not_drawn():
    nothing = np.full_like(with_values(), np.nan)
    assert drawn(nothing) == {}
    assert (
        drawn(with_values(), rules=(Rule("x", 1, frozenset({SHOPPING}), (Measure("unknown", True),)),)) == {}
    )


def test_the_published_rules_name_features_of_their_categories():
    known = {f"{d.name}_{w}d": d.category for d in feature_catalogue.DEFINITIONS for w in d.windows}
    assert {rule.attribute for rule in portraits.rules()} == {"risk_appetite", "product_need"}
    for rule in portraits.rules():
        assert {known[measure.feature] for measure in rule.measures} == rule.categories


async def test_over_http(database, home, tmp_path, monkeypatch):
    (tmp_path / "rules.toml").write_text(RULES)
    monkeypatch.setattr(portraits, "CATALOGUE", tmp_path / "rules.toml")
    portraits.rules.cache_clear()
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        software = await here.software()
        people = await world.persons(2, rows=(world.rich_rows()[0],))
        await world.granted(people[0], software.client, Purpose.PORTRAIT)
        await world.granted(people[1], software.client, Purpose.PORTRAIT, categories=ALL - {CREDIT})
        bodies = [
            {
                "user": await world.pseudonym_of(person, software.client),
                "purpose": "portrait",
                "categories": sorted(ALL),
            }
            for person in people
        ]
        told(await software.call("POST", "/v1/portraits", bodies[0]), 403)
        await world.open_channel()
        made = await software.call("POST", "/v1/portraits", bodies[0], key="one")
        whole = told(made, 201)
        assert whole["attributes"].keys() == {"risk_appetite", "product_need"}
        assert whole["attributes"]["product_need"]["version"] == 2
        assert told(await software.call("GET", made.headers["Location"]), 200) == whole
        part = told(await software.call("POST", "/v1/portraits", bodies[1]), 201)
        assert part["attributes"] == {"product_need": whole["attributes"]["product_need"]}
        assert part["coverage"]["used"] == ["shopping"]
        (mine,) = told(await (await here.browser(people[1])).call("GET", "/v1/me/answers"), 200)["items"]
        assert (mine["kind"], mine["portrait"]) == ("portrait", {"attributes": part["attributes"]})
    portraits.rules.cache_clear()
