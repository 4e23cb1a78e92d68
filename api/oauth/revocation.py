"""Revocation: a client gives a token back (RFC 7009); it counts no more, at once and in every process."""

from datetime import UTC, datetime

from api.oauth import authorizations, tokens
from api.oauth.attempt import Attempt
from api.oauth.tokens import AccessClaims
from api.tables import AuthorizationRow
from compliance import ids
from compliance.act import Act, View
from compliance.vocabulary import GrantId
from consent import grants

NOTE = "insert into api_spent (key, expires_at) values ($1, $2) on conflict do nothing"


async def find(view: View, attempt: Attempt) -> AccessClaims | AuthorizationRow | None:
    """The token that the client gives back; None if it is none of its own that counts (RFC 7009 section 2.2)."""
    text = attempt.form["token"]
    claims = tokens.of_client(text, attempt.client_id, issuer=attempt.issuer, now=attempt.now)
    return claims or await authorizations.by_refresh_token(view, attempt.client_id, text)


async def revoke(act: Act, found: AccessClaims | AuthorizationRow) -> None:
    """Revoke an access token, or a refresh token and with it all that was issued from the same authorization.

    The person's consent stands: that is withdrawn, or given back, by other means. Records `token_revoked` or
    `authorization_revoked`.
    """
    if isinstance(found, AccessClaims):
        await act.db.execute_query(NOTE, [found.key, datetime.fromtimestamp(found.exp, UTC)])
        grant = GrantId(ids.private("gnt", found.grant_id)) if found.grant_id else None
        person = grants.user_of(await grants.find(act, grant)) if grant else None
        act.record("token_revoked", {"client": found.client_id}, person=person, grant=grant)
        return
    row = await grants.find(act, GrantId(found.grant_id))
    found.revoked_at = act.now
    await found.save(using_db=act.db, update_fields=["revoked_at"])
    act.record(
        "authorization_revoked",
        {"client": found.client_id},
        person=grants.user_of(row),
        grant=GrantId(row.id),
    )
