"""An authorization request as a client pushes it: which consent it wants, and where the person goes back to."""

from dataclasses import dataclass
from typing import Literal

from api.asks import GrantRequest

DETAIL_TYPE = "xinqiao_consent"


class ConsentDetail(GrantRequest, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One consent, as rich authorization details ask for it (RFC 9396 section 2)."""

    type: Literal["xinqiao_consent"]
    template: str | None = None
    """`id@version`, if you want to be refused when another is in force."""
    locations: tuple[str, ...] = ()
    """This server, if anything (RFC 9396 section 2.2)."""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What was pushed (RFC 9126 section 2), checked. `proof_key` binds the code (RFC 9449 section 10).

    `replaces` is a consent that the new one takes the place of (Grant Management, draft): `merge` adds its categories.
    """

    redirect_uri: str
    state: str | None
    scopes: frozenset[str]
    code_challenge: str
    proof_key: str | None
    detail: ConsentDetail
    action: Literal["create", "merge", "replace"]
    replaces: str | None
