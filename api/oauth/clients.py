"""The clients of partners: who they are, which keys they sign with, what they may do."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from api.oauth import keys, signatures
from api.oauth.keys import KeyUnusable, PublicKey
from api.oauth.scopes import Scope
from api.tables import ClientRow
from compliance.act import Act, open_upkeep
from compliance.canonical import Json
from compliance.refusals import Fault, Refusal, Unacceptable
from compliance.vocabulary import PartnerId

CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
KEY_ID = re.compile(r"[\x21-\x7e]{1,128}")
MOST_KEYS = 8
INSERT = """
insert into api_client (client_id, partner, jwks, scopes, made_at) values ($1, $2, $3::jsonb, $4::text[], $5)
on conflict do nothing returning client_id
"""


class ClientIdTaken(Refusal):
    """Another client has this id."""

    status, code, title = 409, "client_id_taken", "Another client has this id"


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client and its keys, by key id."""

    client_id: str
    keys: Mapping[str, PublicKey]


async def find(client_id: str) -> Client | None:
    """The client with this id, as registered."""
    if CLIENT_ID.fullmatch(client_id) is None:
        return None
    async with open_upkeep() as upkeep:
        row = await ClientRow.get_or_none(client_id=client_id, using_db=upkeep.db)
    if row is None:
        return None
    return Client(client_id, {k["kid"]: keys.public_key(k) for k in row.jwks["keys"]})


async def register_client(
    act: Act,
    *,
    client_id: str,
    partner: PartnerId,
    jwks: Mapping[str, object],
    scopes: Sequence[str],
) -> None:
    """Register a client of a partner; records `client_registered`.

    `jwks` is a JWK set (RFC 7517) of public keys: EC P-256, RSA of 2048 to 4096 bits, or Ed25519, each key id once.
    Raises `Unacceptable`, naming every fault, and `ClientIdTaken`. The partner exists.
    """
    faults: list[Fault] = []
    if CLIENT_ID.fullmatch(client_id) is None:
        faults.append(Fault("/client_id", "malformed", "use 1 to 128 letters, digits and . _ ~ -"))
    if not scopes or set(scopes) - set(Scope):
        faults.append(Fault("/scopes", "unknown_scope", f"name one or more of {' '.join(Scope)}"))
    accepted = _accepted(jwks, faults)
    if faults:
        raise Unacceptable("the client cannot be registered like this", *faults)
    stored = json.dumps({"keys": list(accepted.values())})
    rows = await act.db.execute_query_dict(INSERT, [client_id, partner, stored, sorted(set(scopes)), act.now])
    if not rows:
        raise ClientIdTaken("choose another client id")
    told: dict[str, Json] = {"client": client_id, "scopes": sorted(set(scopes)), "keys": sorted(accepted)}
    act.record("client_registered", told, partner=partner)


def _accepted(jwks: Mapping[str, object], faults: list[Fault]) -> dict[str, dict[str, str]]:
    """The keys as they are stored, by key id: the members that count, and nothing else."""
    given = jwks.get("keys")
    if not isinstance(given, list) or not 0 < len(given) <= MOST_KEYS:
        faults.append(Fault("/jwks/keys", "malformed", f"give 1 to {MOST_KEYS} keys"))
        return {}
    accepted: dict[str, dict[str, str]] = {}
    for position, jwk in enumerate(given):
        try:
            key = _key(jwk)
        except KeyUnusable as why:
            faults.append(Fault(f"/jwks/keys/{position}", "key_unusable", str(why)))
            continue
        if key["kid"] in accepted:
            # FAPI 2.0 section 5.4.1 and RFC 7517 section 4.5: a key id names one key.
            faults.append(Fault(f"/jwks/keys/{position}/kid", "key_id_repeated", "give each key its own kid"))
        accepted[key["kid"]] = key
    return accepted


def _key(jwk: object) -> dict[str, str]:
    if not isinstance(jwk, dict):
        raise KeyUnusable("a key is a JSON object")
    key = keys.public_key(jwk)
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise KeyUnusable("the key is not for signatures")
    if signatures.current_name(str(jwk.get("alg", key.alg))) != key.alg:
        raise KeyUnusable(f"this kind of key is used with {key.alg} only")
    kid = jwk.get("kid", key.thumbprint)
    if not isinstance(kid, str) or KEY_ID.fullmatch(kid) is None:
        raise KeyUnusable("a kid is 1 to 128 visible ASCII characters")
    members = ("kty", *keys.KINDS[jwk["kty"]].members)
    return {m: str(jwk[m]) for m in members} | {"kid": kid, "alg": key.alg, "use": "sig"}
