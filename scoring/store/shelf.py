"""The files of the behaviour store: for each bucket a few Parquet parts that together hold its events, each event once.

What is in two parts counts once (by its digest): so a part that was written twice, or a merge that was killed half-way,
changes nothing. Whoever calls holds the bucket's lock (`intake`): shared to read, alone to write.
"""

import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import polars as pl

from compliance import ids
from compliance.database import ground
from scoring.behaviour_cells import UTC_TIME

PARTS_MAX = 8
"""Of one bucket; beyond that its parts become one."""
GROUP_ROWS = 65_536
"""Rows of a part are in the order of their times: whoever looks for some times reads some groups."""
SCHEMA = {
    "user": pl.String(),
    "at": UTC_TIME,
    "category": pl.String(),
    "name": pl.String(),
    "value": pl.Float64(),
    "count": pl.Int32(),
    "attributes": pl.String(),
    "late": pl.Boolean(),
    "digest": pl.Binary(),
    "received_at": UTC_TIME,
}
ORDER = ("at", "digest")


def folder() -> Path:
    """Where the store's files are."""
    return ground().home / "behaviour"


def parts(bucket: int) -> list[Path]:
    """The parts of a bucket."""
    return sorted((folder() / f"{bucket:02x}").glob("*.parquet"))


def read(
    bucket: int, *, before: datetime | None = None, users: Collection[str] | None = None
) -> pl.DataFrame:
    """The events of a bucket, each once: those before a moment, those of some people."""
    if not (found := parts(bucket)):
        return pl.DataFrame(schema=SCHEMA)
    events = pl.scan_parquet(found)
    if before is not None:
        events = events.filter(pl.col("at") < before)
    if users is not None:
        events = events.filter(pl.col("user").is_in(list(users)))
    return events.unique("digest").sort(ORDER).collect()


def known(buckets: Collection[int], digests: pl.Series, since: datetime, until: datetime) -> set[bytes]:
    """Which of these events, of times from `since` to `until`, are in the files already."""
    found = [part for bucket in buckets for part in parts(bucket)]
    if not found:
        return set()
    there = (
        pl.scan_parquet(found)
        .filter(pl.col("at").is_between(since, until))
        .select("digest")
        .join(digests.alias("digest").to_frame().lazy(), on="digest", how="semi")
        .collect()
    )
    return set(there["digest"])


def add(bucket: int, events: pl.DataFrame) -> None:
    """Add events to a bucket, as one more part; where there are too many, all become one."""
    _write(bucket, events)
    if len(parts(bucket)) > PARTS_MAX:
        merge(bucket)


def merge(bucket: int, without: Collection[str] = (), over: pl.Expr | None = None) -> None:
    """Make one part of all of a bucket's, without the events of some people and without those that are over.

    Also what a killed writer left goes.
    """
    before = parts(bucket)
    _sweep(bucket)
    events = read(bucket).filter(~pl.col("user").is_in(list(without)))
    if over is not None:
        events = events.filter(~over)
    if events.height:
        _write(bucket, events)
    for part in before:
        part.unlink()
    if before:
        _sync(before[0].parent)


def drop(bucket: int, over: pl.Expr) -> int:
    """Write a bucket's files anew without the events that are over; how many these were. None: nothing is written."""
    found = parts(bucket)
    if not found:
        return 0
    gone = pl.scan_parquet(found).filter(over).select("digest").unique().collect().height
    if gone:
        merge(bucket, over=over)
    return gone


def _write(bucket: int, events: pl.DataFrame) -> None:
    """Write one part, whole on the disk before it has its name, for nobody else to read: a crash leaves all or nothing."""
    place = folder() / f"{bucket:02x}"
    if not place.is_dir():
        for each in (folder(), place):
            each.mkdir(mode=0o700, exist_ok=True)
        _sync(folder().parent)
        _sync(folder())
    _sweep(bucket)
    name = ids.ordered_id().hex
    written = place / f"{name}.tmp"
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        events.select(list(SCHEMA)).sort(ORDER).write_parquet(out, row_group_size=GROUP_ROWS)
        out.flush()
        os.fsync(out.fileno())
    written.rename(place / f"{name}.parquet")
    _sync(place)


def _sweep(bucket: int) -> None:
    """Remove what a killed writer did not finish: who is deleted since must not lie in it."""
    for left in (folder() / f"{bucket:02x}").glob("*.tmp"):
        left.unlink()


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
