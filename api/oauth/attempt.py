"""A call on its way through the checks: what came in, and what was found out about it so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from litestar import Request

from api.oauth.tokens import AccessClaims
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerClient, PartnerId

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class SingleUse:
    """An id that counts once: its digest, when it can be forgotten, and what a second use is refused with."""

    key: bytes
    until: datetime
    reused: Refusal


@dataclass(frozen=True, slots=True)
class Standing:
    """What the directory says of a client at this moment."""

    partner: PartnerId
    scopes: frozenset[str]
    suspended: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified proof of possession: the thumbprint of its key, and the token hash it names."""

    thumbprint: str
    ath: str | None


@dataclass(slots=True)
class Attempt:
    """One call. Each check fills in what later checks read; reading what no check filled in is a bug and raises.

    `issuer` is this server's name and the start of all its addresses; `now` is in seconds since the epoch.
    """

    request: AnyRequest
    issuer: str
    now: float
    single_uses: list[SingleUse] = field(default_factory=list)
    form: Mapping[str, str] = field(init=False)
    client_id: str = field(init=False)
    token: AccessClaims = field(init=False)
    token_digest: bytes = field(init=False)
    proof: Proof = field(init=False)
    standing: Standing = field(init=False)
    caller: PartnerClient = field(init=False)
