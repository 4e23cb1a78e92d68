"""What a deletion leaves on the disk: rows that are gone still lie in files and in the write-ahead log until these are rewritten."""

from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg

from compliance.database import Database

TABLES = "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'public' order by 1"
STATISTICS = "pg_catalog.pg_statistic"
FORGET_SAMPLES = """
delete from pg_catalog.pg_statistic s using pg_class c where c.oid = s.starelid and c.relnamespace = 'public'::regnamespace
"""
"""The planner's samples hold values of rows, and of a table that became empty they stay as they are."""


async def rewrite(database: Database) -> AsyncIterator[tuple[str, bool]]:
    """Rewrite every table of both databases, as their owner, then let go of the old write-ahead log.

    Yields each step with whether it was done: what only the server's administrator may do is left to them. Each table
    is closed to everybody while it is rewritten, so this is for a quiet hour; it may be stopped and started again.
    Copies elsewhere (back-ups, archived log, replicas) are out of its reach: there the destroyed key speaks for itself.
    """
    for name in (database.name, database.key_store_name):
        owner = await asyncpg.connect(**database.as_owner(name))
        try:
            yield f"{name} samples", await _done(owner, "set allow_system_table_mods = on", FORGET_SAMPLES)
            for table in [*(row["name"] for row in await owner.fetch(TABLES)), STATISTICS]:
                yield f"{name} {table}", await _done(owner, f"vacuum (full, analyze) {table}")
            # The first checkpoint ends the segment that deletions were written to, the second lets go of it.
            for step in ("select pg_switch_wal()", "checkpoint") * 2:
                yield f"{name} {step}", await _done(owner, step)
        finally:
            await owner.close()


async def _done(owner: "asyncpg.Connection[asyncpg.Record]", *statements: str) -> bool:
    with suppress(asyncpg.InsufficientPrivilegeError):
        for statement in statements:
            await owner.execute(statement)
        return True
    return False
