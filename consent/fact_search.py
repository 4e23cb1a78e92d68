"""The search of the audit log by compliance officers and auditors: which facts, not what is in them."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from compliance import ids
from compliance.act import Act
from compliance.canonical import Json
from compliance.database import ground
from compliance.refusals import NotFound
from compliance.vocabulary import FactId, PartnerId, Staff, UserId
from consent.access_log import COLUMNS, Entry, entry

PAGE = 25
COUNT_MAX = 10_000
LABEL_BYTES = 5
MATCHING = """
from compliance_fact f where ($1::text is null or f.kind = $1) and ($2::uuid is null or f.partner = $2)
  and ($3::timestamptz is null or f.recorded_at >= $3) and ($4::timestamptz is null or f.recorded_at < $4)
  and ($5::uuid is null or f.id = $5)
"""
COUNT = "select count(*) as n from (select 1 {matching} limit {most}) matching"
SELECT = """select {columns} {matching}
  and ($6::uuid is null or f.seq < (select seq from compliance_fact where id = $6)) order by f.seq desc limit {most}
"""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; nothing given means everything. Times are aware, `until` is not included."""

    kind: str | None = None
    partner: PartnerId | None = None
    since: datetime | None = None
    until: datetime | None = None
    fact: FactId | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a search; `count` stops at `COUNT_MAX`, `more` says that older facts follow."""

    count: int
    entries: list[Entry]
    more: bool


async def search(act: Act, query: Query, before: FactId | None) -> Found:
    """Facts that match, newest first, those older than `before`. Records `facts_searched`."""
    if not isinstance(act.principal, Staff):
        raise NotFound
    asked = [query.kind, query.partner, query.since, query.until, query.fact]
    count = COUNT.format(matching=MATCHING, most=COUNT_MAX + 1)
    counted = await act.db.execute_query_dict(count, asked)
    select = SELECT.format(columns=COLUMNS, matching=MATCHING, most=PAGE + 1)
    rows = await act.db.execute_query_dict(select, [*asked, before])
    act.record("facts_searched", _asked(query) | {"found": int(counted[0]["n"])})
    return Found(counted[0]["n"], [entry(row) for row in rows[:PAGE]], len(rows) > PAGE)


async def kinds(act: Act) -> list[str]:
    """Every kind of fact that is in the log."""
    rows = await act.db.execute_query_dict("select distinct kind from compliance_fact order by kind")
    return [row["kind"] for row in rows]


def label(person: UserId | None) -> str | None:
    """A short blinded name of a person for the console: the same person, the same label, and nothing else."""
    if person is None:
        return None
    blinded = hmac.digest(ground().keyring.derived("console-label"), person.bytes, "sha256")
    return f"P-{blinded[:LABEL_BYTES].hex()}"


def _asked(query: Query) -> dict[str, Json]:
    return {
        "kind": query.kind,
        "partner": _id("ptn", query.partner),
        "since": query.since.isoformat() if query.since else None,
        "until": query.until.isoformat() if query.until else None,
        "fact": _id("fct", query.fact),
    }


def _id(prefix: str, value: UUID | None) -> str | None:
    return ids.public(prefix, value) if value else None
