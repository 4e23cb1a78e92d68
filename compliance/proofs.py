"""Proofs that hand a fact's place in the log to whoever may see the fact."""

from typing import ClassVar
from uuid import UUID

from compliance import log, sequencer
from compliance.act import Act, View
from compliance.log import Proof, TilePath
from compliance.refusals import NotFound, Refusal

NEWEST = "select size, note from compliance_checkpoint order by size desc limit 1"


class FactPending(Refusal):
    """The fact is committed; the log has not been signed over it yet."""

    status, code, title = 409, "fact_pending", "The fact is not in a signed checkpoint yet"
    headers: ClassVar = {"Retry-After": "1"}


async def of_fact(at: Act | View, fact: UUID) -> Proof:
    """The proof of inclusion of a fact the caller may see, against the newest checkpoint.

    `extra` is the leaf itself: its hash is what the proof proves, and its commitment is what a promise names.
    """
    rows = await at.db.execute_query_dict(
        """select l.leaf_index, l.leaf from compliance_fact f left join compliance_log l on l.fact = f.id
           where f.id = $1""",
        [fact],
    )
    if not rows:
        raise NotFound
    signed = await at.db.execute_query_dict(NEWEST)
    index = rows[0]["leaf_index"]
    if index is None or not signed or signed[0]["size"] <= index:
        raise FactPending("ask again in a second")
    size: int = signed[0]["size"]
    tile = await sequencer.read_tiles(at.db, log.places(index, size))
    return Proof(index, tuple(log.inclusion(tile, index, size)), signed[0]["note"], bytes(rows[0]["leaf"]))


async def newest_checkpoint(at: Act | View) -> str:
    """The newest signed checkpoint (C2SP tlog-checkpoint)."""
    signed = await at.db.execute_query_dict(NEWEST)
    if not signed:
        raise NotFound("nothing has been logged yet")
    note: str = signed[0]["note"]
    return note


async def tile(view: View, path: TilePath) -> bytes:
    """The hashes of a tile, as far as the newest checkpoint covers it."""
    await _refuse_uncovered(view, path)
    rows = await view.db.execute_query_dict(
        "select hashes from compliance_tile where level = $1 and index = $2", [path.level, path.index]
    )
    hashes: bytes = rows[0]["hashes"] if rows else b""
    return hashes[: path.width * log.HASH_BYTES]


async def entry_bundle(view: View, path: TilePath) -> bytes:
    """The leaves of a bundle, as far as the newest checkpoint covers it."""
    await _refuse_uncovered(view, path)
    rows = await view.db.execute_query_dict(
        "select leaf from compliance_leaves($1, $2)", [path.index * log.TILE_WIDTH, path.width]
    )
    return log.write_bundle(bytes(row["leaf"]) for row in rows)


async def _refuse_uncovered(view: View, path: TilePath) -> None:
    signed = await view.db.execute_query_dict(NEWEST)
    if not signed or log.width_at(path, signed[0]["size"]) < path.width:
        raise NotFound("the log is not signed that far")
