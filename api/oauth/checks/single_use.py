"""Assertions and proofs count once; who presents one a second time is refused. The same look tells how a call stands."""

from datetime import datetime
from functools import cache

from api.oauth.attempt import Attempt, Standing
from api.oauth.checks.access_token import InvalidToken
from api.oauth.clients import ClientChanged
from compliance.act import open_upkeep, upkeep_statement
from compliance.vocabulary import PartnerId, Purpose

ADMIT = "select * from api_admit($1, $2, $3::bytea[], $4::timestamptz[], $5, $6)"
SPEND = "insert into api_spent (key, expires_at) values ($1, $2) on conflict do nothing returning key"
# The margin is for servers whose clocks differ.
FORGET = "delete from api_spent where expires_at < clock_timestamp() - interval '1 minute'"
FORGET_CALLS = "delete from api_rate where minute < clock_timestamp() - interval '1 hour'"


async def spend(attempt: Attempt) -> None:
    """Spend the ids of this call, after everything about them was verified, and learn how client and token stand now.

    A copy that arrives at the same moment waits for the first to commit, and is refused. After a crash before the
    commit nothing is spent and nothing was done. Raises `ClientChanged` if the client is not as it was remembered.
    """
    once, token = attempt.single_uses, attempt.token
    known = attempt.remembered.version if attempt.remembered else None
    rows = await upkeep_statement(
        ADMIT,
        [
            attempt.client_id,
            known,
            [use.key for use in once],
            [use.until for use in once],
            token.key if token else None,
            token.authorization if token else None,
        ],
    )
    if not rows:
        raise InvalidToken("the client is unknown")
    row = rows[0]
    if known not in (None, row["version"]):
        raise ClientChanged
    attempt.remembered = None
    for use in once:
        if use.key not in row["fresh"]:
            raise use.reused
    attempt.standing = Standing(
        partner=PartnerId(row["partner"]),
        scopes=frozenset(row["scopes"]),
        purposes=_purposes(tuple(row["purposes"])),
        suspended=row["suspended"],
        frozen=row["frozen"],
        alive=row["alive"],
        calls=row["calls"],
        grant_calls=row["grant_calls"],
    )


@cache
def _purposes(names: tuple[str, ...]) -> frozenset[Purpose]:
    return frozenset(Purpose(name) for name in names)


async def spend_one(key: bytes, until: datetime) -> bool:
    """Spend an id that is not part of a call; whether it was there to be spent. Signing in takes this way."""
    async with open_upkeep(reserved=True) as upkeep:
        return bool(await upkeep.db.execute_query_dict(SPEND, [key, until]))


async def forget() -> None:
    """Forget the ids that would be refused for their age anyway, and how often was called an hour ago."""
    async with open_upkeep() as upkeep:
        await upkeep.db.execute_query(FORGET)
        await upkeep.db.execute_query(FORGET_CALLS)
