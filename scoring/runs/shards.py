"""The files of a population run: people's features in, their points out; private, and whole or not there at all."""

import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
import polars as pl
from numpy.typing import NDArray

from scoring.policy import BANDS
from scoring.runs.faults import ShardUnusable
from scoring.scorer import NO_ANSWER, Evaluations, Values

Types = dict[str, type[pl.DataType] | pl.DataType]
Kept = Callable[[pl.DataFrame], pl.DataFrame]
"""Which rows of a shard stay, in their order, judged by `KEYS`."""

USER: Final[Types] = {"user_high": pl.UInt64, "user_low": pl.UInt64}
"""The 128 bits of a user's id: two numbers are read faster than text, and sort as the id does."""
MASK = "mask"
KEYS: Final = [*USER, MASK]
KEYED: Final = pl.Schema({**USER, MASK: pl.UInt16})
POINTS: Final = pl.Schema(
    {**USER, MASK: pl.UInt16, "points": pl.Int16, "band": pl.Enum(BANDS), "log_odds": pl.Float64}
)
"""`log_odds` are calibrated log-odds of default. Without an answer all three are null."""
HALF = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every file of a run says of itself: `data` is `people`, or says by what it was made up."""

    model: str
    permit: str
    data_cutoff: str
    data: str


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was written: its SHA-256, and the CRC-32 that finds damage at a fraction of the cost.

    Who could change a feature shard on purpose could change the plan beside it as well: there CRC-32 is enough.
    """

    digest: str
    crc32: int


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Rows of a feature shard, each a user with one set of shared categories, sorted by both.

    `values` is float32 [row, input]; `events` and `active_days` are int32 [row, category]; bit n of a mask says that
    the n-th of the model's categories is shared.
    """

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    masks: NDArray[np.uint16]
    values: Values
    events: NDArray[np.int32]
    active_days: NDArray[np.int32]


def name(number: int) -> str:
    """What a shard's file is called."""
    return f"{number:05}.parquet"


def user(high: int, low: int) -> UUID:
    """The user of whom a shard holds these halves."""
    return UUID(int=high << 64 | low)


def place(user: UUID, shards: int) -> int:
    """Which shard holds a user."""
    return int.from_bytes(hashlib.sha256(user.bytes).digest()[:8]) % shards


def halves(user: UUID) -> tuple[int, int]:
    """A user's id as it stands in a shard."""
    return user.int >> 64, user.int & HALF


def write_features(file: Path, stamp: Stamp, people: People) -> Written:
    """Write a feature shard."""
    columns: dict[str, NDArray[np.generic]] = {
        "user_high": people.high,
        "user_low": people.low,
        MASK: people.masks,
    }
    kinds = {"value": people.values, "events": people.events, "active_days": people.active_days}
    for kind, table in kinds.items():
        columns |= {f"{kind}_{n}": table[:, n] for n in range(table.shape[1])}
    return _write(file, pl.DataFrame(columns), stamp)


def read_features(file: Path, stamp: Stamp, crc32: int, inputs: int, categories: int) -> pl.DataFrame:
    """A feature shard, refused if it is damaged, or says another stamp of itself than this."""
    expected: Types = {**USER, MASK: pl.UInt16}
    expected |= {f"value_{n}": pl.Float32 for n in range(inputs)}
    expected |= {f"{kind}_{n}": pl.Int32 for kind in ("events", "active_days") for n in range(categories)}
    content = _content(file)
    if zlib.crc32(content.getbuffer()) != crc32:
        raise ShardUnusable(f"{file.name} is damaged")
    table = _read(file, content, stamp, pl.Schema(expected))
    if sum(table.null_count().row(0)):
        raise ShardUnusable(f"{file.name} has rows without a number")
    return table


def write_points(
    file: Path, stamp: Stamp, people: pl.DataFrame, found: Evaluations, cutoffs: tuple[int, ...]
) -> str:
    """Write the points of the rows of a feature shard, in its order; returns its SHA-256."""
    band = sum((found.points < cutoff).astype(np.uint8) for cutoff in cutoffs)
    answered = pl.col("points") != NO_ANSWER
    table = people.select(*USER, MASK).with_columns(
        pl.Series("points", found.points),
        pl.Series("band", np.asarray(band, np.uint8)).cat.to(pl.Enum(BANDS)),
        pl.Series("log_odds", found.log_odds),
    )
    shown = (pl.when(answered).then(column) for column in ("points", "band", "log_odds"))
    return _write(file, table.with_columns(shown), stamp).digest


def read_points(file: Path, stamp: Stamp, digest: str) -> pl.DataFrame:
    """A shard of points, refused unless it is byte for byte the one of this digest and says this stamp of itself."""
    content = _content(file)
    if hashlib.sha256(content.getbuffer()).hexdigest() != digest:
        raise ShardUnusable(f"{file.name} is damaged")
    return _read(file, content, stamp, POINTS)


def is_whole(file: Path, digest: str) -> bool:
    """Whether a file is there, byte for byte the one of this digest."""
    try:
        with file.open("rb", buffering=0) as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


def reduce(file: Path, kept: Kept) -> tuple[int, Written] | None:
    """Write a shard again with the rows that are kept, and say how many are left; nothing where all of them are."""
    rows = pl.read_parquet(file, columns=KEYS)
    if kept(rows).height == rows.height:
        return None
    left = kept(pl.read_parquet(file))
    return left.height, _write(file, left, _stamp(file))


def replace(file: Path, content: bytes | memoryview) -> None:
    """Replace a file as a whole, for nobody else to read; after a crash it is the old one or the new one."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    unfinished.rename(file)


def _write(file: Path, table: pl.DataFrame, stamp: Stamp) -> Written:
    built = BytesIO()
    table.write_parquet(
        built,
        compression="uncompressed",  # numbers of no pattern: packing them costs more than it saves
        statistics=False,
        row_group_size=max(table.height, 1),  # one piece, which is read without being put together
        metadata=asdict(stamp),
    )
    content = built.getbuffer()
    replace(file, content)
    return Written(hashlib.sha256(content).hexdigest(), zlib.crc32(content))


def _read(file: Path, content: BytesIO, stamp: Stamp, schema: pl.Schema) -> pl.DataFrame:
    table = pl.read_parquet(content)
    if _stamp(content) != stamp:
        raise ShardUnusable(f"{file.name} is of another model, permit or moment")
    if table.schema != schema:
        raise ShardUnusable(f"{file.name} does not have the model's columns")
    return table


def _content(file: Path) -> BytesIO:
    """Read a file once, so that what is checked is what is used."""
    try:
        with file.open("rb", buffering=0) as opened:
            return BytesIO(opened.read())
    except FileNotFoundError as missing:
        raise ShardUnusable(f"{file.name} is missing") from missing


def _stamp(source: Path | BytesIO) -> Stamp:
    told = pl.read_parquet_metadata(source)
    return Stamp(**{field.name: told.get(field.name, "") for field in fields(Stamp)})
