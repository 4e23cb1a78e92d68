"""Where the database is, how it is prepared, and the one pool of connections of a process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from tortoise import Tortoise, connections

from compliance import keys, migrate
from compliance.keys import Keyring, KeyStore
from compliance.migrate import PACKAGES

POOL_SIZE = 8
RESERVED_POOL_MIN, RESERVED_POOL_SIZE = 2, 4
KEY_POOL_SIZE = 4
ORDINARY, RESERVED = "default", "reserved"
"""The two pools of a process: calls that hang can use up the first one; stopping a use waits only for the second."""
BOUNDED: Mapping[str, str] = {
    # Where somebody waits for the answer, nobody holds or awaits another's lock without end: PostgreSQL ends the
    # transaction of a process that hangs, and what waits for it goes on.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "15s",
}
CREATE_TRIES = 5


class AddressUnusable(Exception):
    """The address of the database cannot be read; the message says which part."""


@dataclass(frozen=True, slots=True)
class Database:
    """One PostgreSQL database, as the application and as its owner; a socket folder serves as host."""

    host: str
    port: int
    name: str
    user: str
    password: str | None
    owner: str
    owner_password: str | None
    key_store_name: str
    """The database of the keys: backed up apart, and for a shorter time."""

    def as_application(self, name: str | None = None) -> dict[str, Any]:
        """What `asyncpg.connect` and tortoise take, for the login without rights."""
        return self._credentials(name or self.name, self.user, self.password)

    def as_owner(self, name: str | None = None) -> dict[str, Any]:
        """What `asyncpg.connect` takes, for the login that migrates."""
        return self._credentials(name or self.name, self.owner, self.owner_password)

    def _credentials(self, name: str, user: str, password: str | None) -> dict[str, Any]:
        return {"host": self.host, "port": self.port, "database": name, "user": user, "password": password}


def embedded(sockets: Path) -> Database:
    """The server that `compliance.postgres` runs; the socket proves who we are, no password is needed."""
    return Database(str(sockets), 5432, "xinqiao", "xinqiao_app", None, "postgres", None, "xinqiao_keys")


def external(url: str, owner_url: str) -> Database:
    """From two URLs of the same database: the application's login, and the owner's, who migrates."""
    app, owner = _parts(url), _parts(owner_url)
    if (app["host"], app["port"], app["database"]) != (owner["host"], owner["port"], owner["database"]):
        raise AddressUnusable("the two database URLs must name the same server and database")
    return Database(
        host=app["host"],
        port=app["port"],
        name=app["database"],
        user=app["user"],
        password=app["password"],
        owner=owner["user"],
        owner_password=owner["password"],
        key_store_name=f"{app['database']}_keys",
    )


def _parts(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if parts.scheme not in ("postgres", "postgresql"):
        raise AddressUnusable("a database URL starts with postgresql://")
    if unknown := set(query) - {"host", "port"}:
        raise AddressUnusable(f"a database URL cannot carry {sorted(unknown)}")
    host = query.get("host", [parts.hostname or ""])[0]
    name, user = parts.path.lstrip("/"), unquote(parts.username or "")
    if not (host and name and user):
        raise AddressUnusable("a database URL names a host, a user and a database")
    return {
        "host": host,
        "port": int(query.get("port", [str(parts.port or 5432)])[0]),
        "database": name,
        "user": user,
        "password": unquote(parts.password) if parts.password else None,
    }


async def prepare(database: Database) -> list[str]:
    """Make the databases where they are missing and bring both forward; return the migrations applied."""
    await _make_databases(database)
    owner = await asyncpg.connect(**database.as_owner())
    try:
        applied = await migrate.migrate(owner, database.user)
    finally:
        await owner.close()
    owner = await asyncpg.connect(**database.as_owner(database.key_store_name))
    try:
        await migrate.migrate_key_store(owner, database.user)
    finally:
        await owner.close()
    return applied


async def _make_databases(database: Database) -> None:
    try:
        admin = await asyncpg.connect(**database.as_owner("postgres"))
    except (asyncpg.InvalidCatalogNameError, asyncpg.InsufficientPrivilegeError):
        admin = await asyncpg.connect(**database.as_owner())
    try:
        for name in (database.name, database.key_store_name):
            for _ in range(CREATE_TRIES):  # another process may be copying the same template
                if await admin.fetchval("select 1 from pg_database where datname = $1", name):
                    break
                with suppress(
                    asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError, asyncpg.ObjectInUseError
                ):
                    await admin.execute(f'create database "{name}"')
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


class Connection(asyncpg.Connection):
    """A pooled connection: whatever an act sets ends with its transaction, so nothing need be reset between acts."""

    def get_reset_query(self) -> str:
        """Nothing: one round trip less for every act."""
        return ""


def tortoise_config(database: Database, limits: Mapping[str, str]) -> dict[str, Any]:
    """What `Tortoise.init` takes; `limits` are settings of each session in PostgreSQL."""
    common = database.as_application() | {"connection_class": Connection, "server_settings": dict(limits)}
    pools: dict[str, dict[str, Any]] = {
        ORDINARY: {"minsize": 1, "maxsize": POOL_SIZE},
        # Never given back: when it is needed PostgreSQL may have none left to give.
        RESERVED: {
            "minsize": RESERVED_POOL_MIN,
            "maxsize": RESERVED_POOL_SIZE,
            "max_inactive_connection_lifetime": 0,
        },
    }
    return {
        "connections": {
            name: {"engine": "tortoise.backends.asyncpg", "credentials": common | pool}
            for name, pool in pools.items()
        },
        "apps": {name: {"models": [f"{name}.tables"], "default_connection": ORDINARY} for name in PACKAGES},
    }


@dataclass(frozen=True, slots=True)
class Ground:
    """What every act stands on: the installation's keys, the key store, the log's name, its folder."""

    keyring: Keyring
    key_store: KeyStore
    origin: str
    home: Path


_ground: list[Ground] = []


def ground() -> Ground:
    """The ground of this process; `opened` lays it."""
    if not _ground:
        raise RuntimeError("the database is not open")
    return _ground[-1]


@asynccontextmanager
async def opened(
    database: Database, home: Path, origin: str, *, serving: bool = False
) -> AsyncIterator[Ground]:
    """Connect: the ORM's pools, the key store's pool and the keys, for as long as the context lasts.

    `serving`: somebody waits for the answers; the reserved connections stand at once, and waiting has bounds.
    `home` holds the keys and what the log was last seen as; `origin` is the log's name (C2SP tlog-checkpoint).
    """
    keyring = keys.load(home / "keys")
    pool = await asyncpg.create_pool(
        **database.as_application(database.key_store_name), min_size=1, max_size=KEY_POOL_SIZE
    )
    try:
        # Litestar serves requests in other tasks than the one that starts the application.
        config = tortoise_config(database, BOUNDED if serving else {})
        await Tortoise.init(config=config, _enable_global_fallback=True)
        if serving:
            await connections.get(RESERVED).create_connection(with_db=True)
        _ground.append(Ground(keyring, KeyStore(pool, keyring), origin, home))
        try:
            yield _ground[-1]
        finally:
            _ground.pop()
            await Tortoise.close_connections()
    finally:
        await pool.close()
