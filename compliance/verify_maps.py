"""The auditor's check of the newest maps of people: each is made again from the log, and whose entry is wrong is named.

People are named by the index of their entry, which says nothing without their key. Where a person's key was erased
after the map was made, their entry cannot be made again: as many entries may be nobody's, and no more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from compliance import completeness, map_making, people_map, sequencer
from compliance.completeness import Incomplete, Published
from compliance.damage import Damage
from compliance.people_map import Entry

MAPS_CHECKED = 2

MAPS = """
select f.*, l.leaf_index, m.day, m.size, m.padded, m.keyless, m.tops, m.payload, m.salt
from compliance_fact f
left join compliance_log l on l.fact = f.id
left join compliance_person_map m on m.fact = f.id
where f.kind = $1 order by f.seq desc limit $2
"""
STORED = """
select index, value from compliance_person_map_entry where day = $1 and index = any($2::bytea[])
"""
COUNT = "select count(*) as entries from compliance_person_map_entry where day = $1"

Found = Callable[[Damage, int, str], None]
Row = Mapping[str, Any]


async def check(db: BaseDBAsyncClient, found: Found) -> int:
    """Check the newest maps, telling `found` what is wrong; returns how many there were."""
    rows = await db.execute_query_dict(MAPS, [completeness.MAP_KIND, MAPS_CHECKED])
    for row in rows:
        said = _said(row)
        if said is None or not await _is_stored(db, row, said):
            found(Damage.MAP_CHANGED, _where(row), f"the stored map is not the one told on {_day(row)}")
        else:
            await _Remake(db, row, said, found).run()
    return len(rows)


@dataclass(slots=True)
class _Remake:
    """One map, made again from the log as it is now; `present` entries were found where they must be."""

    db: BaseDBAsyncClient
    row: Row
    said: Published
    found: Found
    present: int = 0
    keyless: int = 0

    async def run(self) -> None:
        after: UUID | None = map_making.ALL_PEOPLE
        while after is not None:
            people, after = await map_making.newest_leaves(self.db, self.said.size, after)
            entries = await map_making.entries_for(people, self.said.day)
            self.keyless += len(people) - len(entries)
            await self._compare(list(entries.values()))
        for first in range(0, self.row["padded"], map_making.BATCH):
            count = min(map_making.BATCH, self.row["padded"] - first)
            await self._compare(map_making.of_nobody(self.said.day, first, count))
        total: int = (await self.db.execute_query_dict(COUNT, [self.said.day]))[0]["entries"]
        unknown = total - self.present - max(0, self.keyless - self.row["keyless"])
        if unknown > 0:
            self._incomplete(f"the log knows nothing of {unknown} people who have entries in the map")

    async def _compare(self, entries: list[Entry]) -> None:
        rows = await self.db.execute_query_dict(STORED, [self.said.day, [e.index for e in entries]])
        stored = {r["index"]: r["value"] for r in rows}
        self.present += len(stored)
        for entry in entries:
            if entry.index not in stored:
                self._incomplete(f"the log has facts of the person at {entry.index.hex()}, the map has none")
            elif stored[entry.index] != entry.value:
                self._incomplete(f"the log does not hold what the map counted at {entry.index.hex()}")

    def _incomplete(self, detail: str) -> None:
        self.found(Damage.PERSON_INCOMPLETE, _where(self.row), f"{self.said.day}: {detail}")


def _said(row: Row) -> Published | None:
    opened = sequencer.unseal(row, {})
    try:
        return completeness.read_payload(opened.payload) if opened else None
    except Incomplete:
        return None


async def _is_stored(db: BaseDBAsyncClient, row: Row, said: Published) -> bool:
    """Whether the map is still the one whose root the fact names."""
    opened = sequencer.unseal(row, {})
    if opened is None or (row["day"], row["size"]) != (said.day, said.size):
        return False
    if (row["payload"], row["salt"]) != (opened.payload, opened.salt):
        return False
    tops = await map_making.fold(db, said.day, said.entries)
    return people_map.root(tops) == said.root and b"".join(tops) == row["tops"]


def _where(row: Row) -> int:
    index: int | None = row["leaf_index"]
    return row["size"] or 0 if index is None else index


def _day(row: Row) -> date:
    recorded: date = row["recorded_at"].date()
    return recorded
