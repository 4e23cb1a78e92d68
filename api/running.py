"""Run the service: the database it stands on, the server's workers, and the worker beside them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server as Granian

from api import telemetry, worker
from api.settings import Settings
from compliance import database as databases
from compliance import postgres
from compliance.database import Database

KILL_AFTER_SECONDS = 10
DIES_WITH_PARENT = "XINQIAO_DIES_WITH_PARENT"
"""Set for the commands that we start ourselves: they end when we do, even when we are killed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """An installation whose database runs and is migrated."""

    settings: Settings
    database: Database


@contextmanager
def standing(settings: Settings) -> Iterator[Standing]:
    """Have the database: the external one, or the embedded one, started if nobody runs it yet."""
    if settings.database is not None:
        asyncio.run(databases.prepare(settings.database))
        yield Standing(settings, settings.database)
        return
    with postgres.running(settings.home) as sockets:
        os.environ["XINQIAO_SOCKETS"] = str(sockets)
        database = databases.embedded(sockets)
        asyncio.run(databases.prepare(database))
        yield Standing(settings, database)


def serve(settings: Settings, *, port: int, workers: int) -> int:
    """Serve until told to stop; the worker runs in a process of its own and dies with us."""
    telemetry.set_up()
    with standing(settings), child("worker"):
        telemetry.log.info("serving", port=port)
        listen("api.app:from_worker", port=port, workers=workers)
    return 0


def listen(factory: str, *, port: int, workers: int) -> None:
    """Serve an application on loopback until told to stop; `factory` is `module:function`."""
    Granian(
        factory,
        factory=True,
        interface=Interfaces.ASGI,
        address="127.0.0.1",
        port=port,
        workers=workers,
        workers_kill_timeout=KILL_AFTER_SECONDS,
        respawn_failed_workers=True,
        log_access=False,
        log_level=LogLevels.warning,
    ).serve()


def work(settings: Settings) -> int:
    """Run the worker until told to stop."""
    telemetry.set_up()

    async def stand_and_work(found: Standing) -> None:
        async with databases.opened(found.database, settings.home, settings.origin):
            await worker.run(settings)

    with standing(settings) as found:
        asyncio.run(stand_and_work(found))
    return 0


@contextmanager
def child(*arguments: str, log: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Another `xinqiao` command in a process of its own, which ends with the block and dies with us; `log` takes its lines."""
    with ExitStack() as files:
        out = files.enter_context(log.open("ab")) if log else None
        command = [sys.executable, "-m", "api.cli", *arguments]
        environment = {**os.environ, DIES_WITH_PARENT: "1"}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
