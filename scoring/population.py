"""The current features of every person who can be scored: written in batches, read only with a permit."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from compliance.act import Act
from compliance.refusals import NotFound
from compliance.vocabulary import Categories, UserId
from consent import agreeing
from consent.permits import Permit, PopulationPermit
from scoring import registry
from scoring.features import Matrix
from scoring.governance import places
from scoring.manifest import ModelAltered
from scoring.measures.graph import GRAPH
from scoring.scorer import Evidence, InsufficientEvidence, Scorer, pack

BATCH = 1_000
INSERT = """
insert into scoring_feature (user_id, model, vector, events, active_days, attributes, snapshot, data_cutoff, contacts_for)
select p.id, $2, $3::bytea, $4::int[], $5::int[], $6::jsonb, $7, $8::timestamptz, $9::text[]
from consent_person p where p.id = $1 and p.erased_at is null for share of p
on conflict (user_id) do update set model = excluded.model, vector = excluded.vector, events = excluded.events,
    active_days = excluded.active_days, attributes = excluded.attributes, snapshot = excluded.snapshot,
    data_cutoff = excluded.data_cutoff, contacts_for = excluded.contacts_for
    where scoring_feature.data_cutoff <= excluded.data_cutoff
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of one person, reduced to what a permit names: nothing else was ever in memory with a name."""

    values: NDArray[np.float32]
    evidence: Evidence
    snapshot: str
    data_cutoff: datetime


@dataclass(frozen=True, slots=True)
class Everybody:
    """Those of a population who have features, and what lists may ask them by, row i being `users[i]`'s."""

    users: tuple[UserId, ...]
    attributes: tuple[Mapping[str, str | int | bool | None], ...]


async def store(
    act: Act,
    scorer: Scorer,
    matrix: Matrix,
    users: tuple[UserId, ...],
    attributes: tuple[Mapping[str, str | int | bool | None], ...],
    uses: tuple[frozenset[str], ...] | None = None,
) -> None:
    """Keep the current features of people, row i of the matrix being `users[i]`'s. Records `features_stored`.

    `uses[i]` are those that their contacts were counted for; to no other do they count. Of a stamped set none is told.
    Who was deleted while the batch was made ready gets none: their row is locked against that, one way or the other.
    Newer features of theirs stay.
    """
    rows = []
    for i, user in enumerate(users):
        events = [int(matrix.events[c][i]) if c in matrix.events else 0 for c in scorer.categories]
        days = [int(matrix.active_days[c][i]) if c in matrix.active_days else 0 for c in scorer.categories]
        vector = pack(matrix.values[i])
        told = json.dumps(attributes[i], sort_keys=True)
        counted = None if uses is None else sorted(uses[i])
        rows.append(
            [user, scorer.digest, vector, events, days, told, matrix.digest, matrix.cutoffs[i], counted]
        )
    for start in range(0, len(rows), BATCH):
        await act.db.execute_many(INSERT, rows[start : start + BATCH])
    act.record("features_stored", {"count": len(rows), "snapshot": matrix.digest, "model": scorer.digest})


async def read(act: Act, permit: Permit, scorer: Scorer) -> Held:
    """One person's current features, only of the categories that the permit names.

    They may follow another model's list, as after a roll-back, if it measures all that this model reads.
    """
    rows = await act.db.execute_query_dict(
        """select model, vector, events, active_days, snapshot, data_cutoff, contacts_for from scoring_feature
           where user_id = $1""",
        [permit.user],
    )
    if not rows:
        raise InsufficientEvidence
    row = rows[0]
    events, days = row["events"], row["active_days"]
    filled_by = scorer if row["model"] == scorer.digest else _earlier(row["model"])
    if filled_by is None:
        raise InsufficientEvidence
    vector = filled_by.read(bytes(row["vector"]))
    if filled_by is not scorer:
        found = places.find(filled_by.manifest, scorer.manifest)
        if found is None:
            raise InsufficientEvidence
        vector = vector[found.inputs]
        events, days = [events[n] for n in found.categories], [days[n] for n in found.categories]
    usable = permit.categories if contacts_count(row["contacts_for"], permit) else permit.categories - {GRAPH}
    values = reduce(vector, scorer, usable)
    evidence = evidence_of(scorer, events, days, usable)
    return Held(values, evidence, row["snapshot"], row["data_cutoff"])


def _earlier(digest_of_model: str) -> Scorer | None:
    """A model that was in use before, as far as its files are still there and right."""
    try:
        return registry.scorer(digest_of_model)
    except ModelAltered:
        return None


def contacts_count(counted_for: Collection[str] | None, permit: Permit | PopulationPermit) -> bool:
    """Whether somebody's contacts were counted for this use: else another end may not have agreed to it."""
    return counted_for is None or agreeing.use_of(permit) in counted_for


def reduce(values: NDArray[np.float32], scorer: Scorer, shared: Categories) -> NDArray[np.float32]:
    """Make missing whatever is not shared."""
    allowed = np.array([each.category in shared for each in scorer.manifest.inputs])
    return np.where(allowed, values, np.float32("nan")).astype(np.float32)


def evidence_of(scorer: Scorer, events: list[int], days: list[int], shared: Categories) -> Evidence:
    """How much there is of each shared category."""
    kept = [(c, e, d) for c, e, d in zip(scorer.categories, events, days, strict=True) if c in shared]
    return Evidence({c: e for c, e, _ in kept}, {c: d for c, _, d in kept})


async def read_everybody(act: Act, permit: PopulationPermit, scorer: Scorer) -> Everybody:
    """Everybody in a population permit who has features of this model, in the order of their ids."""
    rows = await act.db.execute_query_dict(
        """select user_id, attributes from scoring_feature
           where user_id = any($1::uuid[]) and model = $2 order by user_id""",
        [list(permit.grants), scorer.digest],
    )
    if not rows:
        raise NotFound("nobody in this population has features")
    users = tuple(UserId(row["user_id"]) for row in rows)
    return Everybody(users, tuple(_read_attributes(row["attributes"]) for row in rows))


def _read_attributes(
    stored: str | Mapping[str, str | int | bool | None],
) -> Mapping[str, str | int | bool | None]:
    read: Mapping[str, str | int | bool | None] = json.loads(stored) if isinstance(stored, str) else stored
    return read
