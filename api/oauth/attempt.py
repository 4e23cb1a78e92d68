"""A call on its way through the checks: what came in, and what was found out about it so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from litestar import Request

from api.oauth.authorization_request import AuthorizationRequest
from api.oauth.certificates import Certificate
from api.oauth.clients import Client
from api.oauth.tokens import AccessClaims, Confirmation
from api.settings import Settings
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerClient, PartnerId, Purpose

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class SingleUse:
    """An id that counts once: its digest, when it can be forgotten, and what a second use is refused with."""

    key: bytes
    until: datetime
    reused: Refusal


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a client, and of the token it holds, at this moment.

    `suspended`: the client itself. `frozen`: its partner. `alive`: the token was not revoked, nor its consent ended.
    """

    partner: PartnerId
    scopes: frozenset[str]
    purposes: frozenset[Purpose]
    suspended: bool
    frozen: bool
    alive: bool
    calls: int
    grant_calls: int | None


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified proof of possession: the thumbprint of its key, and the token hash it names."""

    thumbprint: str
    ath: str | None


@dataclass(slots=True)
class Attempt:
    """One call. Each check fills in what later checks read; reading what no check filled in is a bug and raises.

    `now` is in seconds since the epoch; `while_frozen`: whether a frozen partner may make this call.
    """

    request: AnyRequest
    settings: Settings
    now: float
    while_frozen: bool = False
    single_uses: list[SingleUse] = field(default_factory=list)
    form: Mapping[str, str] = field(init=False)
    certificate: Certificate | None = field(init=False)
    client_id: str = field(init=False)
    client: Client = field(init=False)
    remembered: Client | None = None
    """The client as it was read, until it is known to be so still; on a protected call none is read, the token speaks."""
    token: AccessClaims | None = None
    token_digest: bytes = field(init=False)
    proof: Proof | None = field(init=False)
    binding: Confirmation = field(init=False)
    asked: AuthorizationRequest = field(init=False)
    standing: Standing = field(init=False)
    caller: PartnerClient = field(init=False)

    @property
    def issuer(self) -> str:
        """The name of this server, and the start of all its addresses."""
        return self.settings.issuer
