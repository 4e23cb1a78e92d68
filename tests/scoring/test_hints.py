"""What would help: true of the model, about what was shared and can be acted on, and no promise."""

import tomllib

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
from scoring import deciles, explanation, feature_catalogue, manifest, own_scores, registry
from scoring.answers import hints
from scoring.answers.hints import CATALOGUE, LEAST_POINTS, MOST_STEPS
from scoring.scorer import InsufficientEvidence

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


@pytest.mark.parametrize("code", WORDS)
def test_every_word_is_for_a_behaviour_that_can_be_acted_on(code):
    words = WORDS[code]
    assert REASONS[code]["actionable"]
    assert REASONS[code]["version"] == words["version"]
    assert words.keys() == {"version", "way", "zh-CN", "en"}
    for language in Language:
        assert inducing_words.found(words[language.value]) == []
    of_code = [each for each in feature_catalogue.DEFINITIONS if each.reason == code]
    if words["way"] == "better":
        assert any(each.monotone for each in of_code)
    else:
        assert words["way"] == "less"
        assert not of_code


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
        assert mine.hints[0] == (hint, WORDS[hint.code]["en"])
        browser = await here.browser(person)
        name = ids.public("scr", score.id)
        told = world.told(await browser.call("GET", f"/v1/me/scores/{name}?lang=zh-CN"), 200)
        assert told["hints"][0]["points"] == hint.points
        assert told["hints"][0]["text"] == WORDS[hint.code]["zh-CN"]
        assert "hints" not in world.told(await browser.call("GET", "/v1/me/scores"), 200)["items"][0]
        page = (await browser.call("GET", f"/me/scores/{name}")).text
        assert WORDS[hint.code]["zh-CN"] in page
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
    registry.spread.cache_clear()
    async with open_act(person, None) as act:
        mine = await own_scores.one(act, permits.own_permit(act), score.id, Language.EN)
    assert (mine.hints, mine.row.points) == ((), score.points)
