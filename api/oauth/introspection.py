"""Introspection: how a token of the asking client stands now (RFC 7662), signed where that is asked for (RFC 9701)."""

import time
from typing import Any

import msgspec

from api.oauth import authorizations, tokens
from api.oauth.attempt import Attempt
from api.oauth.tokens import AccessClaims
from compliance.act import View, open_upkeep
from compliance.database import ground
from compliance.vocabulary import GrantId
from consent import grants

SIGNED_TYPE = "application/token-introspection+jwt"
ALIVE = "select api_alive($1, $2) as alive"
DEAD: dict[str, Any] = {"active": False}
"""All that is said of a token that does not count, or is not the caller's (RFC 7662 section 2.2)."""


async def refresh_token(view: View, attempt: Attempt) -> dict[str, Any]:
    """What a refresh token of the client's stands for, while it counts."""
    row = await authorizations.by_refresh_token(view, attempt.client_id, attempt.form["token"])
    if row is None:
        return DEAD
    delegation = await authorizations.delegated(view, row, await grants.find(view, GrantId(row.grant_id)))
    if delegation is None:
        return DEAD
    return {
        "active": True,
        "iss": attempt.issuer,
        "client_id": row.client_id,
        "sub": delegation.subject,
        "scope": " ".join(row.scopes),
        "exp": int(delegation.until.timestamp()),
        "authorization_details": delegation.details,
        "grant_id": delegation.details[0]["grant_id"],
    }


async def access_token(attempt: Attempt) -> dict[str, Any] | None:
    """What an access token of the client's says, while it counts; None if it is none."""
    text = attempt.form["token"]
    claims = tokens.of_client(text, attempt.client_id, issuer=attempt.issuer, now=attempt.now)
    if claims is None:
        return None
    if not await _is_alive(claims):
        return DEAD
    told = {name: value for name, value in msgspec.to_builtins(claims).items() if value is not None}
    return {"active": True, "token_type": claims.cnf.token_type, **told}


async def _is_alive(claims: AccessClaims) -> bool:
    """Whether a token was neither revoked nor outlived its consent."""
    async with open_upkeep() as upkeep:
        rows = await upkeep.db.execute_query_dict(ALIVE, [claims.key, claims.authorization])
    return bool(rows[0]["alive"])


def signed(told: dict[str, Any], attempt: Attempt) -> str:
    """The answer as a statement of ours to this client (RFC 9701 section 5)."""
    claims = {
        "iss": attempt.issuer,
        "aud": attempt.client_id,
        "iat": int(time.time()),
        "token_introspection": told,
    }
    return ground().keyring.sign("token-introspection+jwt", claims)
