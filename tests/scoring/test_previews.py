"""What sharing can change: exact, on an invented person for everybody, on one's own data with a consent of its own."""

from dataclasses import replace
from datetime import timedelta
from itertools import islice

import numpy as np
import pytest
from support import small_models, world
from support.world import ALL

from compliance.act import open_act, open_upkeep, open_view
from compliance.database import Ground
from compliance.vocabulary import (
    OFFERED,
    OPERATOR,
    Categories,
    Category,
    GrantId,
    Language,
    Person,
    Purpose,
    Worker,
)
from consent import grants, notices
from consent.permits import ConsentFrequencyExceeded, ConsentMissing, ConsentPaused, ConsentWithdrawn
from consent.tables import GrantRow
from scoring import example, leaving_off, previews, registry
from scoring.answers import hints
from scoring.leaving_off import Line
from scoring.manifest import EXAMPLE
from scoring.release import NoLawfulChannel
from scoring.scorer import NO_ANSWER, InsufficientEvidence, Scorer, filled
from scoring.set_changes import SetChangedTooOften
from scoring.tables import PreviewRow

PURPOSE = Purpose.SELF_VIEW
Owner = "asyncpg.Connection[asyncpg.Record]"


def one_by_one(
    model: Scorer, values: np.ndarray, evidence: example.Evidence, shared: Categories
) -> list[Line]:
    """The same lines by the scorer's own way for one person."""
    found = []
    for left_off in (None, *sorted(shared)):
        try:
            told = model.evaluate(values, evidence, shared - {left_off} if left_off else shared)
            found.append(Line(left_off, told.points, told.band))
        except InsufficientEvidence:
            found.append(Line(left_off, None, None))
    return found


@pytest.mark.parametrize("shared", [ALL, frozenset({Category.SHOPPING}), OFFERED], ids=len)
def test_each_line_is_what_the_scorer_says_of_the_same_person(shared: Categories) -> None:
    model, (matrix, _) = small_models.loaded(), small_models.people()
    for row in range(0, small_models.PEOPLE, 40):
        values, evidence = matrix.values[row], small_models.evidence(matrix, row)
        assert list(leaving_off.lines(model, values, evidence, shared)) == one_by_one(
            model, values, evidence, shared
        )


def test_the_example_is_the_person_whom_leaving_data_off_moves_most_evenly() -> None:
    model, (matrix, _) = small_models.loaded(), small_models.people()
    written = small_models.trained().files[EXAMPLE]
    chosen = example.read(model, written)

    def evenness(values: np.ndarray, evidence: example.Evidence) -> int:
        lines = leaving_off.lines(model, values, evidence, ALL)
        if any(line.points is None for line in lines):
            return NO_ANSWER
        moves = [line.points - lines[0].points for line in lines[1:]]
        return min(sum(m for m in moves if m > 0), -sum(m for m in moves if m < 0))

    stated = model.manifest
    enough = filled(stated.inputs, stated.minimum, matrix.values, matrix.events, matrix.active_days)
    everybody = [
        evenness(matrix.values[row], small_models.evidence(matrix, row))
        for row in np.flatnonzero(enough.all(axis=1))
    ]
    assert evenness(chosen.values, chosen.evidence) == max(everybody) > 0


def test_a_model_that_reads_nothing_of_invented_people_has_no_example() -> None:
    matrix, defaulted = small_models.people()
    empty = replace(matrix, values=np.full_like(matrix.values, np.nan))
    assert EXAMPLE not in small_models.train(matrix, defaulted, invented=empty).files


async def test_the_example_needs_a_whole_model(ground: Ground) -> None:
    person = (await world.persons(1))[0]
    async with open_view(person) as view:
        assert await previews.on_example(view, ALL) == ()
    model = await world.put_model_in_use()
    async with open_view(person) as view:
        lines = await previews.on_example(view, OFFERED)
    assert [line.left_off for line in lines] == [None, *sorted(OFFERED)]
    unread = next(line for line in lines if line.left_off is Category.APP_ACTIVITY)
    assert replace(unread, left_off=None) == lines[0]  # what the model does not read changes nothing
    previews._on_example.cache_clear()
    file = registry.folder(model.digest) / EXAMPLE
    file.write_bytes(file.read_bytes().replace(b"1", b"2"))
    async with open_view(person) as view:
        assert await previews.on_example(view, ALL) == ()


async def agreed(person: Person, categories: Categories = ALL) -> GrantRow:
    shown = notices.current(PURPOSE, Language.EN).sha256
    async with open_act(person, PURPOSE) as act:
        await previews.give(act, categories, Language.EN, offered=OFFERED, shown=shown)
    async with open_view(person) as view:
        row = await grants.live(view, person.user, OPERATOR, PURPOSE)
    assert row
    return row


