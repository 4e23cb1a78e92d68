"""Play the demo: lay the ground, make the world, start the server and the banks, tell the story, keep serving."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2

from api import running, serving, telemetry
from api.demo import catalogue, story, world
from api.demo.callers import CallFailed
from api.demo.steps import Story
from api.demo.telling import Telling
from api.demo.world import World
from api.oidc import discovery
from api.running import Standing
from api.settings import Settings
from compliance import database as databases
from compliance import ids
from partners.connectors.registry import FILE as CONNECTORS

UP_SECONDS = 60.0
LENDERS = (catalogue.HARBOUR, catalogue.RIDGE, catalogue.MEADOW)
"""Who has a door of their own, each on the next port."""
SILENT = catalogue.MEADOW
"""Whose server does not run, on purpose."""


def play(settings: Settings, *, port: int, data: Path | None, once: bool, credentials: Path | None) -> int:
    """Play; 0 if every step held. Without `once`, keep serving until told to stop."""
    telemetry.set_up(level=40)
    signal.signal(signal.SIGTERM, _stop)
    tell = Telling()
    if data is not None and not data.is_dir():
        raise FileNotFoundError(f"--data {data} is not a folder")
    provider = running.provider_port(port)
    for taken in (port, *(_port(port, n) for n in range(len(LENDERS))), provider):
        if running.in_use(taken):
            sys.stderr.write(f"port {taken} is in use; choose another with PORT=...\n")
            return 1
    os.environ["XINQIAO_ISSUER"] = settings.issuer
    started = time.monotonic()
    try:
        with running.standing(settings) as found, ExitStack() as processes:
            return _tell(
                found, processes, tell, port, data, once=once, credentials=credentials, started=started
            )
    except CallFailed as error:
        tell.out.print(f"\n   [red]✗ {error}[/red]", markup=True)
        return 1
    except KeyboardInterrupt:
        return 0


def _tell(
    found: Standing,
    processes: ExitStack,
    tell: Telling,
    port: int,
    data: Path | None,
    *,
    once: bool,
    credentials: Path | None,
    started: float,
) -> int:
    settings = found.settings
    hosts = {code: f"127.0.0.1:{_port(port, n)}" for n, code in enumerate(LENDERS)}
    tell.out.print("[bold]Xinqiao 信桥[/bold]  everything and everybody here is fictional / 以下均为虚构")
    outside = {catalogue.OUTSIDE: f"127.0.0.1:{_port(port, len(LENDERS))}"}
    made = asyncio.run(_make(found, data, {**hosts, **outside}, tell))
    _write_connectors(settings.home, port)
    for code, host in hosts.items():
        if code == SILENT:
            continue
        processes.enter_context(_bank(settings, code, made, host))
    processes.enter_context(running.child("serve", "--port", str(port), log=settings.home / "serve.log"))
    doors = [f"http://{host}/apply" for code, host in hosts.items() if code != SILENT]
    doors.append(running.development_provider(port) + discovery.PATH)
    links = asyncio.run(_live(found, made, tell, credentials, doors))
    tell.out.print(f"\n[bold]Every step held[/bold], after {time.monotonic() - started:.0f} s.")
    if once:
        return 0
    tell.out.print(f"\nThe service runs at {settings.issuer} until Ctrl-C. Look at")
    for who, link in {"the API reference": f"{settings.issuer}/schema", **links}.items():
        tell.out.print(f"   {who}: {link}", markup=False)
    signal.pause()
    return 0


async def _make(found: Standing, data: Path | None, hosts: dict[str, str], tell: Telling) -> World:
    settings = found.settings
    async with databases.opened(found.database, settings.home, settings.origin):
        tell.chapter("Data and model", "数据与模型")
        with tell.progress() as bar:
            made = await world.make(settings, data, hosts, bar)
    tell.step(f"read {made.set_name}", f"{made.read} rows, {made.quarantined} to quarantine")
    tell.card(made.card, made.split)
    if made.set_name == "synthetic":
        tell.out.print(
            "     [dim]synthetic people: these figures show that the machinery works, nothing else[/dim]"
        )
    tell.step("registered, validated, promoted", "three steps by three people")
    return made


async def _live(
    found: Standing, made: World, tell: Telling, credentials: Path | None, doors: list[str]
) -> dict[str, str]:
    settings = found.settings
    async with (
        databases.opened(found.database, settings.home, settings.origin),
        httpx2.AsyncClient(timeout=30, trust_env=False) as http,
    ):
        told = Story(settings, made, http, tell, credentials)
        try:
            for address in (f"{settings.issuer}/healthz", *doors):
                await _until_up(http, address)
            await story.tell_all(told)
            await story.audit(told, found)
        except httpx2.TransportError as error:
            raise CallFailed(f"no answer came: {type(error).__name__} {error}") from error
    return told.links


async def _until_up(http: httpx2.AsyncClient, address: str) -> None:
    """Wait, for a bounded time, until a server answers; a bank refuses an empty hand-over, which is an answer too."""
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx2.TransportError):
            if (await http.get(address)).status_code < 500:
                return
        await asyncio.sleep(0.1)
    raise CallFailed(f"{address} did not answer within {UP_SECONDS:.0f} s")


def _write_connectors(home: Path, port: int) -> None:
    """Where each lender is reached; one of them answers nobody."""
    doors = {code: f"http://127.0.0.1:{_port(port, n)}" for n, code in enumerate(LENDERS)}
    entries = {
        code: {"kind": "signed_http", "address": door, "landing": f"{door}/apply"}
        for code, door in doors.items()
    }
    (home / CONNECTORS).write_text(json.dumps(entries, indent=1))


@contextmanager
def _bank(settings: Settings, code: str, made: World, host: str) -> Iterator[None]:
    """A fictional bank in a process of its own."""
    told = {"ISSUER": settings.issuer, "CODE": code, "PARTNER": ids.public("ptn", made.partners[code])}
    ours = {serving.PARENT: str(os.getpid())}
    environment = {**os.environ, **ours, **{f"XINQIAO_BANK_{name}": value for name, value in told.items()}}
    port = host.rsplit(":", 1)[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "api.demo.bank", port],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(running.KILL_AFTER_SECONDS)


def _port(first: int, number: int) -> int:
    return first + 1 + number


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
