"""The auditor's check: everything the log and the maps of people claim is recomputed, and what was touched is named.

It needs no stopped system: it checks the log as long as it was at the beginning; what comes after is next time's.
What it cannot see: columns that no leaf names (grant, principal, purpose) of a fact whose person's key was erased,
and a missing checkpoint that nobody kept outside.
"""

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from compliance import facts, log, sequencer, verify_maps
from compliance.damage import Damage, Finding
from compliance.database import ground
from compliance.keys import Sealer
from compliance.log import Checkpoint, LogKey, NoteRefused
from compliance.sequencer import Opened, Row

BATCH = 16 * log.TILE_WIDTH  # whole tiles
FINDINGS_MAX = 100
EDGE_MAX = 100

# One statement, so one moment: the log's length, what was signed, every tile at its right edge or beyond it.
START = """
select head.size, head.signed, t.level, t.index, t.hashes
from (select (select coalesce(max(leaf_index) + 1, 0) from compliance_log) as size,
             (select coalesce(max(size), 0) from compliance_checkpoint) as signed) head
left join compliance_tile t
    on t.level not between 0 and 6 or t.index not between 0 and (1::bigint << 55) - 1
    or t.index >= head.size >> (8 * (least(greatest(t.level, 0), 6) + 1))
order by t.level, t.index limit $1
"""
LEAVES = """
select l.leaf_index, l.leaf, l.tenant, l.tenant_seq, l.person as log_person, l.person_seq, tag.tag, f.*
from compliance_log l
left join compliance_fact f on f.id = l.fact
left join compliance_tenant_tag tag
    on tag.tenant = l.tenant and tag.month = date_trunc('month', f.recorded_at at time zone 'UTC')::date
where l.leaf_index >= $1 and l.leaf_index < $2 order by l.leaf_index
"""
CHECKPOINTS = (
    "select size, root, note from compliance_checkpoint where size > $1 and size <= $2 order by size"
)
BROKEN = """
select leaf_index from (
    select leaf_index, {seq} - lag({seq}, 1, 0::bigint) over (partition by {whose} order by leaf_index) as step
    from compliance_log where leaf_index < $1 and {whose} is not null) steps
where step is distinct from 1 order by leaf_index limit $2
"""
PENDING = """
select count(*) as pending from compliance_fact f
where not exists (select from compliance_log l where l.fact = f.id)
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked and what was found; at most 100 findings are listed, `unlisted` counts the others.

    `erased` facts can no longer be read, by right: their leaves were checked. `pending` facts are committed and
    wait for the sequencer. `maps` of people were made again from the log.
    """

    size: int
    root: bytes
    erased: int
    pending: int
    checkpoints: int
    findings: tuple[Finding, ...]
    unlisted: int
    maps: int = 0

    @property
    def whole(self) -> bool:
        """Whether the log is what it was."""
        return not self.findings


Progress = Callable[[int, int], None]


async def verify(
    db: BaseDBAsyncClient,
    *,
    known_key: LogKey,
    against: str | None = None,
    progress: Progress = lambda _done, _size: None,
) -> Report:
    """Check the whole log, with the platform's rights, in batches of 4096 leaves.

    `against` is a signed checkpoint that was kept outside; it must have been read before. Raises `NoteRefused` when
    `known_key` did not sign it.
    """
    outside = log.read_note(against, known_key) if against else None
    walk = await _start(db, known_key, outside)
    for first in range(0, max(walk.size, 1), BATCH):
        if not await walk.step(first, min(first + BATCH, walk.size)):
            break
        progress(walk.done, walk.size)
    walk.maps = await verify_maps.check(db, walk.found)
    return await walk.end()


async def _start(db: BaseDBAsyncClient, key: LogKey, outside: Checkpoint | None) -> "_Walk":
    rows = await db.execute_query_dict(START, [EDGE_MAX])
    size, signed = rows[0]["size"], max(rows[0]["signed"], outside.size if outside else 0)
    edge = {(r["level"], r["index"]): r["hashes"] for r in rows if r["level"] is not None}
    walk = _Walk(db, key, outside, size, edge)
    if signed > size:
        walk.found(Damage.LEAF_MISSING, size, f"{signed} facts were signed for")
    return walk


