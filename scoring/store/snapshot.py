"""Everybody's current features, computed from the store up to a moment: some buckets in one act, so that it can go on."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import polars as pl

from compliance import ids
from compliance.act import Act, Upkeep
from compliance.canonical import Json
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import UserId
from consent import disputes, permits
from consent.disputes import Wrong
from consent.permits import BUSINESS_ZONE, PopulationPermit
from scoring import features, population, registry
from scoring.behaviour import Behaviour
from scoring.behaviour_cells import UTC_TIME
from scoring.behaviour_schema import Schema
from scoring.buckets import BUCKETS
from scoring.measures import graph
from scoring.scorer import Scorer
from scoring.store import contacts, incoming, locks, profiles, relations, retention, shelf, statements
from scoring.store.profiles import Attributes
from scoring.tables import SnapshotRow

ATTRIBUTES = "select user_id, attributes from scoring_feature where user_id = any($1::uuid[])"
ROWS_AT_ONCE = 500_000
"""Events that one act takes, and the rest of the bucket that the last of them lies in."""
NEWER = "select user_id from scoring_feature where user_id = any($1::uuid[]) and data_cutoff > $2"
UNTIL = {"user": pl.String(), "category": pl.String(), "until": UTC_TIME}
FORGET_PREPARED = "delete from scoring_prepared where snapshot <> $1"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a snapshot has come."""

    id: UUID
    cutoff: datetime
    buckets_done: int
    people: int

    @property
    def is_finished(self) -> bool:
        """Whether every bucket was read."""
        return self.buckets_done == BUCKETS


async def begin(act: Act, cutoff: datetime) -> Progress:
    """Begin a snapshot for the model in use, or go on with one that was broken off. Records `snapshot_begun`.

    From here on what happened before the cut-off and comes in is late. Raises `Unacceptable` for a cut-off that lies
    ahead, before another snapshot's, or so far back that what it needs is deleted, and `NoModel`.
    """
    await locks.move_cutoff(act)
    await act.tick()  # later than all that came in before, earlier than all that will find the new cut-off
    model = await registry.champion(act)
    _refuse(cutoff <= act.now, "in_future", "a snapshot ends at a moment that is over")
    whole = await retention.is_whole(act, cutoff)
    _refuse(whole, "forgotten", "events that features of this moment look back to are deleted")
    last = await SnapshotRow.all().using_db(act.db).order_by("-cutoff", "-started_at").first()
    _refuse(last is None or cutoff >= last.cutoff, "before_last", "features never go back in time")
    row = last
    if row is None or row.finished_at or (row.model, row.cutoff) != (model.digest, cutoff):
        row = await SnapshotRow.create(
            id=ids.ordered_id(),
            model=model.digest,
            cutoff=cutoff,
            buckets_done=0,
            people=0,
            started_at=act.now,
            using_db=act.db,
        )
    told: dict[str, Json] = {"snapshot": ids.public("snp", row.id), "model": row.model}
    act.record("snapshot_begun", told | {"cutoff": cutoff.isoformat(), "bucket": row.buckets_done})
    return _progress(row)


def _refuse(holds: bool, code: str, detail: str) -> None:
    if not holds:
        raise Unacceptable("this cut-off cannot be used", Fault("/cutoff", code, detail))


async def advance(act: Act, snapshot: UUID) -> Progress:
    """Compute the features of the next buckets' people: of those whose data somebody may use, and only from these data.

    Records `population_permitted` and `features_stored`. What is read lies in files: what waits still is moved there
    first (`compaction`), or it comes late.
    """
    row = await SnapshotRow.filter(id=snapshot).using_db(act.db).select_for_update().get()
    if row.buckets_done < BUCKETS:
        first = row.buckets_done
        events, row.buckets_done = await _next_events(act, row)
        users = {*_people(events), *await statements.people_of(act, first, row.buckets_done)}
        users.update(await relations.people_of(act, first, row.buckets_done))
        row.people += await store(act, events, sorted(users), row)
        if row.buckets_done == BUCKETS:
            row.finished_at = act.now
            await act.db.execute_query(FORGET_PREPARED, [row.id])
        await row.save(using_db=act.db, update_fields=["people", "buckets_done", "finished_at"])
    return _progress(row)


def _progress(row: SnapshotRow) -> Progress:
    return Progress(row.id, row.cutoff, row.buckets_done, row.people)


async def _next_events(act: Act, row: SnapshotRow) -> tuple[pl.DataFrame, int]:
    """The events of whole buckets from the next one on, until one act has enough to do; and the bucket after them.

    What came in since the snapshot began is late for every bucket alike, whether it was read by then or not.
    """
    bucket, found, rows = row.buckets_done, [], 0
    while bucket < BUCKETS and rows < ROWS_AT_ONCE:
        await locks.share(act, [bucket])
        there = await asyncio.to_thread(shelf.read, bucket, before=row.cutoff)
        found.append(there.filter(pl.col("received_at") <= row.started_at))
        rows += found[-1].height + await statements.count(act, bucket) + await relations.count(act, bucket)
        bucket += 1
    return pl.concat(found), bucket


