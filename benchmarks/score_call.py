"""A whole score call over HTTP, in CPU of the serving process, and the layers it is made of.

The peer is the same server answering `/healthz`: the framework, its telemetry and one read-only transaction. Blocks
of both alternate in one run. The layers are timed in a second, in-process run, one call at a time.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import httpx2

from api import access, running, telemetry
from api.app import create_app
from api.demo import catalogue, world
from api.demo.callers import BankSoftware, Browser, expect
from api.demo.play import _until_up
from api.demo.steps import Story, approve, ask, score_request
from api.demo.telling import Telling
from api.demo.world import World
from api.settings import Settings, from_environment
from benchmarks.processes import cpu_seconds, serving_worker
from compliance import act, facts, replies
from compliance import database as databases
from compliance.database import Database
from consent import people, permits
from scoring import explanation, population, registry, release, scores, trees

BLOCKS = {"small": 8, "full": 30}
CALLS = 25
PORT = 18_431


def run(size: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {"XINQIAO_HOME": folder, "XINQIAO_ISSUER": f"http://127.0.0.1:{PORT}"}
        telemetry.set_up(level=40)
        with running.standing(from_environment()) as found:
            return asyncio.run(_measure(found.settings, found.database, BLOCKS[size]))


async def _measure(settings: Settings, database: Database, blocks: int) -> dict[str, Any]:
    async with databases.opened(database, settings.home, settings.origin):
        made = await world.make(settings, None, {}, lambda _what, _share: None)
        with running.child("serve", "--port", str(PORT), log=settings.home / "serve.log") as server:
            async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
                await _until_up(http, settings.issuer)
                bank, body = await _ready(settings, made, http)
                ours, peer = await _alternate(http, bank, body, blocks, serving_worker(server.pid))
    # The server is gone: whatever the layers use is now this process's own.
    layers = await _layers(settings, database, bank, body)
    return {
        "benchmark": "score_call",
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(ours / peer, 2),
        "unit": "ms CPU of the serving process per call",
        "better": "lower",
        "peer_is": "GET /healthz on the same server",
        "layers": layers,
    }


async def _ready(
    settings: Settings, made: World, http: httpx2.AsyncClient
) -> tuple[BankSoftware, dict[str, Any]]:
    story = Story(settings, made, http, Telling(), None)
    bank = story.bank(catalogue.HARBOUR)
    grant = await ask(story, bank, "credit_assessment")
    browser = Browser(http, settings.issuer)
    await browser.sign_in(await story.link(made.people[0]))
    await approve(story, browser, grant["id"])
    known = expect(await bank.call("GET", f"/v1/grants/{grant['id']}"), 200)["user"]
    return bank, score_request(story, known)


async def _alternate(
    http: httpx2.AsyncClient, bank: BankSoftware, body: dict[str, Any], blocks: int, worker: int
) -> tuple[float, float]:
    async def score() -> None:
        expect(await bank.call("POST", "/v1/scores", body), 201)

    async def health() -> None:
        expect(await http.get(f"{bank.issuer}/healthz"), 200)

    for _ in range(CALLS):
        await score()
        await health()
    ours, peer = [], []
    for _ in range(blocks):
        ours.append(await _cpu_of(worker, score))
        peer.append(await _cpu_of(worker, health))
    return statistics.median(ours), statistics.median(peer)


async def _cpu_of(worker: int, call: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds of CPU of the server's worker per call."""
    before = cpu_seconds(worker)
    for _ in range(CALLS):
        await call()
    return (cpu_seconds(worker) - before) * 1000 / CALLS


async def _layers(
    settings: Settings, database: Database, bank: BankSoftware, body: dict[str, Any]
) -> dict[str, float]:
    """CPU of each layer in milliseconds per call, by timers around its functions, in this process."""
    spent: dict[str, float] = {}
    app = create_app(settings, database)
    transport = httpx2.ASGITransport(app)
    async with app.lifespan(), httpx2.AsyncClient(transport=transport, base_url=settings.issuer) as http:
        inside = BankSoftware(http, settings.issuer, bank.client_id, bank.key)

        async def score() -> None:
            expect(await inside.call("POST", "/v1/scores", body, once=str(uuid4())), 201)

        for _ in range(CALLS):
            await score()
        with _timers(spent):
            for _ in range(CALLS * 4):
                await score()
    return {name: round(seconds * 1000 / (CALLS * 4), 3) for name, seconds in spent.items()}


@contextmanager
def _timers(spent: dict[str, float]) -> Iterator[None]:
    places = (
        ("token", access.pipeline, "protected_call"),
        ("consent", permits, "permit"),
        ("consent", people, "by_pseudonym"),
        ("features", population, "read"),
        ("model", trees, "explained"),
        ("reasons", explanation, "reasons"),
        ("release", release, "release_evaluation"),
        ("registry", registry, "champion"),
        ("write", scores, "_keep"),
        ("write", facts, "write"),
        ("idempotency", replies, "find"),
        ("idempotency", replies, "keep"),
        ("transaction", act, "_enter"),
    )
    patches = [
        patch.object(module, name, _timed(getattr(module, name), layer, spent))
        for layer, module, name in places
    ]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def _timed(function: Callable[..., Any], layer: str, spent: dict[str, float]) -> Callable[..., Any]:
    if asyncio.iscoroutinefunction(function):

        async def waited(*args: Any, **kwargs: Any) -> Any:
            before = time.process_time()
            try:
                return await function(*args, **kwargs)
            finally:
                spent[layer] = spent.get(layer, 0.0) + time.process_time() - before

        return waited

    def called(*args: Any, **kwargs: Any) -> Any:
        before = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[layer] = spent.get(layer, 0.0) + time.process_time() - before

    return called