@dataclass(slots=True)
class _Walk:
    """One pass over the log; `tiles` holds the recomputed right edge, `edge` the stored one."""

    db: BaseDBAsyncClient
    key: LogKey
    outside: Checkpoint | None
    size: int
    edge: Mapping[log.Place, bytes]
    tiles: dict[log.Place, bytes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unlisted: int = 0
    done: int = 0
    erased: int = 0
    checkpoints: int = 0
    maps: int = 0

    def found(self, damage: Damage, index: int, detail: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(damage, index, detail))
        else:
            self.unlisted += 1

    async def step(self, first: int, end: int) -> bool:
        """Check the leaves from `first` to before `end`; False when the tree cannot be followed any further."""
        stored = await sequencer.read_tiles(self.db, _touched(first, end))
        hashes = await self._leaf_hashes(first, end, stored)
        changed = log.append(self._tile, first, hashes)
        self.tiles |= changed
        for place, computed in changed.items():
            if len(computed) == log.TILE_BYTES:
                self._compare(place, computed, stored(*place))
        self.done = first + len(hashes)
        await self._check_signed(-1 if first == 0 else first, self.done)
        self.tiles = {p: h for p, h in self.tiles.items() if len(h) < log.TILE_BYTES}
        return self.done == end

    async def end(self) -> Report:
        """Check the right edge, the numbering, and the head that was kept outside."""
        if self.done == self.size:
            for place, computed in sorted(self.tiles.items()):
                self._compare(place, computed, self.edge.get(place, b""))
            for level, index in self.edge.keys() - self.tiles.keys():
                self.found(
                    Damage.TILE_CHANGED, self.size, f"tile {level}, {index} belongs to no tree of this size"
                )
        for whose in ("tenant", "person"):
            query = BROKEN.format(whose=whose, seq=f"{whose}_seq")
            for row in await self.db.execute_query_dict(query, [self.size, FINDINGS_MAX]):
                self.found(Damage.ORDER_BROKEN, row["leaf_index"], f"{whose}_seq is not the next")
        pending: int = (await self.db.execute_query_dict(PENDING))[0]["pending"]
        findings = tuple(sorted(self.findings, key=lambda f: f.index))
        root = log.root(self._tile, self.done)
        return Report(
            self.done, root, self.erased, pending, self.checkpoints, findings, self.unlisted, self.maps
        )

    def _tile(self, level: int, index: int) -> bytes:
        return self.tiles.get((level, index), b"")

    async def _leaf_hashes(self, first: int, end: int, stored: log.Tile) -> list[bytes]:
        """The hashes of leaves that are right; where one is not, the stored tile's, so that one damage is named once."""
        found = await self.db.execute_query_dict(LEAVES, [first, end])
        rows = {r["leaf_index"]: r for r in found}
        if len(rows) < len(found):
            self.found(Damage.ORDER_BROKEN, first, "several facts claim one place")
        sealers = await ground().key_store.sealers({r["person"] for r in found if r["person"]})
        hashes: list[bytes] = []
        for index in range(first, end):
            row, (tile, at) = rows.get(index), divmod(index, log.TILE_WIDTH)
            kept = stored(0, tile)[at * log.HASH_BYTES :][: log.HASH_BYTES]
            if row is not None and self._is_right(row, sealers):
                hashes.append(log.leaf_hash(row["leaf"]))
                continue
            if row is None:
                self.found(Damage.LEAF_MISSING, index, "nothing stands at this place of the log")
            if len(kept) < log.HASH_BYTES:
                break
            hashes.append(kept)
        return hashes

    def _is_right(self, row: Row, sealers: Mapping[UUID, Sealer]) -> bool:
        """Whether fact, commitment, columns and leaf agree; what does not is found."""
        index = row["leaf_index"]
        if row["id"] is None:
            self.found(Damage.FACT_MISSING, index, "the fact is gone")
            return False
        opened = sequencer.unseal(row, sealers)
        erased = row["person"] is not None and row["person"] not in sealers and opened is None
        if (opened is None and not erased) or (opened and not _commits(opened, row)):
            self.found(Damage.FACT_CHANGED, index, "the fact is not what was committed to")
            return False
        if (row["partner"], row["person"]) != (row["tenant"], row["log_person"]):
            self.found(Damage.FACT_CHANGED, index, "fact and log name another tenant or person")
            return False
        self.erased += erased
        sealed_seq = (
            sequencer.seal_person_seq(row["person_seq"], opened.person_salt)
            if opened
            else _stated_seq(row["leaf"])
        )
        entry = log.leaf(
            kind=row["kind"],
            at=row["recorded_at"],
            tenant_tag=row["tag"] or "",
            tenant_seq=row["tenant_seq"],
            commitment=row["commitment"],
            person_seq_commitment=sealed_seq,
        )
        if not hmac.compare_digest(entry, row["leaf"]):
            self.found(Damage.LEAF_CHANGED, index, "the leaf does not say what the fact and its numbers say")
            return False
        return True

    def _compare(self, place: log.Place, computed: bytes, stored: bytes) -> None:
        """Find the first hash in which the stored tile is not the recomputed one."""
        if stored == computed:
            return
        level, index = place
        same = next((n for n, (a, b) in enumerate(zip(computed, stored, strict=False)) if a != b), None)
        at = min(len(computed), len(stored)) if same is None else same
        leaf = (index * log.TILE_WIDTH + at // log.HASH_BYTES) << log.TILE_HEIGHT * level
        below = range(leaf, leaf + (1 << log.TILE_HEIGHT * level))
        if any(f.damage is Damage.TILE_CHANGED and f.index in below for f in self.findings):
            return  # a hash over a changed one is changed too: the lowest is the one to name
        path = log.write_path(log.TilePath(level, index))
        self.found(Damage.TILE_CHANGED, leaf, f"{path} is not what the leaves give")

    async def _check_signed(self, after: int, until: int) -> None:
        """Check every checkpoint of a size in this part, and the one kept outside."""
        rows = await self.db.execute_query_dict(CHECKPOINTS, [after, until])
        for row in rows:
            self.checkpoints += 1
            true = Checkpoint(self.key.name, row["size"], log.root(self._tile, row["size"]))
            if row["root"] != true.root or not self._signs(row["note"], true):
                self.found(
                    Damage.CHECKPOINT_CHANGED, true.size, "what was signed is not the head of these facts"
                )
        if self.outside is None or not after < self.outside.size <= until:
            return
        if log.root(self._tile, self.outside.size) != self.outside.root:
            self.found(
                Damage.FORKED, self.outside.size, "the head kept outside is not the head of these facts"
            )
        if self.outside.size not in {r["size"] for r in rows}:
            self.found(
                Damage.CHECKPOINT_MISSING, self.outside.size, "the head kept outside is not stored any more"
            )

    def _signs(self, note: str, checkpoint: Checkpoint) -> bool:
        try:
            return bool(log.read_note(note, self.key) == checkpoint)
        except NoteRefused:
            return False


def _touched(first: int, end: int) -> set[log.Place]:
    """Every tile that holds a leaf of this part, or a hash above one."""
    places: set[log.Place] = set()
    level, last = 0, end - 1
    while last > 0 or level == 0:
        first, last = first >> log.TILE_HEIGHT, last >> log.TILE_HEIGHT
        places |= {(level, index) for index in range(first, last + 1)}
        level += 1
    return places


def _commits(opened: Opened, row: Row) -> bool:
    """Whether the commitment is to this payload, and the payload says what the columns say."""
    payload, salt, _ = opened
    if not hmac.compare_digest(facts.commit_to(payload, salt), row["commitment"]):
        return False
    columns = {
        "at": row["recorded_at"].isoformat(),
        "fact": str(row["id"]),
        "grant": str(row["grant_id"]) if row["grant_id"] else None,
        "kind": row["kind"],
        "partner": str(row["partner"]),
        "person": str(row["person"]) if row["person"] else None,
        "principal": row["principal"],
        "purpose": row["purpose"],
    }
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and {k: v for k, v in said.items() if k != "what"} == columns


def _stated_seq(entry: bytes) -> bytes | None:
    """The commitment to the person's number as the leaf states it: nobody can recompute it after an erasure."""
    try:
        return bytes.fromhex(json.loads(entry)["person_seq_commitment"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
