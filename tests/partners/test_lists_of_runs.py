"""Lists are made of the bank's last population run while it holds, and of the same answers worked out anew where not."""

from uuid import uuid4

import pytest
from support import world
from support.populations import here
from support.world import LISTING

from api import population
from compliance.act import open_act
from compliance.vocabulary import Category
from partners import prescreens
from scoring.runs import plans

SPOILT = "update scoring_feature set events = array_fill(0, array[cardinality(events)])"
"""From now on nobody's features carry an answer: whoever has one has it from the run."""


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return await world.a_bank()


async def granted(bank, count):
    people = await world.persons(count)
    return {person.user: (person, await world.granted(person, bank, LISTING)) for person in people}


async def listed(bank, **changes):
    prescreen = await world.list_wanted(bank, **changes)
    row = await world.list_made()
    if row.state != "ready":
        return set()
    async with open_act(bank, LISTING) as act:
        return {entry.user_id for entry in await prescreens.entries(act, prescreen, after=None, limit=500)}


async def test_a_list_is_what_the_run_says_and_the_same_without_it(bank, owner):
    people = await granted(bank, 8)
    before = await listed(bank, cap=5)
    await population.score_everybody("alpha", here)
    assert await listed(bank, cap=5) == before
    await owner.execute(SPOILT)
    assert await listed(bank, cap=5) == before
    assert await listed(bank) == set(people)


async def test_who_consented_since_the_run_is_listed_too(bank, owner):
    people = await granted(bank, 3)
    await population.score_everybody("alpha", here)
    await owner.execute(SPOILT)
    later = await granted(bank, 2)
    assert await listed(bank) == {*people, *later}


async def test_who_shares_something_else_now_is_judged_by_that(bank, owner):
    people = await granted(bank, 3)
    await population.score_everybody("alpha", here)
    changed, grant = next(iter(people.values()))
    await world.withdrawn(changed, grant.id)
    await world.granted(changed, bank, LISTING, categories=frozenset({Category.DECLARED}))
    assert await listed(bank) == set(people) - {changed.user}


@pytest.mark.parametrize(
    "newer",
    [
        "update scoring_feature set data_cutoff = data_cutoff + interval '1 day'",
        """insert into scoring_snapshot (id, model, cutoff, buckets_done, people, started_at, finished_at)
           select '{id}', '', now(), 256, 0, now() - interval '1 day', now()""",
    ],
)
async def test_with_newer_features_the_run_holds_no_more(bank, owner, newer):
    await granted(bank, 3)
    await population.score_everybody("alpha", here)
    await owner.execute(SPOILT)
    await owner.execute(newer.format(id=uuid4()))
    assert await listed(bank) == set()


async def test_another_banks_run_and_one_that_is_not_finished_say_nothing(bank, owner):
    people = await granted(bank, 3)
    beta = await world.a_bank("beta")
    for person, _ in people.values():
        await world.granted(person, beta, LISTING)
    run, _ = await population.score_everybody("beta", here)
    await owner.execute(SPOILT)
    assert await listed(bank) == set()
    assert await listed(beta) == set(people)
    (run / plans.MANIFEST).unlink()
    assert await listed(beta) == set()


@pytest.mark.parametrize("spoilt", [plans.POINTS, plans.PLAN, plans.MANIFEST])
async def test_a_damaged_run_holds_up_no_list(bank, spoilt):
    people = await granted(bank, 3)
    run, _ = await population.score_everybody("alpha", here)
    file = next((run / spoilt).iterdir()) if spoilt == plans.POINTS else run / spoilt
    file.write_bytes(file.read_bytes()[:-1])
    assert await listed(bank) == set(people)
