"""What would help: true of the model, about what was shared and can be acted on, and no promise."""

import re
import tomllib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import inducing_words, small_models, world
from support.world import ALL

from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import Category, Language
from consent import permits
from scoring import companions, deciles, explanation, feature_catalogue, manifest, own_scores, registry, trees
from scoring.answers import hints
from scoring.answers.hints import CATALOGUE, LEAST_POINTS, MOST_STEPS
from scoring.features import Feature, Matrix
from scoring.scorer import InsufficientEvidence, Scorer

MODEL = small_models.loaded()
MATRIX, _ = small_models.people()
SPREAD = deciles.read(small_models.trained().files[manifest.DECILES])
WORDS = tomllib.loads(CATALOGUE.read_text("utf-8"))
REASONS = tomllib.loads(explanation.CATALOGUE.read_text("utf-8"))
CREDIT = Category.CREDIT_HISTORY


def found(row: int, shared=ALL, values=None):
    given_now = MATRIX.values[row] if values is None else values
    return hints.hints(MODEL, SPREAD, given_now, small_models.evidence(MATRIX, row), shared)


def points(row: int, values, shared=ALL) -> int:
    return MODEL.evaluate(values, small_models.evidence(MATRIX, row), shared).points


def test_making_the_change_moves_the_points_by_what_is_said():
    place = {each.name: n for n, each in enumerate(MODEL.manifest.inputs)}
    told = 0
    for row in range(300):
        for hint in found(row):
            told += 1
            moved = MATRIX.values[row].copy()
            for move in hint.moves:
                assert moved[place[move.feature]] == np.float32(move.value)
                moved[place[move.feature]] = np.float32(move.moved_to)
            assert points(row, moved) - points(row, MATRIX.values[row]) == hint.points >= LEAST_POINTS
    assert told > 50


def test_no_smaller_change_of_that_behaviour_would_do():
    place = {each.name: n for n, each in enumerate(MODEL.manifest.inputs)}
    looked_at = 0
    for row in range(300):
        for hint in found(row):
            (move,) = hint.moves
            between = [v for v in SPREAD[move.feature] if move.moved_to < v < move.value]
            for value in between:
                looked_at += 1
                moved = MATRIX.values[row].copy()
                moved[place[move.feature]] = value
                assert points(row, moved) - points(row, MATRIX.values[row]) < LEAST_POINTS
            assert len(between) < hint.steps <= MOST_STEPS
    assert looked_at > 5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, small_models.PEOPLE - 1), st.sets(st.sampled_from(sorted(ALL))))
def test_never_about_what_was_not_shared_nor_from_it(row, left_off):
    shared = ALL - left_off
    told = found(row, shared)
    assert {hint.category for hint in told} <= shared
    others = MATRIX.values[row].copy()
    others[[each.category in left_off for each in MODEL.manifest.inputs]] = 7
    assert found(row, shared, others) == told


def test_only_what_can_be_acted_on_the_better_way():
    directions = {each.name: each.monotone for each in MODEL.manifest.inputs}
    for row in range(200):
        for hint in found(row):
            assert REASONS[hint.code]["actionable"]
            for move in hint.moves:
                assert (move.moved_to - move.value) * directions[move.feature] < 0


def test_without_an_answer_there_is_no_hint():
    rows = [row for row in range(400) if not any(c[row] for c in MATRIX.active_days.values())]
    for row in rows or [0]:
        with pytest.raises(InsufficientEvidence):
            points(row, MATRIX.values[row], frozenset())
        assert found(row, frozenset()) == ()


def test_a_model_without_deciles_tells_none():
    row = next(row for row in range(300) if found(row))
    evidence = small_models.evidence(MATRIX, row)
    assert hints.hints(MODEL, {}, MATRIX.values[row], evidence, ALL) == ()


def test_deciles_are_values_that_people_have():
    fitted = MATRIX.values[small_models.split()[0]]
    for place, each in enumerate(MODEL.manifest.inputs):
        assert set(SPREAD[each.name]) <= set(fitted[:, place])
        assert (np.diff(SPREAD[each.name]) >= 0).all()


def directions_of(code: str) -> dict[str, int]:
    """The public catalogue's measures of one behaviour, and the direction of each."""
    everything = (*feature_catalogue.DEFINITIONS, *feature_catalogue.ASKED)
    return {each.name: each.monotone for each in everything if explanation.cause(each.reason).code == code}


@pytest.mark.parametrize("code", WORDS)
def test_every_word_is_for_a_behaviour_that_can_be_acted_on(code):
    words = WORDS[code]
    assert REASONS[code]["actionable"]
    assert REASONS[code]["version"] == words["version"]
    assert words.keys() == {"version", "way", "parts", "zh-CN", "en"}
    for language in Language:
        assert inducing_words.found(words[language.value]) == []
        assert all(inducing_words.found(part[language.value]) == [] for part in words["parts"].values())
    of_code = directions_of(code)
    named = [measure for part in words["parts"].values() for measure in part["measures"]]
    goes_with = [measure for part in words["parts"].values() for measure in part.get("goes_with", ())]
    assert len(named) == len(set(named))
    assert {of_code[each] for each in goes_with} <= {0}
    if words["way"] == "better":
        assert set(named) == {each for each, direction in of_code.items() if direction}
    else:
        assert (words["way"], set(of_code.values()), set(named)) == ("less", {0}, set(of_code))


# With all that the public catalogue has of two behaviours, as a model of real data has it

