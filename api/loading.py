"""What the operator does with data from the command line: bring people and behaviour, compute everybody's features."""

import asyncio
import json
import sys
from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import Progress

from api import bringing
from api.bringing import File, Table
from api.operating import OPERATOR
from api.running import Standing
from compliance import database as databases
from compliance import ids
from compliance.act import open_act, open_upkeep
from compliance.vocabulary import Purpose
from scoring import behaviour, behaviour_schema
from scoring.behaviour_schema import Schema
from scoring.buckets import BUCKETS
from scoring.store import compaction, intake, newcomers, relations, snapshot, statements
from scoring.store.intake import BehaviourBacklog, Received
from scoring.store.newcomers import Brought

ROWS_AT_ONCE, PEOPLE_AT_ONCE = 100_000, 10_000
TRIES_MAX, REST_SECONDS = 1_000, 0.2


async def load_people(found: Standing, source: str) -> int:
    """Bring the people of a file, of a folder, or of any address; run again, it goes on. As `bringing.bring` tells."""
    receive = partial(_registered, fictional=not found.settings.in_production)
    counts = ("accepted", "completed", "duplicate")
    people = Table("people", lambda path: File(behaviour.people_of(path), receive, PEOPLE_AT_ONCE), counts)
    return await bringing.bring(found, source, "people", [people])


async def _registered(piece: pl.DataFrame, *, fictional: bool) -> Brought:
    async with open_act(OPERATOR, None) as act:
        return await newcomers.receive(act, piece, fictional=fictional)


async def load(found: Standing, source: str) -> int:
    """Bring the profiles, edges and events of a folder, of a file (by its name; else events), or of any address.

    Run again, it goes on. As `bringing.bring` tells.
    """
    counts = ("accepted", "duplicate", "late")
    tables = (
        Table("profiles", _profiles, counts, described=True),
        Table("edges", _edges, counts),
        Table("events", _events, counts),
    )
    return await bringing.bring(found, source, "behaviour", tables)


def _profiles(path: Path) -> File:
    schema = behaviour_schema.read(path.with_name(bringing.SCHEMA))
    rows = behaviour.profiles_of(path, schema)
    return File(rows, partial(_stated, schema=schema), PEOPLE_AT_ONCE, statements.not_taken(schema))


async def _stated(piece: pl.DataFrame, schema: Schema) -> Received:
    async with open_act(OPERATOR, None) as act:
        return await statements.receive(act, piece, schema)


def _edges(path: Path) -> File:
    return File(behaviour.edges_of(path), _related, PEOPLE_AT_ONCE)


async def _related(piece: pl.DataFrame) -> Received:
    async with open_act(OPERATOR, None) as act:
        return await relations.receive(act, piece)


def _events(path: Path) -> File:
    return File(behaviour.events_of(path), _brought, ROWS_AT_ONCE)


async def _brought(piece: pl.DataFrame) -> Received:
    """Bring one piece; where too much waits to be filed, file it first."""
    while True:
        try:
            async with open_act(OPERATOR, None) as act:
                return await intake.receive(act, piece)
        except BehaviourBacklog:
            await file_everything()


async def file_everything() -> None:
    """Move every event that waits into its files; a bucket that somebody uses just then is tried again.

    Raises `BehaviourBacklog` where one is never free.
    """
    async with open_upkeep(OPERATOR) as upkeep:
        left = await compaction.waiting(upkeep)
    for _ in range(TRIES_MAX):
        left = [bucket for bucket in left if not await _filed(bucket)]
        if not left:
            return
        await asyncio.sleep(REST_SECONDS)
    raise BehaviourBacklog("files were in use all the time; run the same command again")


async def _filed(bucket: int) -> bool:
    async with open_upkeep(OPERATOR) as upkeep:
        return await compaction.compact(upkeep, bucket)


async def take_snapshot(found: Standing, cutoff: datetime) -> int:
    """Compute everybody's features from the store up to a moment; broken off, the same call goes on where it was.

    Prints how many people have features as one line of JSON.
    """
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        async with open_act(OPERATOR, Purpose.CREDIT_ASSESSMENT) as act:
            done = await snapshot.begin(act, cutoff)
        await file_everything()  # what came in before counts, what comes from now on is late
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("computing features", total=BUCKETS, completed=done.buckets_done)
            while not done.is_finished:
                async with open_act(OPERATOR, Purpose.CREDIT_ASSESSMENT) as act:
                    done = await snapshot.advance(act, done.id)
                bar.update(task, completed=done.buckets_done)
    told = {"snapshot": ids.public("snp", done.id), "cutoff": done.cutoff.isoformat(), "people": done.people}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0
