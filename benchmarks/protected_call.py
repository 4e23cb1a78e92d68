"""Who makes a call, from its token and its proof of possession: what that costs, beside what it cannot cost less.

The floor: the one ES256 signature that is new in each call, verified with a key that is imported already, and one
round trip of a trivial statement to PostgreSQL (whose own CPU counts on neither side). Blocks of both alternate in one process; proofs are signed before
each block.
"""

import asyncio
import os
import statistics
import tempfile
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from litestar import Litestar, Request

from api import running, telemetry
from api.app import create_app
from api.oauth import pipeline
from api.running import Standing
from api.settings import from_environment
from benchmarks import prepared
from benchmarks.prepared import Client, Prepared
from compliance import database as databases

BLOCKS = {"small": 16, "full": 100}
CALLS_A_BLOCK = 150
ROUTE = ("POST", "/v1/scores")


@dataclass(frozen=True, slots=True)
class Bench:
    """What stands while it is measured: the application, clients with their tokens, a bare connection."""

    app: Litestar
    tokens: list[tuple[Client, str]]
    connection: "asyncpg.Connection[asyncpg.Record]"


def run(size: str) -> dict[str, Any]:
    """CPU milliseconds of this process per call, of ours and of the floor."""
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {
            "XINQIAO_HOME": folder,
            "XINQIAO_ISSUER": "http://127.0.0.1:8080",
            "XINQIAO_CLIENT_CALLS_PER_MINUTE": "1000000",
        }
        telemetry.set_up(level=40)
        with running.standing(from_environment()) as found:
            ours, verify, round_trip = asyncio.run(_measure(found, BLOCKS[size]))
    floor = verify + round_trip
    return {
        "benchmark": "protected_call",
        "ours": round(ours, 3),
        "peer": round(floor, 3),
        "ratio": round(ours / floor, 2),
        "unit": "ms CPU in process per call",
        "better": "lower",
        "target_ours": 0.6,
        "peer_is": "one ES256 verification with an imported key and one bare asyncpg round trip",
        "peer_parts": {"verify": round(verify, 3), "round_trip": round(round_trip, 3)},
        "shape": f"{BLOCKS[size]} blocks of {CALLS_A_BLOCK}, one after another, tokens seen before, proofs fresh",
    }


async def _measure(found: Standing, blocks: int) -> list[float]:
    """Median over the blocks: ours, the verification, the round trip."""
    async with _bench(found) as bench:
        await _block(bench)  # warms
        spent = [await _block(bench) for _ in range(blocks)]
    return [statistics.median(each) for each in zip(*spent, strict=True)]


@asynccontextmanager
async def _bench(found: Standing) -> AsyncIterator[Bench]:
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        clients = await prepared.register(found.settings)
    app = create_app(found.settings, found.database)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.lifespan())
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=httpx2.ASGITransport(app)))
        tokens = [(client, await client.token(http)) for client in clients]
        connection = await asyncpg.connect(**found.database.as_application())
        stack.push_async_callback(connection.close)
        yield Bench(app, tokens, connection)


async def _block(bench: Bench) -> tuple[float, float, float]:
    """Milliseconds of CPU per call of one block: ours, the verification, the round trip."""
    calls = [
        (client, client.call(*ROUTE, token)) for client, token in islice(cycle(bench.tokens), CALLS_A_BLOCK)
    ]
    requests = iter([_request(bench.app, call) for _, call in calls])
    statements = iter([_statement(client, call) for client, call in calls])

    async def ours() -> None:
        await pipeline.protected_call(next(requests))

    async def verify() -> None:
        key, signature, signed = next(statements)
        key.verify(signature, signed, ec.ECDSA(SHA256()))

    async def round_trip() -> None:
        await bench.connection.fetchval("select 1")

    return await _cpu_of(ours), await _cpu_of(verify), await _cpu_of(round_trip)


async def _cpu_of(call: Callable[[], Awaitable[None]]) -> float:
    before = time.process_time()
    for _ in range(CALLS_A_BLOCK):
        await call()
    return (time.process_time() - before) * 1000 / CALLS_A_BLOCK


def _request(app: Litestar, call: Prepared) -> Request[Any, Any, Any]:
    """A call as it comes from the server, at the moment its caller is looked at."""
    method, path = ROUTE
    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "client": ("127.0.0.1", 40_000),
        "headers": [(name.lower().encode(), value.encode()) for name, value in call.headers.items()],
        "app": app,
        "litestar_app": app,
        "state": {},
    }
    return Request(scope)


def _statement(client: Client, call: Prepared) -> tuple[ec.EllipticCurvePublicKey, bytes, bytes]:
    """The call's proof as OpenSSL takes it: the key, the signature in DER, what was signed."""
    signed, signature = call.headers["DPoP"].rsplit(".", 1)
    raw = urlsafe_b64decode(signature + "==")
    half = len(raw) // 2
    der = encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
    return client.key.public_key, der, signed.encode()
