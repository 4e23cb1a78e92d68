"""Run the service: the database it stands on, the server's workers, and the worker beside them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server as Granian

from api import telemetry, worker
from api.serving import PARENT, SOCKETS
from api.settings import Settings, SettingUnusable
from compliance import custodians, postgres
from compliance import database as databases
from compliance.database import Database

KILL_AFTER_SECONDS = 10
RESTART_AFTER_SECONDS = 1.0
PROVIDER = "XINQIAO_PROVIDER_ISSUER"

starting = threading.Lock()
"""No server worker is forked while a child starts: it would keep the pipe open on whose end the start waits for ever."""
os.register_at_fork(
    before=starting.acquire, after_in_parent=starting.release, after_in_child=starting.release
)


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
        os.environ[SOCKETS] = str(sockets)
        database = databases.embedded(sockets)
        asyncio.run(databases.prepare(database))
        yield Standing(settings, database)


def serve(settings: Settings, *, port: int, workers: int) -> int:
    """Serve until told to stop; the worker runs in a process of its own, is kept running, and dies with us.

    Where nobody real is served and no provider is connected, so does the development provider.
    """
    telemetry.set_up()
    _refuse_fictional_custodians(settings)
    _refuse_taken(port)
    with standing(settings), ExitStack() as beside:
        beside.enter_context(kept_running("worker"))
        if settings.provider is None and not settings.in_production:
            os.environ[PROVIDER] = development_provider(port)
            beside.enter_context(kept_running("provider", "--port", str(provider_port(port))))
        telemetry.log.info("serving", port=port)
        listen("api.app:from_worker", port=port, workers=workers)
    return 0


def _refuse_fictional_custodians(settings: Settings) -> None:
    """Where people are real, evidence about them must not be open to the installation itself."""
    folder = settings.home / "keys"
    if settings.in_production and not custodians.are_appointed(folder):
        raise SettingUnusable("appoint two custodians first: xinqiao keys custodians FILE")


def _refuse_taken(port: int) -> None:
    """Two servers on one port would share its calls at random: the kernel lets them."""
    if in_use(port):
        raise SettingUnusable(f"port {port} is in use; choose another with --port")


def in_use(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def provider_port(port: int) -> int:
    """Where the development provider listens that belongs to a server at this port."""
    return port + 5


def development_provider(port: int) -> str:
    """The issuer of that provider."""
    return f"http://127.0.0.1:{provider_port(port)}"


def serve_light(settings: Settings, *, port: int, workers: int) -> int:
    """Serve only what stops a use until told to stop, with no worker beside it."""
    telemetry.set_up()
    _refuse_taken(port)
    with standing(settings):
        telemetry.log.info("serving", port=port)
        listen("api.light:from_worker", port=port, workers=workers)
    return 0


def listen(factory: str, *, port: int, workers: int) -> None:
    """Serve an application on loopback until told to stop; `factory` is `module:function`."""
    os.environ[PARENT] = str(os.getpid())
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
def kept_running(*arguments: str) -> Iterator[None]:
    """A child that is started again whenever it ends, until the block does."""
    over = threading.Event()

    def keep() -> None:
        # The kernel counts the thread that starts a child as its parent: this one lives as long as the children.
        while not over.is_set():
            with child(*arguments) as process:
                while process.poll() is None and not over.wait(RESTART_AFTER_SECONDS):
                    pass
            if not over.is_set():
                telemetry.log.error("restarted", command=arguments[0], exit_code=process.returncode)

    keeper = threading.Thread(target=keep, name="keeper")
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


@contextmanager
def child(*arguments: str, log: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Another `xinqiao` command in a process of its own, which ends with the block and dies with us; `log` takes its lines."""
    with ExitStack() as files:
        out = files.enter_context(log.open("ab")) if log else None
        # -P: what lies in the folder it was started from is no code of ours.
        command = [sys.executable, "-P", "-m", "api.cli", *arguments]
        environment = {**os.environ, PARENT: str(os.getpid())}
        with starting:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment
            )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
