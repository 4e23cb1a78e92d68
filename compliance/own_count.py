"""How many facts about a person the log holds: told to them with its proof, checked as they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from compliance import completeness, facts, ids, log, map_making, people_map, sequencer
from compliance.act import Act, View
from compliance.completeness import Counted, CountProof, MapFact, OwnEntry, PersonProof, Place
from compliance.database import ground
from compliance.keys import Sealer
from compliance.log import LogKey, NoteRefused, TileDamaged
from compliance.refusals import Refusal
from compliance.vocabulary import UserId

# The newest map whose fact is under a signed checkpoint.
MAP = """
select m.day, m.size, m.taken_at, m.tops, m.payload, m.salt, p.leaf_index, p.leaf, head.size as signed, head.note
from compliance_person_map m join compliance_person_map_places() p on p.day = m.day
cross join (select size, note from compliance_checkpoint order by size desc limit 1) head
where p.leaf_index < head.size order by m.day desc limit 1
"""
LISTED = """
select count(*) filter (where l.leaf_index < $2) as counted, count(*) as listed
from compliance_fact f left join compliance_log l on l.fact = f.id where f.person = $1
"""
NEWEST = """
select leaf, person_seq from compliance_log
where person = $1 and leaf_index < $2 order by person_seq desc limit 1
"""
ENTRIES = """
select l.fact, l.leaf_index, l.leaf from compliance_log l
where l.person = $1 and l.leaf_index < $2 order by l.person_seq limit $3
"""


class LogProofUnavailable(Refusal):
    """There is no map that covers the person yet, or too much to write into one file."""

    status, code, title = 409, "log_proof_unavailable", "The proof cannot be made now"


@dataclass(frozen=True, slots=True)
class OwnCount:
    """What the check gave: `listed` are on the person's own list, `counted` of them before `until`.

    `none`: no map covers the log yet. `failed`: the list, the log and the map do not agree; the list may lack something.
    """

    state: Literal["verified", "none", "failed"]
    listed: int
    counted: int = 0
    until: datetime | None = None

    @property
    def since(self) -> int:
        """How many came after the map was made."""
        return self.listed - self.counted


async def of(at: View, user: UserId) -> OwnCount:
    """Count what is listed, and check that number against the newest map as an outsider would."""
    row, sealers = await _map(at), await ground().key_store.sealers([user])
    size = row["size"] if row else 0
    found = (await at.db.execute_query_dict(LISTED, [user, size]))[0]
    if row is None or user not in sealers:
        return OwnCount("none", found["listed"])
    try:
        proven = completeness.check_count(await _count_proof(at, user, sealers[user], row), _log_key())
    except (NoteRefused, TileDamaged):
        return OwnCount("failed", found["listed"], found["counted"], row["taken_at"])
    right = proven == Counted(row["day"], size, found["counted"])
    return OwnCount("verified" if right else "failed", found["listed"], found["counted"], row["taken_at"])


def report(act: Act, user: UserId, count: OwnCount) -> None:
    """Let staff know that a person saw the check fail. Records `own_log_incomplete`."""
    act.record("own_log_incomplete", {"counted": count.counted, "listed": count.listed}, person=user)


async def proof(at: View, user: UserId) -> PersonProof:
    """Everything that lets the person check the count without us."""
    row, sealers = await _map(at), await ground().key_store.sealers([user])
    if row is None or user not in sealers:
        raise LogProofUnavailable("no map covers your entries yet; one is made each day")
    rows = await at.db.execute_query_dict(ENTRIES, [user, row["size"], completeness.OWN_ENTRIES_MAX + 1])
    if len(rows) > completeness.OWN_ENTRIES_MAX:
        raise LogProofUnavailable(
            f"more than {completeness.OWN_ENTRIES_MAX} entries do not fit into one file"
        )
    try:
        return await _person_proof(at, user, sealers[user], row, rows)
    except TileDamaged:
        raise LogProofUnavailable(
            "the log does not hold together; staff were told if you saw your list"
        ) from None


async def _person_proof(
    at: View, user: UserId, sealer: Sealer, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> PersonProof:
    counted = await _count_proof(at, user, sealer, row)
    wanted = set().union(*(log.places(r["leaf_index"], row["signed"]) for r in rows))
    tile = await sequencer.read_tiles(at.db, wanted)
    entries = tuple(
        OwnEntry(
            ids.public("fct", r["fact"]),
            facts.person_salt(sealer, r["fact"]),
            _place(tile, r, row["signed"]),
        )
        for r in rows
    )
    return PersonProof(completeness.FORMAT, counted, entries)


async def _map(at: View) -> Mapping[str, Any] | None:
    rows = await at.db.execute_query_dict(MAP)
    return rows[0] if rows else None


async def _count_proof(at: View, user: UserId, sealer: Sealer, row: Mapping[str, Any]) -> CountProof:
    """What the log says now of the person, with what the map said then: the check finds out if they agree."""
    key, tops = people_map.map_key(sealer.key), map_making.cut(row["tops"])
    index, bits = people_map.index_of(key, row["day"]), (len(tops) - 1).bit_length()
    bucket = await map_making.bucket(at.db, row["day"], people_map.bucket_of(index, bits), bits)
    path, end = people_map.prove(index, bucket, tops)
    tile = await sequencer.read_tiles(at.db, log.places(row["leaf_index"], row["signed"]))
    newest = await at.db.execute_query_dict(NEWEST, [user, row["size"]])
    return CountProof(
        key=key,
        count=newest[0]["person_seq"] if newest else 0,
        head=log.leaf_hash(newest[0]["leaf"]) if newest else None,
        map=MapFact(row["payload"], row["salt"], _place(tile, row, row["signed"])),
        path=path,
        other=end if end and end.index != index else None,
        checkpoint=row["note"],
    )


def _place(tile: log.Tile, row: Mapping[str, Any], size: int) -> Place:
    index = row["leaf_index"]
    return Place(index, row["leaf"], tuple(log.inclusion(tile, index, size)))


def _log_key() -> LogKey:
    return LogKey(ground().origin, ground().keyring.log_public_bytes())
