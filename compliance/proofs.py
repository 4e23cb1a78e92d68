"""Proofs that hand a fact's place in the log to whoever may see the fact."""

from collections.abc import Sequence
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
    found = await of_facts(at, [fact])
    if fact not in found:
        raise NotFound
    proof = found[fact]
    if proof is None:
        raise FactPending("ask again in a second")
    return proof


async def of_facts(at: Act | View, facts: Sequence[UUID]) -> dict[UUID, Proof | None]:
    """The proofs of those facts that the caller may see, in three queries; None where a fact is pending."""
    rows = await at.db.execute_query_dict(
        """select f.id, l.leaf_index, l.leaf from compliance_fact f left join compliance_log l on l.fact = f.id
           where f.id = any($1::uuid[])""",
        [list(facts)],
    )
    signed = await at.db.execute_query_dict(NEWEST)
    size = signed[0]["size"] if signed else 0
    placed = {r["id"]: r for r in rows if r["leaf_index"] is not None and r["leaf_index"] < size}
    wanted = {place for r in placed.values() for place in log.places(r["leaf_index"], size)}
    tile = await sequencer.read_tiles(at.db, wanted)
    proofs: dict[UUID, Proof | None] = {row["id"]: None for row in rows}
    for fact, row in placed.items():
        path = tuple(log.inclusion(tile, row["leaf_index"], size))
        proofs[fact] = Proof(row["leaf_index"], path, signed[0]["note"], bytes(row["leaf"]))
    return proofs


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