def _people(events: pl.DataFrame) -> list[UserId]:
    return [UserId(UUID(user)) for user in events["user"].unique(maintain_order=True)]


async def last_finished(at: Act | Upkeep) -> SnapshotRow | None:
    """The snapshot that everybody's features are from."""
    done = SnapshotRow.filter(finished_at__isnull=False).using_db(at.db)
    return await done.order_by("-cutoff", "-started_at").first()


async def store(act: Act, events: pl.DataFrame, users: Sequence[UserId], row: SnapshotRow) -> int:
    """Compute and keep the features of those of these people whose data somebody may use; how many.

    `events` are theirs, all of them before the snapshot's cut-off; what they stated is read here. Who has newer
    features keeps them. Records `population_permitted`, `features_stored`, and `correction_applied` of a kind that was
    found wrong and came anew.
    """
    newer = await act.db.execute_query_dict(NEWER, [list(users), row.cutoff])
    due = sorted(set(users) - {UserId(each["user_id"]) for each in newer})
    # What comes in while a snapshot is computed is late for everybody alike.
    came_by = None if row.finished_at else row.started_at
    stated = await statements.read(act, due, row.cutoff, came_by)
    wrong = await disputes.found_wrong(act, due)
    right, right_stated = _right(events, wrong), _right(stated, wrong)
    own = await contacts.right(act, due, row.cutoff, came_by)
    came = {pair for rows in (right, right_stated) for pair in rows.select("user", "category").iter_rows()}
    came |= {(user, graph.GRAPH) for end in relations.ENDS for user in own[end]}
    renewed = [each for each in wrong if (str(each.user), each.category) in came]
    permit = await permits.features_permit(act, due, row.cutoff, [(w.user, w.category) for w in renewed])
    people = tuple(sorted(permit.masks))
    scorer = registry.scorer(row.model)
    counted = profiles.newest(_shared(right_stated, permit))
    touched = await contacts.counted(act, own, permit, row.cutoff, came_by)
    given = _as_behaviour(_shared(right, permit), counted, touched.events, scorer)
    matrix = await asyncio.to_thread(_computed, scorer, given, people, row.cutoff)
    listed = profiles.attributes(people, await _held(act, people), stated, counted)
    uses = tuple(touched.uses.get(user, frozenset()) for user in people)
    await population.store(act, scorer, matrix, people, listed, uses)
    # What was found wrong is out of the features of these people only.
    await disputes.note_renewed(act, [w for w in renewed if w.category in permit.masks.get(w.user, ())])
    return len(people)


def _right(events: pl.DataFrame, wrong: Sequence[Wrong]) -> pl.DataFrame:
    """The events, or statements, that may count at all: none that came in before its kind was found wrong, none of a forbidden name."""
    known = [(str(each.user), each.category.value, each.until) for each in wrong]
    until = pl.DataFrame(known, schema=UNTIL, orient="row")
    found = incoming.still_right(events, until, ["user", "category"])
    return found.filter(~incoming.is_forbidden(found["name"]))


def _shared(events: pl.DataFrame, permit: PopulationPermit) -> pl.DataFrame:
    """The events, or statements, that somebody may use: of the others not even a feature is computed."""
    masks = [(str(user), category.value) for user, mask in permit.masks.items() for category in mask]
    allowed = pl.DataFrame(masks, schema={"user": pl.String, "category": pl.String}, orient="row")
    return events.join(allowed, on=["user", "category"], how="semi", maintain_order="left")


def _computed(
    scorer: Scorer, behaviour: Behaviour, people: tuple[UserId, ...], cutoff: datetime
) -> features.Matrix:
    asked = pl.DataFrame(
        {"user": [str(user) for user in people], "cutoff": [cutoff] * len(people)},
        schema={"user": pl.String(), "cutoff": pl.Datetime("us", "UTC")},
    )
    return features.compute(behaviour, asked, features.as_features(scorer.manifest.inputs))


def _as_behaviour(
    events: pl.DataFrame, stated: pl.DataFrame, touched: pl.DataFrame, scorer: Scorer
) -> Behaviour:
    """What the store holds, as the tables that features are computed from; contacts are events of both ends already."""
    columns = profiles.columns(scorer.manifest.inputs)
    schema = Schema(currency=None, timezone=str(BUSINESS_ZONE), profiles=columns, synthetic=False)
    no_edge = pl.DataFrame(schema={"user_a": pl.String(), "user_b": pl.String()})
    told = profiles.of(stated, columns)
    whole = Behaviour("store", schema, events, told, no_edge, pl.DataFrame(), events.height, 0)
    allowed = graph.both_granted(whole, ())
    return replace(allowed, events=pl.concat([allowed.events.select(touched.columns), touched]))


async def _held(act: Act, people: tuple[UserId, ...]) -> dict[UserId, Attributes]:
    """What lists may ask by, as it was known before."""
    rows: list[dict[str, Any]] = await act.db.execute_query_dict(ATTRIBUTES, [list(people)])
    return {
        UserId(row["user_id"]): json.loads(row["attributes"])
        if isinstance(row["attributes"], str)
        else row["attributes"]
        for row in rows
    }
