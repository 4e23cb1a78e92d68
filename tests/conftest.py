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

SERVER = pytest.StashKey[Database]()
STACK = pytest.StashKey[ExitStack]()
ORIGIN = "log.test.example"
TEMPLATE = "xinqiao_template"
NEEDS_BROWSER = re.compile(r"^from (playwright|support\.browsing)\b", re.MULTILINE)
numbers = count(1)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # whoever hands the tests out runs none
    stack = config.stash[STACK] = ExitStack()
    server = _external() or _embedded(stack)
    template = replace(
        server, name=f"{TEMPLATE}_{os.getpid()}", key_store_name=f"xinqiao_test_keys_{os.getpid()}"
    )
    asyncio.run(databases.prepare(template))
    stack.callback(lambda: asyncio.run(_drop(template, template.name, template.key_store_name)))
    config.stash[SERVER] = template


def pytest_collection_finish() -> None:
    """What was imported stays to the end: looking through it for garbage again and again was a tenth of the run."""
    gc.freeze()


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


async def _drop(server: Database, *names: str) -> None:
    admin = await asyncpg.connect(**server.as_owner("postgres"))
    for name in names:
        await admin.execute(f"drop database if exists {name} with (force)")
    await admin.close()


@pytest.fixture(scope="module")
def template(pytestconfig: pytest.Config) -> Database:
    """What each test's database is a copy of: freshly migrated, unless a module fills one of its own once."""
    return pytestconfig.stash[SERVER]


@pytest.fixture(scope="module")
def filled(pytestconfig: pytest.Config) -> Iterator[Database]:
    """A database of the module's own, to be filled once and then copied for each test (as its `template`)."""
    template = pytestconfig.stash[SERVER]
    mine = replace(template, name=f"{template.name}_{next(numbers)}")
    asyncio.run(_copy(template, mine.name))
    yield mine
    asyncio.run(_drop(template, mine.name))


async def _copy(template: Database, name: str) -> None:
    admin = await asyncpg.connect(**template.as_owner("postgres"))
    await admin.execute(f"create database {name} template {template.name} strategy file_copy")
    await admin.close()


@pytest.fixture
async def database(template: Database) -> AsyncIterator[Database]:
    """A database of the test's own; the key store is shared (its ids are random)."""
    mine = replace(template, name=f"{template.name}_{next(numbers)}")
    await _copy(template, mine.name)
    yield mine
    await _drop(template, mine.name)


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
