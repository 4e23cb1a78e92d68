"""Events brought from files into the store, in CPU of the application, beside Polars reading and writing the same files.

PostgreSQL's own CPU counts on neither side; the time on the clock, which holds it, is told too.
"""

import asyncio
import contextlib
import io
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from api import loading, running, telemetry
from api.running import Standing
from api.settings import from_environment
from compliance import database as databases
from compliance.act import open_act
from compliance.vocabulary import Worker
from consent import people
from consent.people import NewPerson

EVENTS = {"small": 200_000, "full": 2_000_000}
EVENTS_EACH = 100
TARGET = 60.0
YEAR = 365 * 86_400
NAMES = ("order_paid", "order_sent", "screen_on", "app_opened", "repaid")


def run(size: str) -> dict[str, Any]:
    """CPU microseconds of this process for each event, of ours and of Polars alone."""
    count = EVENTS[size]
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {"XINQIAO_HOME": folder, "XINQIAO_ISSUER": "http://127.0.0.1:8080"}
        telemetry.set_up(level=40)
        source = Path(folder) / "events.parquet"
        events = _drawn(count)
        events.write_parquet(source)
        peer = _peer(source, Path(folder) / "peer")
        with running.standing(from_environment()) as found:
            asyncio.run(_bring(found, events["user"].unique().to_list()))
            load, clock = asyncio.run(_loaded(found, str(source)))
            again, _ = asyncio.run(_loaded(found, str(source)))
    return {
        "benchmark": "behaviour_store",
        "ours": round(load / count * 1e6, 2),
        "peer": round(peer / count * 1e6, 2),
        "ratio": round(load / peer, 1),
        "unit": "us CPU in process per event, from a Parquet file to the store's files",
        "better": "lower",
        "target_ours": TARGET,
        "events_a_second_by_the_clock": round(count / clock),
        "all_again_as_duplicates_us": round(again / count * 1e6, 2),
        "peer_is": "Polars: read the file, write it in 256 parts by a hash, nothing checked, nothing known before",
        "shape": f"{count} events of {count // EVENTS_EACH} people over a year",
    }


def _drawn(count: int) -> pl.DataFrame:
    random = np.random.default_rng(7)
    at = datetime(2025, 11, 1, tzinfo=UTC).timestamp() + random.integers(0, YEAR, count)
    return pl.DataFrame(
        {
            "user": [f"u-{n}" for n in random.integers(0, count // EVENTS_EACH, count)],
            "at": pl.from_epoch(pl.Series(at), "s").dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
            "category": ["shopping"] * count,
            "name": random.choice(NAMES, count),
            "value": random.random(count),
            "count": random.integers(1, 9, count),
        }
    )


def _peer(source: Path, folder: Path) -> float:
    folder.mkdir()
    before = time.process_time()
    events = pl.read_parquet(source)
    for (part,), rows in events.group_by(pl.col("user").hash() % 256):
        rows.write_parquet(folder / f"{part}.parquet")
    return time.process_time() - before


@asynccontextmanager
async def _open(found: Standing) -> AsyncIterator[None]:
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        yield


async def _bring(found: Standing, references: list[str]) -> None:
    async with _open(found), open_act(Worker("benchmark"), None) as act:
        await people.bring(act, [NewPerson(reference, None, fictional=True) for reference in references])


async def _loaded(found: Standing, source: str) -> tuple[float, float]:
    """Seconds of CPU and by the clock to load a source and to file everything."""
    cpu, clock = time.process_time(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        await loading.load(found, source)
    async with _open(found):
        await loading.file_everything()
    return time.process_time() - cpu, time.perf_counter() - clock
