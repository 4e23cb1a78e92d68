"""Canaries: words that stand nowhere else, put into every field that is held about a person."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import asyncpg

from consent import holdings

PLACED_IN = {
    "text": "$2",
    "jsonb": "to_jsonb($2::text)",
    "bytea": "convert_to($2, 'UTF8')",
    "_text": "array[$2]",
}
EMPTIED = {
    "consent_person": ("reference_index", "reference_sealed"),
    "consent_grant": ("evidence", "language", "rejected_reason"),
}
"""Of rows that stay, the fields that are emptied; of rows that go, every field counts."""
FEW_WORDS = ("state", "delivery", "answer")
"""Columns whose words the code enumerates: no room for a secret."""
WHOSE = {
    "consent_person": "id = $1",
    "api_authorization": "grant_id in (select id from consent_grant where user_id = $1)",
    "scoring_relation": "(user_id = $1 or other = $1)",
    "consent_use": "grant_id in (select id from consent_grant where user_id = $1)",
}
COLUMNS = """
select column_name as name, udt_name as kind from information_schema.columns
where table_schema = 'public' and table_name = $1 order by ordinal_position
"""


async def plant(
    owner: "asyncpg.Connection[asyncpg.Record]", user: UUID, *, but: Sequence[str] = (), kept: bool = False
) -> dict[str, str]:
    """Put a word of its own into each field that takes words; column by column, the word. Looks past every trigger.

    `kept`: also into what stays when the person goes, if their copy shows it.
    """
    planted: dict[str, str] = {}
    await owner.execute("set session_replication_role = replica")
    for holding in holdings.declared():
        if holding.statement is None and (not kept or holding.part in (None, "log")):
            continue
        for column in await owner.fetch(COLUMNS, holding.table):
            only = EMPTIED.get(holding.table)
            if column["kind"] not in PLACED_IN or column["name"] in (*FEW_WORDS, *but):
                continue
            if only is not None and column["name"] not in only:
                continue
            word = f"canary{secrets.token_hex(8)}"
            where = WHOSE.get(holding.table, "user_id = $1")
            change = (
                f"update {holding.table} set {column['name']} = {PLACED_IN[column['kind']]} where {where}"
            )
            try:
                async with owner.transaction():
                    done = await owner.execute(change, user, word)
            except asyncpg.CheckViolationError:  # one of few words that are allowed: no room for a secret
                continue
            if done != "UPDATE 0":
                planted[f"{holding.table}.{column['name']}"] = word
    await owner.execute("set session_replication_role = origin")
    return planted


async def in_rows(owner: "asyncpg.Connection[asyncpg.Record]", words: Sequence[str]) -> set[str]:
    """The tables that hold any of the words in a live row, as text or as bytes."""
    found = set()
    for row in await owner.fetch("select tablename from pg_tables where schemaname = 'public'"):
        for held in await owner.fetch(f"select t::text as line from {row['tablename']} t"):
            if any(word in held["line"] or word.encode().hex() in held["line"] for word in words):
                found.add(row["tablename"])
    return found


def in_files(folder: Path, words: Sequence[bytes]) -> set[str]:
    """The files below a folder that hold any of the words."""
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and any(word in content for content in (file.read_bytes(),) for word in words)
    }
