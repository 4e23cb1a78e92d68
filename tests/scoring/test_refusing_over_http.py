"""Refusing is never evidence, as a bank sees it: whatever was not shared, in whatever way, the same answer to the byte."""

import re
from itertools import combinations

import numpy as np
from support import small_models, world
from support.world import ALL

from compliance.vocabulary import Categories

RANDOM = re.compile(r'"(id|grant_id|issued_at|valid_until|fact_id|fact_promise|instance|trace_id)":"[^"]*",?')
WAYS = ("refused", "not_asked", "withdrawn", "empty", "other_data")
HIDDEN = [frozenset(chosen) for n in (1, 2, 3) for chosen in combinations(sorted(ALL), n)]


async def with_way(owner, bank, way: str, hidden: Categories) -> tuple[str, Categories]:
    """A person like all the others, who does not share `hidden` in this way; and what the bank asks for."""
    (person,) = await world.persons(1, rows=(world.rich_rows()[0],))
    shared = ALL - hidden
    if way == "withdrawn":
        before = await world.granted(person, bank)
        await world.withdrawn(person, before.id)
    if way in ("empty", "other_data"):
        await spoil(owner, person, hidden, empty=way == "empty")
    whole = way in ("not_asked", "empty")
    if way == "refused":
        await world.said_yes(person, await world.asked(bank), shared)
    else:
        await world.granted(person, bank, categories=ALL if whole else shared)
    return await world.pseudonym_of(person, bank), shared if way == "not_asked" else ALL


async def spoil(owner, person, hidden: Categories, *, empty: bool) -> None:
    """Take away what is held of some categories, or put something else in its place."""
    row = await owner.fetchrow("select * from scoring_feature where user_id = $1", person.user)
    values, model = np.frombuffer(row["vector"], "<f4").copy(), small_models.loaded()
    values[[each.category in hidden for each in model.manifest.inputs]] = np.nan if empty else 9.5
    held = [c not in hidden for c in model.categories]
    changed = [
        [n if keep else (0 if empty else 999) for n, keep in zip(row[name], held, strict=True)]
        for name in ("events", "active_days")
    ]
    await owner.execute(
        "update scoring_feature set vector = $2, events = $3, active_days = $4 where user_id = $1",
        person.user,
        values.tobytes(),
        *changed,
    )


async def test_no_way_of_not_sharing_changes_a_byte(database, home, owner):
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        await world.open_channel()
        bank = await here.software()
        answers: dict[Categories, set[str]] = {}
        for hidden in HIDDEN:
            for way in WAYS:
                user, wanted = await with_way(owner, bank.client, way, hidden)
                body = {"user": user, "purpose": "credit_assessment", "categories": sorted(wanted)}
                answer = await bank.call("POST", "/v1/scores", body)
                seen = f"{answer.status_code} {RANDOM.sub('', answer.text)}"
                answers.setdefault(hidden, set()).add(seen)
                assert answers[hidden] == {seen}, (sorted(hidden), way)
    assert len({seen for (seen,) in answers.values()}) == len(HIDDEN)  # and what is shared does matter
