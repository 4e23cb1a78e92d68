"""Assertions and proofs count once; who presents one a second time is refused."""

from api.oauth.attempt import Attempt, Standing
from api.oauth.checks.access_token import InvalidToken
from compliance.act import open_upkeep
from compliance.vocabulary import PartnerId

SPEND = "select partner, scopes, suspended from api_spend($1, $2, $3)"
KNOWN = "select 1 from api_client where client_id = $1"
# The margin is for servers whose clocks differ.
FORGET = "delete from api_spent where expires_at < clock_timestamp() - interval '1 minute'"


async def spend(attempt: Attempt) -> None:
    """Spend the ids of this call, after everything about them was verified, and learn how the client stands now.

    A copy that arrives at the same moment waits for the first to commit, and is refused. After a crash before the
    commit nothing is spent and nothing was done.
    """
    async with open_upkeep() as upkeep:
        for once in attempt.single_uses:
            rows = await upkeep.db.execute_query_dict(SPEND, [once.key, once.until, attempt.client_id])
            if not rows and not await upkeep.db.execute_query_dict(KNOWN, [attempt.client_id]):
                raise InvalidToken("the client is unknown")
            if not rows:
                raise once.reused
    partner, scopes, suspended = rows[0]["partner"], rows[0]["scopes"], rows[0]["suspended"]
    attempt.standing = Standing(PartnerId(partner), frozenset(scopes), suspended)


async def forget() -> None:
    """Forget the ids that would be refused for their age anyway."""
    async with open_upkeep() as upkeep:
        await upkeep.db.execute_query(FORGET)
