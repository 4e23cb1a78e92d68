"""Events as an operator brings them, and people under references that it knows."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import uuid4

import polars as pl
from support import world

from api import loading
from compliance.act import open_act
from compliance.vocabulary import Category, Person, Purpose, UserId
from consent import people
from consent.people import NewPerson
from scoring.behaviour_files import LINE, RECORD
from scoring.behaviour_schema import ProfileColumn, Role, Schema
from scoring.store import incoming, intake, relations, snapshot, statements
from scoring.store.intake import Received
from scoring.store.snapshot import Progress


async def known(count: int = 1, born_on: date | None = date(1990, 5, 1)) -> dict[str, UserId]:
    """People whom the operator has brought, by its references."""
    async with open_act(world.STORY, None) as act:
        return await people.bring(
            act, [NewPerson(str(uuid4()), born_on, fictional=True) for _ in range(count)]
        )


def in_session(user: UserId) -> Person:
    """The person, signed in."""
    return Person(user, uuid4(), datetime.now(UTC), "one_time_link")


def event(reference: str, **changes: object) -> dict[str, object]:
    """An event that is right, unless something is changed."""
    right = {
        "user": reference,
        "at": "2026-01-01T08:00:00+08:00",
        "category": "shopping",
        "name": "order_paid",
        "value": 12.5,
        "count": 2,
        "attributes": {"shop": "s-1"},
    }
    return right | changes


async def received(events: Sequence[dict[str, object]]) -> Received:
    """Brought by the operator's own process."""
    async with open_act(world.STORY, None) as act:
        return await intake.receive(act, incoming.raw(events))


async def stated(reference: str, column: str, said: str) -> Received:
    """One thing that somebody stated, brought by the operator's own process."""
    of = ProfileColumn(column, "category", Category.DECLARED, frozenset({Role.FEATURE}))
    schema = Schema(currency=None, timezone="Asia/Shanghai", profiles=(of,), synthetic=False)
    cells = {"user": [reference], "known_at": [None], column: [said], RECORD: [None]}
    table = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String)).with_row_index(LINE, 1)
    async with open_act(world.STORY, None) as act:
        return await statements.receive(act, table, schema)


async def related(reference: str, other: str, kind: str) -> Received:
    """Two people were in touch; brought by the operator's own process."""
    cells = {"user_a": [reference], "user_b": [other], "kind": [kind], "at": ["2026-01-01T00:00:00Z"]}
    cells |= {"weight": ["1"], RECORD: [None]}
    table = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String)).with_row_index(LINE, 1)
    async with open_act(world.STORY, None) as act:
        return await relations.receive(act, table)


async def filed() -> None:
    """Everything that waits is in files now."""
    await loading.file_everything()


async def begun(cutoff: datetime) -> Progress:
    """A snapshot is begun, and what came in before is in files."""
    async with open_act(world.STORY, Purpose.CREDIT_ASSESSMENT) as act:
        done = await snapshot.begin(act, cutoff)
    await filed()
    return done


async def advanced(done: Progress) -> Progress:
    """The next act of a snapshot."""
    async with open_act(world.STORY, Purpose.CREDIT_ASSESSMENT) as act:
        return await snapshot.advance(act, done.id)


async def taken(cutoff: datetime) -> Progress:
    """A whole snapshot."""
    done = await begun(cutoff)
    while not done.is_finished:
        done = await advanced(done)
    return done
