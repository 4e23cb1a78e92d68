"""The service as it really runs: processes of its own, on a free port, on the database of one test."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import asyncpg
import httpx2
from support.world import ISSUER, World

from api.settings import Settings
from compliance import database as databases
from compliance.database import Database
from compliance.vocabulary import OFFERED

WAIT_SECONDS = 30.0
STOP_SECONDS = 60.0
PORTS = range(20_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections."""
NOBODY = "https://127.0.0.1:9"
"""A provider that is not there: where nobody signs in at one, none need be started beside the server."""
OUTSIDE = ("XINQIAO_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


@dataclass(frozen=True)
class Installation:
    """A home and a database that any number of processes of the product may share, this one among them."""

    home: Path
    database: Database
    issuer: str = ISSUER
    more: Mapping[str, str] = field(default_factory=dict)
    """Other settings of its processes."""

    @property
    def settings(self) -> Settings:
        return Settings(self.home, "development", self.issuer, self.database, OFFERED)

    @property
    def environment(self) -> dict[str, str]:
        owner, password = self.database.owner, self.database.owner_password
        return environment(
            self.home,
            XINQIAO_INSTALLATION="development",
            XINQIAO_ISSUER=self.issuer,
            XINQIAO_DATABASE_URL=_url(self.database, self.database.user, self.database.password),
            XINQIAO_DATABASE_OWNER_URL=_url(self.database, owner, password),
            **{"XINQIAO_PROVIDER_ISSUER": NOBODY, **self.more},
        )

    async def run(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """A command, run to its end."""
        return await asyncio.to_thread(run, self.environment, *arguments, seconds=seconds)

    @contextmanager
    def worker(self) -> Iterator["Running"]:
        with started(self.environment, self.home, "worker") as process:
            yield process

    @asynccontextmanager
    async def server(self, port: int = 0) -> AsyncIterator["Server"]:
        """A server that answers, and a client of it; killed at the end if it still runs."""
        port = port or free_ports()
        with started(self.environment, self.home, "serve", "--port", str(port)) as process:
            address = f"http://127.0.0.1:{port}"
            async with httpx2.AsyncClient(base_url=address, timeout=30, trust_env=False) as http:
                await _until_up(http, process)
                yield Server(http, self.settings, process)


@dataclass
class Running:
    """A command of the product that goes on."""

    process: "subprocess.Popen[bytes]"
    home: Path

    @property
    def family(self) -> dict[int, str]:
        """The process and everything that it started, by number, with what they were called as."""
        parents = {pid: parent for pid in _pids() if (parent := _parent(pid))}
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: _called(pid) for pid in found if pid in parents}

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it without a word, and see its children follow."""
        family = self.family
        self.process.kill()
        self.process.wait()
        try:
            wait_until(lambda: not any(alive(pid) for pid in family), f"{family} are gone")
        except TimeoutError:
            for pid in filter(alive, family):
                os.kill(pid, signal.SIGKILL)
            raise


@dataclass
class Server(World):
    """A running server, and the world it serves: what the tests plant goes straight into its database."""

    running: Running


@asynccontextmanager
async def installation(
    database: Database, home: Path, issuer: str = ISSUER, **more: str
) -> AsyncIterator[Installation]:
    """An installation with a key store of its own, open in this process too."""
    mine = replace(database, key_store_name=f"{database.name}_keys")  # as the URLs have it
    await databases.prepare(mine)
    made = Installation(home, mine, issuer, more)
    try:
        async with databases.opened(mine, home, made.settings.origin):
            yield made
    finally:
        admin = await asyncpg.connect(**mine.as_owner("postgres"))
        await admin.execute(f"drop database if exists {mine.key_store_name} with (force)")
        await admin.close()


def environment(home: Path, **more: str) -> dict[str, str]:
    """Ours without what would reach the product from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OUTSIDE)}
    return kept | {"XINQIAO_HOME": str(home), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"} | more


def run(
    environment: dict[str, str], *arguments: str, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """A command of the product, run to its end with its output taken."""
    command = [sys.executable, "-m", "api.cli", *arguments]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextmanager
def started(environment: dict[str, str], home: Path, *arguments: str) -> Iterator[Running]:
    """A command of the product that goes on until the block ends; what it says is in `live.log`."""
    command = [sys.executable, "-m", "api.cli", *arguments]
    with (home / "live.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Running(process, home)
    try:
        yield running
    finally:
        if process.poll() is None:
            running.kill()


def free_ports(count: int = 1) -> int:
    """The first of `count` neighbouring ports of the loopback that nobody uses."""
    for _ in range(100):
        first = PORTS.start + secrets.randbelow(len(PORTS) - count)
        if all(_is_free(first + n) for n in range(count)):
            return first
    raise RuntimeError("no free ports")


def wait_until(true: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Look again until it is so, for a bounded time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


async def everything_logged(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait until each fact stands in the log, and its head is signed."""
    left = """
        select (select count(*) from compliance_unplaced)
             + (select count(*) from compliance_log) - (select coalesce(max(size), 0) from compliance_checkpoint)
    """
    for _ in range(int(WAIT_SECONDS / 0.05)):
        if await owner.fetchval(left) == 0:
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("not everything was logged")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def at_home(home: Path) -> dict[int, str]:
    """Every process of the installation, by its environment: also those that lost their parent."""
    wanted = f"XINQIAO_HOME={home}".encode()
    found = {}
    for pid in _pids():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables and alive(pid):
            found[pid] = _called(pid)
    return found


async def _until_up(http: httpx2.AsyncClient, running: Running) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            if (await http.get("/healthz")).status_code == 200:
                return
        except httpx2.TransportError:
            await asyncio.sleep(0.05)
    raise TimeoutError(f"the server is not up: {(running.home / 'live.log').read_text()[-2000:]}")


def _url(database: Database, user: str, password: str | None) -> str:
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    return f"postgresql://{login}@/{database.name}?host={quote(database.host, safe='')}&port={database.port}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _called(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