CODES = ("CH-001", "CH-011", "AA-001")


@cache
def whole() -> tuple[Scorer, deciles.Deciles, Matrix]:
    """A model of people of whom everything goes the better or the worse way together, with some noise."""
    random = np.random.default_rng(5)
    latent = random.normal(size=small_models.PEOPLE)
    of = [d for d in feature_catalogue.DEFINITIONS if explanation.cause(d.reason).code in CODES]
    named = tuple(
        Feature(f"{d.name}_{n}d", d.category, d.unit, n, d.monotone, d.why, d.reason, d.expression)
        for d in of
        for n in d.windows
    )
    columns = [(each.monotone or 1) * latent + random.normal(size=small_models.PEOPLE) for each in named]
    held = {each.category: np.full(small_models.PEOPLE, 60, np.int32) for each in named}
    values = np.asfortranarray(np.array(columns, np.float32).T)
    people = replace(small_models.people()[0], features=named, values=values, events=held, active_days=held)
    defaulted = random.random(small_models.PEOPLE) < 1 / (1 + np.exp(1.2 - 1.3 * latent))
    files = small_models.train(people, defaulted).files
    model = Scorer("0" * 64, manifest.decode(files[manifest.MANIFEST]), trees.read(files[manifest.TREES]))
    return model, deciles.read(files[manifest.DECILES]), people


def told_of(row: int, without: tuple[str, ...] = ()):
    """The hints of one of these people, were these features without a value."""
    model, spread, people = whole()
    values = people.values[row].copy()
    values[[each.name in without for each in model.manifest.inputs]] = np.nan
    return hints.hints(model, spread, values, small_models.evidence(people, row), frozenset(people.events))


def moved_measures(hint) -> set[str]:
    return {re.sub(r"_[0-9]+d$", "", move.feature) for move in hint.moves}


@pytest.mark.parametrize("language", Language)
def test_only_what_moved_is_said(language):
    said = set()
    for row in range(200):
        for hint in told_of(row):
            text = hints.words(hint.code, [move.feature for move in hint.moves], language)
            for name, part in WORDS[hint.code]["parts"].items():
                moves = not moved_measures(hint).isdisjoint(part["measures"])
                assert (part[language.value] in text) == moves, text
                said.add((hint.code, name, moves))
    assert {("CH-001", "late", True), ("CH-011", "paid", True), ("AA-001", "bills", True)} <= said
    assert {name for code, name, moves in said if code == "CH-001" and not moves}


def test_what_goes_with_something_of_no_direction_stays_as_it_is():
    """Who opens apps on more days also looks at more pages: what that does to the points, the model cannot say."""
    moved = {measure for row in range(200) for hint in told_of(row) for measure in moved_measures(hint)}
    assert moved > {"bill_checks", "payment_last", "days_late_mean"}
    assert not moved & {"page_view_days", "page_view_gap_mean", "page_view_days_since"}
    assert not moved & {"utilisation_last", "utilisation_mean"}
    alone = ("page_views_30d", "page_views_90d")
    moved = {
        measure for row in range(200) for hint in told_of(row, alone) for measure in moved_measures(hint)
    }
    assert "page_view_days" in moved


def test_two_parts_are_joined_by_and():
    moved = ["late_count_365d", "days_late_mean_90d", "days_late_deviation_365d"]
    assert hints.words("CH-001", moved, Language.EN) == (
        "If in the past year you had repaid your loans earlier, been late with your loans less often"
        " and repaid your loans at steadier times"
    )
    assert (
        hints.words("CH-001", moved[:2], Language.ZH_CN)
        == "如果您过去一年还借款更早一些、晚还借款的次数少一些"
    )


async def test_a_person_reads_it_with_their_score(database, home):
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        await world.open_channel()
        bank = await world.a_bank()
        row = next(row for row in world.rich_rows() if found(row, ALL - {Category.SHOPPING}))
        (person,) = await world.persons(1, rows=(row,))
        await world.granted(person, bank, categories=ALL - {Category.SHOPPING})
        score = await world.scored(bank, person)
        (hint, *_) = found(row, ALL - {Category.SHOPPING})
        async with open_act(person, None) as act:
            mine = await own_scores.one(act, permits.own_permit(act), score.id, Language.EN)
        assert mine.hints[0] == (hint, "If in the past year you had been late with your loans less often")
        browser = await here.browser(person)
        name = ids.public("scr", score.id)
        told = world.told(await browser.call("GET", f"/v1/me/scores/{name}?lang=zh-CN"), 200)
        assert told["hints"][0]["points"] == hint.points
        assert told["hints"][0]["text"] == "如果您过去一年晚还借款的次数少一些"
        assert "hints" not in world.told(await browser.call("GET", "/v1/me/scores"), 200)["items"][0]
        page = (await browser.call("GET", f"/me/scores/{name}")).text
        assert "如果您过去一年晚还借款的次数少一些" in page
        assert f"{hint.points}分" in page


async def test_a_score_outlives_its_model(ground):
    await world.put_model_in_use()
    await world.open_channel()
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    score = await world.scored(bank, person)
    folder = registry.folder(small_models.trained().digest)
    (folder / manifest.DECILES).unlink()
    registry._loaded.cache_clear()
    companions.spread.cache_clear()
    async with open_act(person, None) as act:
        mine = await own_scores.one(act, permits.own_permit(act), score.id, Language.EN)
    assert (mine.hints, mine.row.points) == ((), score.points)