async def worked_out(person: Person, wanted: Categories = ALL) -> tuple[Line, ...]:
    async with open_act(person, PURPOSE) as act:
        return (await previews.work_out(act, wanted)).value


@pytest.fixture
async def model(ground: Ground) -> Scorer:
    return await world.put_model_in_use()


@pytest.fixture
async def person(model: Scorer) -> Person:
    await world.open_channel()
    return (await world.persons(1))[0]


async def test_on_ones_own_data_it_needs_a_consent_of_its_own(person: Person, owner: Owner) -> None:
    bank = await world.a_bank()
    await world.granted(person, bank)  # a bank's consent is none
    with pytest.raises(ConsentMissing):
        await worked_out(person)
    row = await agreed(person, frozenset({Category.SHOPPING, Category.CREDIT_HISTORY}))
    lines = await worked_out(person)
    assert [line.left_off for line in lines] == [None, Category.CREDIT_HISTORY, Category.SHOPPING]
    held = await owner.fetchrow("select vector from scoring_feature where user_id = $1", person.user)
    assert held
    whole = np.frombuffer(held["vector"], "<f4").astype(np.float32)
    row_of = world.rich_rows()[0]
    matrix, _ = small_models.people()
    assert np.array_equal(whole, matrix.values[row_of], equal_nan=True)
    assert list(lines) == one_by_one(
        small_models.loaded(),
        whole,
        small_models.evidence(matrix, row_of),
        frozenset({Category.SHOPPING, Category.CREDIT_HISTORY}),
    )
    assert "preview_made" in await world.kinds(owner, grant_id=row.id)


async def test_it_is_kept_for_the_person_alone_and_ends_with_the_consent(
    person: Person, owner: Owner
) -> None:
    bank, other = await world.a_bank(), (await world.persons(1))[0]
    row = await agreed(person)
    lines = await worked_out(person)
    async with open_view(person) as view:
        ((kept, shown),) = await previews.mine(view, person.user, GrantId(row.id))
    assert shown == lines
    helps = [
        (hint.points, hints.words(hint.code, (move.feature for move in hint.moves), Language.EN))
        for hint in small_models.hints(world.rich_rows()[0])
    ]
    assert [*previews.helps(kept, Language.EN)] == helps
    assert kept.keep_until - kept.made_at == timedelta(days=row.data_life_days)
    async with open_view(other) as view:
        assert await previews.mine(view, person.user, GrantId(row.id)) == []
    with pytest.raises(Exception, match="permission denied"):
        async with open_view(bank) as view:
            await PreviewRow.all().using_db(view.db)
    await world.withdrawn(person, row.id)
    assert await owner.fetchval("select count(*) from scoring_preview") == 0
    with pytest.raises(ConsentWithdrawn):
        await worked_out(person)


async def test_what_was_kept_long_enough_is_deleted(person: Person, owner: Owner) -> None:
    await agreed(person)
    await worked_out(person)
    await worked_out(person)
    await owner.execute(
        "update scoring_preview set keep_until = now() where id = (select max(id::text)::uuid from scoring_preview)"
    )
    async with open_upkeep(Worker("clerk")) as upkeep:
        await previews.forget_old(upkeep)
    assert await owner.fetchval("select count(*) from scoring_preview") == 1


async def test_it_leaves_through_the_release_gate(model: Scorer) -> None:
    person = (await world.persons(1))[0]
    await agreed(person)
    with pytest.raises(NoLawfulChannel):
        await worked_out(person)
    async with open_view(person) as view:
        assert not await previews.possible(view)
    await world.open_channel()
    async with open_view(person) as view:
        assert await previews.possible(view)
    assert await worked_out(person)


async def test_nobody_tries_set_after_set(person: Person, owner: Owner) -> None:
    sets = [ALL - {left_off} for left_off in islice(sorted(ALL), 3)]
    for chosen in (*sets[:2], sets[0], sets[1]):  # back to what was tried is free
        await agreed(person, chosen)
        await worked_out(person)
        await worked_out(person)
    await agreed(person, sets[2])
    with pytest.raises(SetChangedTooOften):
        await worked_out(person)
    await owner.execute("update consent_use set last_used_at = last_used_at - interval '91 days'")
    assert await worked_out(person)


async def test_giving_without_looking_is_no_try(person: Person) -> None:
    for left_off in sorted(ALL):
        await agreed(person, ALL - {left_off})
    assert await worked_out(person)


async def test_the_consents_own_limits_hold(person: Person, owner: Owner) -> None:
    row = await agreed(person)
    await owner.execute("update consent_grant set calls_per_month = 1 where id = $1", row.id)
    await worked_out(person)
    with pytest.raises(ConsentFrequencyExceeded):
        await worked_out(person)
    async with open_act(person, None) as act:
        await grants.pause(act, GrantId(row.id))
    with pytest.raises(ConsentPaused):
        await worked_out(person)
