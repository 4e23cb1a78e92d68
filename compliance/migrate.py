"""Bring the database forward: every package's numbered SQL files, all in one transaction."""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

PACKAGES = ("compliance", "consent", "scoring", "partners", "api")  # lowest first
LOCK = 7_000_001
NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
ROLES = ("xinqiao_partner", "xinqiao_person", "xinqiao_platform", "xinqiao_upkeep")
LEDGER = """
create table if not exists migration (
    package text, number int, name text not null, sha256 text not null,
    applied_at timestamptz not null default now(), primary key (package, number))
"""
MEMBER = """
select 1 from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles a on a.oid = m.member
where g.rolname = $1 and a.rolname = $2
"""
KEY_STORE = """
create table if not exists person_key (
    person uuid primary key, wrapped bytea not null, made_at timestamptz not null default now())
"""


class MigrationRefused(Exception):
    """The files and the database tell different stories."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file of one package."""

    package: str
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """What must never change once applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def declared() -> list[Migration]:
    """All files, package by package, each numbered 1, 2, 3 without a gap."""
    found: list[Migration] = []
    for package in PACKAGES:
        folder = files(package) / "migrations"
        names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql")) if folder.is_dir() else []
        for expected, name in enumerate(names, start=1):
            match = NAME.fullmatch(name)
            if match is None or int(match[1]) != expected:
                raise MigrationRefused(f"{package}/migrations/{name}: expected number {expected:04}")
            found.append(Migration(package, expected, name, (folder / name).read_text()))
    return found


async def migrate(owner: "asyncpg.Connection[asyncpg.Record]", application: str) -> list[str]:
    """Apply what is missing to the main database; return the names. Safe from many processes at once."""
    await make_roles(owner, application)
    applied: list[str] = []
    async with owner.transaction():
        await owner.execute("select pg_advisory_xact_lock($1)", LOCK)
        await owner.execute(LEDGER)
        rows = await owner.fetch("select package, number, sha256 from migration")
        done = {(r["package"], r["number"]): r["sha256"] for r in rows}
        for m in declared():
            before = done.pop((m.package, m.number), None)
            if before is None:
                await owner.execute(m.sql)
                await owner.execute(
                    "insert into migration values ($1, $2, $3, $4)", m.package, m.number, m.name, m.sha256
                )
                applied.append(f"{m.package}/{m.name}")
            elif before != m.sha256:
                raise MigrationRefused(f"{m.package}/{m.name} was changed after it was applied")
        if done:
            raise MigrationRefused(f"the database is ahead of this code: {sorted(done)}")
    return applied


async def migrate_key_store(owner: "asyncpg.Connection[asyncpg.Record]", application: str) -> None:
    """Make the key store's one table: a database of its own, so that its back-ups can be short-lived."""
    await make_roles(owner, application)
    async with owner.transaction():
        await owner.execute("select pg_advisory_xact_lock($1)", LOCK)
        await owner.execute(KEY_STORE)
        await owner.execute(f"grant select, insert, delete on person_key to {_quoted(application)}")


async def make_roles(owner: "asyncpg.Connection[asyncpg.Record]", application: str) -> None:
    """Make the roles, before and outside the migration.

    Roles belong to the cluster, advisory locks to one database: two databases that are migrated at once race
    here, and the loser finds the work done.
    """
    lost_race = (asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError, asyncpg.InternalServerError)
    for role, how in [*((r, "nologin") for r in ROLES), (application, "login noinherit")]:
        if not await owner.fetchval("select 1 from pg_roles where rolname = $1", role):
            with suppress(*lost_race):
                await owner.execute(f"create role {_quoted(role)} {how}")
    modern = (
        owner.get_server_version().major >= 16
    )  # before, INHERIT belongs to the member, not to the membership
    option = " with inherit false, set true" if modern else ""
    if not modern and await owner.fetchval("select rolinherit from pg_roles where rolname = $1", application):
        await owner.execute(f"alter role {_quoted(application)} noinherit")
    for role in ROLES:
        if not await owner.fetchval(MEMBER, role, application):
            with suppress(*lost_race):
                await owner.execute(f"grant {_quoted(role)} to {_quoted(application)}{option}")


def _quoted(name: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise MigrationRefused(f"not a role name: {name!r}")
    return f'"{name}"'
