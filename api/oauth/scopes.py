"""What a client may be allowed to do; one word for each kind of call."""

from enum import StrEnum


class Scope(StrEnum):
    """The scopes of access tokens (RFC 6749 section 3.3)."""

    GRANTS = "grants"
    SCORES = "scores"
    PRESCREENS = "prescreens"
    REFERRALS = "referrals"
    OUTCOMES = "outcomes"
    LOG = "log"
    CLIENTS = "clients"
    BEHAVIOUR = "behaviour"
    GRANT_MANAGEMENT_QUERY = "grant_management_query"
    GRANT_MANAGEMENT_REVOKE = "grant_management_revoke"


DELEGATED = frozenset(
    {Scope.GRANTS, Scope.SCORES, Scope.GRANT_MANAGEMENT_QUERY, Scope.GRANT_MANAGEMENT_REVOKE}
)
"""What a token that a person's consent stands behind can be for: that consent, and what it allows."""
USUAL = frozenset({Scope.GRANTS, Scope.SCORES})
"""What such a token is for where nothing was asked."""
OPERATORS = frozenset({Scope.BEHAVIOUR})
"""What the operator's own clients are for, and nobody else's."""
