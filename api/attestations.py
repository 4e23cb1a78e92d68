"""What a partner signs to say that it deleted a person's data, or under which law it must keep them."""

from datetime import date, datetime
from typing import Literal

import msgspec
from msgspec.json import Decoder

from api.oauth import signatures
from api.oauth.clients import Client
from api.oauth.signatures import CLOCK_AHEAD_SECONDS, Seconds, Signed, Unusable
from compliance.refusals import Fault, Unacceptable

KIND = "purge-attestation+jwt"
AGE_SECONDS_MAX = 300

Outcome = Literal["purged", "retained_by_law"]


class Attestation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims: which client says what about which consent; what is kept names its law and its last day."""

    iss: str
    aud: str
    grant_id: str
    outcome: Outcome
    iat: Seconds
    basis: str | None = None
    until: date | None = None


CLAIMS = Decoder(Attestation)


def read(text: str) -> Signed[Attestation]:
    """Take an attestation apart (compact JWS, `typ` purge-attestation+jwt); raises `Unacceptable`."""
    try:
        return signatures.read(text, CLAIMS, KIND)
    except Unusable as why:
        raise _unacceptable(why) from why


def verify(signed: Signed[Attestation], client: Client | None, wanted: Attestation, now: datetime) -> None:
    """Demand that the client itself signed just now exactly what is `wanted`; raises `Unacceptable`.

    `wanted.iat` counts for nothing: the statement's own must be within 5 minutes before `now`.
    """
    try:
        _check_claims(signed.claims, wanted, now.timestamp())
        _check_signature(signed, client)
    except Unusable as why:
        raise _unacceptable(why) from why


def _check_claims(claims: Attestation, wanted: Attestation, now: float) -> None:
    for name in ("iss", "aud", "grant_id", "outcome", "basis", "until"):
        if getattr(claims, name) != getattr(wanted, name):
            raise Unusable(f"its {name} is not that of this call")
    if not now - AGE_SECONDS_MAX <= claims.iat <= now + CLOCK_AHEAD_SECONDS:
        raise Unusable(f"its iat is not within the last {AGE_SECONDS_MAX} seconds")


def _check_signature(signed: Signed[Attestation], client: Client | None) -> None:
    key = signatures.key_of(signed, client.keys) if client else None
    if key is None:
        raise Unusable("no single key of the calling client fits its kid and alg")
    signatures.verify(signed, key)


def _unacceptable(why: Unusable) -> Unacceptable:
    fault = Fault("/attestation", "attestation_unusable", f"sign it anew: {why}")
    return Unacceptable("the attestation cannot be relied on", fault)
