"""One PostgreSQL for each process that runs tests; one cloned database for each test that needs one."""

import asyncio
import fcntl
import gc
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from compliance import database as databases
from compliance import postgres
from compliance.database import Database, Ground

SERVER = pytest.StashKey["Server"]()
STACK = pytest.StashKey[ExitStack]()
ORIGIN = "log.test.example"
TEMPLATE = "xinqiao_template"
NEEDS_BROWSER = re.compile(r"^from (playwright|support\.browsing)\b", re.MULTILINE)
LONGEST = (
    "journeys/test_demo.py",
    "journeys/test_no_score_after_withdrawal.py",
    "journeys/test_models_command.py",
    "scoring/test_replaying.py",
    "api/test_bad_input.py",
    "simulation/test_random_consents.py",
    "api/test_oauth_code_flow.py",
    "browser/test_pages_on_a_phone.py",
    "journeys/test_live_server.py",
    "conformance/test_code_flow_clients.py",
    "api/test_oauth_fuzz.py",
)
"""Handed out first: no process sits over a long file when all others are done."""
GARBAGE = 20_000
"""Things made before Python looks for garbage; at 700, as usual, looking took a seventh of the tests of api."""
numbers = count(1)


class Server:
    """Where the tests' databases are made: one connection for all, in a loop of its own between those of the tests."""

    def __init__(self, template: Database) -> None:
        self.template = template
        self.loop = asyncio.new_event_loop()
        self.admin = self.loop.run_until_complete(asyncpg.connect(**template.as_owner("postgres")))

    def copy(self, template: Database) -> Database:
        """A database of one's own."""
        mine = replace(template, name=f"{self.template.name}_{next(numbers)}")
        self._do(f"create database {mine.name} template {template.name} strategy file_copy")
        return mine

    def drop(self, *names: str) -> None:
        for name in names:
            self._do(f"drop database if exists {name} with (force)")

    def close(self) -> None:
        self.drop(self.template.name, self.template.key_store_name)
        self.loop.run_until_complete(self.admin.close())
        self.loop.close()

    def _do(self, statement: str) -> None:
        self.loop.run_until_complete(self.admin.execute(statement))


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # whoever hands the tests out runs none
    stack = config.stash[STACK] = ExitStack()
    server = _external() or _embedded(stack)
    template = replace(
        server, name=f"{TEMPLATE}_{os.getpid()}", key_store_name=f"xinqiao_test_keys_{os.getpid()}"
    )
    asyncio.run(databases.prepare(template))
    config.stash[SERVER] = Server(template)
    stack.callback(config.stash[SERVER].close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get("/".join(item.path.parts[-2:]), len(places)))


def pytest_collection_finish() -> None:
    """What was imported stays to the end: looking through it for garbage again and again was a tenth of the run."""
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)


def pytest_unconfigure(config: pytest.Config) -> None:
    if stack := config.stash.get(STACK, None):
        stack.close()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where tests that need a browser are left out, their files are not even read: what drives it is not installed."""
    left_out = "not browser" in str(config.option.markexpr) and collection_path.suffix == ".py"
    return True if left_out and NEEDS_BROWSER.search(collection_path.read_text("utf-8")) else None


def _external() -> Database | None:
    url, owner = os.environ.get("XINQIAO_DATABASE_URL"), os.environ.get("XINQIAO_DATABASE_OWNER_URL")
    return databases.external(url, owner) if url and owner else None


def _embedded(stack: ExitStack) -> Database:
    """A server of this run alone, in memory where there is plenty: a clone takes 10 ms instead of 130."""
    memory = Path("/dev/shm")
    disk = (
        str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30 else tempfile.gettempdir()
    )
    _sweep(Path(disk))
    folder = Path(tempfile.mkdtemp(prefix="xq-", dir=disk))
    folder.chmod(0o755)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return databases.embedded(stack.enter_context(postgres.running(folder, postgres.DISPOSABLE)))


def _sweep(disk: Path) -> None:
    """Remove what killed runs left behind; a living run holds its lock."""
    for folder in disk.glob("xq-*"):
        with suppress(OSError), (folder / "owner.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def template(pytestconfig: pytest.Config) -> Database:
    """What each test's database is a copy of: freshly migrated, unless a module fills one of its own once."""
    return pytestconfig.stash[SERVER].template


@pytest.fixture(scope="module")
def filled(pytestconfig: pytest.Config) -> Iterator[Database]:
    """A database of the module's own, to be filled once and then copied for each test (as its `template`)."""
    server = pytestconfig.stash[SERVER]
    mine = server.copy(server.template)
    yield mine
    server.drop(mine.name)


@pytest.fixture
def database(pytestconfig: pytest.Config, template: Database) -> Iterator[Database]:
    """A database of the test's own; the key store is shared (its ids are random)."""
    mine = pytestconfig.stash[SERVER].copy(template)
    yield mine
    pytestconfig.stash[SERVER].drop(mine.name)


@pytest.fixture
async def ground(database: Database, home: Path) -> AsyncIterator[Ground]:
    """The open database: acts can be opened."""
    async with databases.opened(database, home, ORIGIN) as opened:
        yield opened


@pytest.fixture
async def owner(database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection as the database's owner: for looking past the walls, and for tampering."""
    connection = await asyncpg.connect(**database.as_owner())
    yield connection
    await connection.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation's folder of the test's own."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
