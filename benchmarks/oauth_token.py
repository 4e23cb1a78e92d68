"""An access token by `client_credentials`, `private_key_jwt` and DPoP: our server against npm oidc-provider.

Both sign and verify ES256 and answer with a JWT that is bound to the client's key. Ours is one worker with PostgreSQL
behind it, the peer one node process with everything in memory. Requests are signed before each block; blocks of both
alternate in one run.
"""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2

from api import running, telemetry
from api.demo.callers import expect
from api.demo.play import _until_up
from api.running import Standing
from api.settings import from_environment
from benchmarks import prepared, processes
from benchmarks.prepared import SCOPE, TOKEN_PATH, Client
from compliance import database as databases

BLOCKS = {"small": 5, "full": 30}
REQUESTS_A_BLOCK = 400
WARM_UP_BLOCKS, PEER_WARM_UP_BLOCKS = 1, 9
"""Node compiles as it goes: its cost per request halves over the first 3,000 and then stands."""
IN_FLIGHT = 8
PORT = 18_432
PEER = Path(__file__).with_name("oidc_provider")
INSTALL = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
INSTALL_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two servers, as its clients know it, and what it costs: CPU seconds so far, by what spends them."""

    clients: list[Client]
    warm_up_blocks: int
    spent: dict[str, Callable[[], float]]


def run(size: str) -> dict[str, Any]:
    """CPU milliseconds of the serving process per token request, of both."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise SystemExit(f"benchmark oauth_token: its peer needs {program}, which is not installed")
    with tempfile.TemporaryDirectory(prefix="xq-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ |= {
            "XINQIAO_HOME": folder,
            "XINQIAO_ISSUER": f"http://127.0.0.1:{PORT}",
            "XINQIAO_CLIENT_CALLS_PER_MINUTE": "1000000",
        }
        telemetry.set_up(level=40)
        with running.standing(from_environment()) as found:
            return _beside_the_peer(found, BLOCKS[size])


def _beside_the_peer(found: Standing, blocks: int) -> dict[str, Any]:
    home = found.settings.home
    clients = asyncio.run(_clients(found))
    with (
        _peer(home / "peer", clients, found.settings.token_seconds) as theirs,
        running.child("serve", "--port", str(PORT), log=home / "serve.log") as server,
    ):
        medians = asyncio.run(_measure(clients, server.pid, home, theirs, blocks))
    ours, database, peer = medians["ours"], medians["database"], medians["peer"]
    return {
        "benchmark": "oauth_token",
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(ours / peer, 2),
        "unit": "ms CPU of the serving process per token",
        "better": "lower",
        "target": 1.5,
        "database": round(database, 3),
        "database_is": "ms CPU of all PostgreSQL processes per token, not in ours",
        "peer_is": f"npm oidc-provider {_peer_version()} on node, in memory",
        "shape": f"{blocks} blocks of {REQUESTS_A_BLOCK}, {IN_FLIGHT} in flight, {len(clients)} clients, ES256",
    }


async def _clients(found: Standing) -> list[Client]:
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        return await prepared.register(found.settings)


@contextmanager
def _peer(folder: Path, clients: list[Client], ttl_seconds: int) -> Iterator[tuple[str, int]]:
    """The peer's issuer and process, installed into `folder` and listening."""
    shutil.copytree(PEER, folder, ignore=shutil.ignore_patterns("node_modules"))
    installed = subprocess.run(INSTALL, cwd=folder, capture_output=True, timeout=INSTALL_SECONDS, check=False)
    if installed.returncode != 0:
        raise SystemExit(f"benchmark oauth_token: npm cannot install its peer: {installed.stderr.decode()}")
    registered = [{"client_id": c.client_id, "jwk": c.key.as_dict(private=False)} for c in clients]
    told = {"scope": SCOPE, "ttl_seconds": ttl_seconds, "clients": registered}
    (folder / "clients.json").write_text(json.dumps(told))
    with (folder / "peer.log").open("ab") as log:
        command = ["node", "server.mjs", "clients.json"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log)
    try:
        said = process.stdout.readline() if process.stdout else b""
        if not said:
            raise RuntimeError(f"the peer did not start: {(folder / 'peer.log').read_text()}")
        yield said.decode().strip(), process.pid
    finally:
        process.terminate()
        process.wait()


async def _measure(
    clients: list[Client], server: int, home: Path, theirs: tuple[str, int], blocks: int
) -> dict[str, float]:
    """Median milliseconds of CPU per request over the blocks, by who spends them."""
    limits = httpx2.Limits(max_connections=IN_FLIGHT)
    async with httpx2.AsyncClient(timeout=30, trust_env=False, limits=limits) as http:
        await _until_up(http, clients[0].issuer)
        worker = processes.serving_worker(server)
        postmaster = int((home / "data" / "postmaster.pid").read_text().split()[0])
        issuer, node = theirs
        sides = [
            Side(
                clients,
                WARM_UP_BLOCKS,
                {
                    "ours": lambda: processes.cpu_seconds(worker),
                    "database": lambda: processes.family_cpu_seconds(postmaster),
                },
            ),
            Side(
                [replace(client, issuer=issuer) for client in clients],
                PEER_WARM_UP_BLOCKS,
                {"peer": lambda: processes.cpu_seconds(node)},
            ),
        ]
        for side in sides:
            _refuse_another_kind(await side.clients[0].token(http))
            for _ in range(side.warm_up_blocks):
                await _block(http, side)
        costs: dict[str, list[float]] = {}
        for _ in range(blocks):
            for side in sides:
                for name, cost in (await _block(http, side)).items():
                    costs.setdefault(name, []).append(cost)
    return {name: statistics.median(each) for name, each in costs.items()}


async def _block(http: httpx2.AsyncClient, side: Side) -> dict[str, float]:
    """Milliseconds of CPU per request of one block, by who spends them."""
    requests = [(c.issuer, c.token_request()) for c in islice(cycle(side.clients), REQUESTS_A_BLOCK)]
    waiting = iter(requests)

    async def caller() -> None:
        for issuer, request in waiting:
            expect(await http.post(f"{issuer}{TOKEN_PATH}", data=request.form, headers=request.headers), 200)

    before = {name: spent() for name, spent in side.spent.items()}
    async with asyncio.TaskGroup() as callers:
        for _ in range(IN_FLIGHT):
            callers.create_task(caller())
    return {name: (spent() - before[name]) * 1000 / REQUESTS_A_BLOCK for name, spent in side.spent.items()}


def _refuse_another_kind(token: str) -> None:
    """What is compared must be the same: a JWT signed with ES256, with our scope, bound to a key."""
    head, claims = (json.loads(urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    if (head["typ"], head["alg"], claims["scope"]) != ("at+jwt", "ES256", SCOPE) or not claims["cnf"]["jkt"]:
        raise RuntimeError("the tokens are not of the same kind")


def _peer_version() -> str:
    version: str = json.loads((PEER / "package.json").read_text())["dependencies"]["oidc-provider"]
    return version
