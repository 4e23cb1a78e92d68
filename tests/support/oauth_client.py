"""A partner's OAuth client: its keys, its assertions, its proofs of possession. It shares no code with the product."""

import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import uuid4

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("ES256", "PS256", "EdDSA", "Ed25519")


def new_key(alg: str) -> Key:
    """A fresh key of the kind that the algorithm needs."""
    if alg.startswith("ES"):
        return ECKey.generate_key({"ES256": "P-256", "ES384": "P-384"}[alg], auto_kid=True)
    if alg.startswith(("PS", "RS")):
        return RSAKey.generate_key(2048, auto_kid=True)
    return OKPKey.generate_key("Ed25519", auto_kid=True)


def base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def sign(header: dict[str, Any] | bytes, claims: dict[str, Any] | bytes, key: Key, alg: str) -> str:
    """A compact JWS; bytes are taken as they are, so that malformed ones can be made."""
    parts = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims))
    signing_input = ".".join(base64url(part) for part in parts)
    signature = JWSRegistry.algorithms[alg].sign(signing_input.encode(), key)
    return f"{signing_input}.{base64url(signature)}"


def changed(given: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """With the changes applied; None takes a member away."""
    return {name: value for name, value in (given | changes).items() if value is not None}


@dataclass
class OAuthClient:
    """What a partner's software holds."""

    client_id: str
    issuer: str
    alg: str = "ES256"
    key: Key = field(init=False)
    proof_key: Key = field(init=False)

    def __post_init__(self) -> None:
        self.key, self.proof_key = new_key(self.alg), new_key(self.alg)

    def jwks(self) -> dict[str, Any]:
        """What the partner registers."""
        return {"keys": [self.key.as_dict(private=False)]}

    def assertion(
        self, header: dict[str, Any] | None = None, *, key: Key | None = None, **claims: Any
    ) -> str:
        """A fresh assertion, valid unless something is changed."""
        now = int(time.time())
        right = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer}
        right |= {"jti": str(uuid4()), "iat": now, "exp": now + 60}
        head = changed({"alg": self.alg, "kid": self.key.kid}, header or {})
        return sign(head, changed(right, claims), key or self.key, head.get("alg", self.alg))

    def statement(self, header: dict[str, Any], claims: dict[str, Any], key: Key | None = None) -> str:
        """Something that the client says to the issuer, signed just now with its registered key."""
        right = {"iss": self.client_id, "aud": self.issuer, "iat": int(time.time())}
        head = changed({"alg": self.alg, "kid": self.key.kid}, header)
        return sign(head, changed(right, claims), key or self.key, head["alg"])

    def proof(
        self,
        method: str,
        address: str,
        token: str | None = None,
        header: dict[str, Any] | None = None,
        *,
        key: Key | None = None,
        **claims: Any,
    ) -> str:
        """A fresh proof of possession, valid unless something is changed."""
        signer = key or self.proof_key
        right = {"jti": str(uuid4()), "htm": method, "htu": address, "iat": int(time.time())}
        if token is not None:
            right["ath"] = base64url(sha256(token.encode()).digest())
        public = {m: signer.as_dict(private=False)[m] for m in signer.as_dict(private=False) if m != "kid"}
        head = changed({"alg": self.alg, "typ": "dpop+jwt", "jwk": public}, header or {})
        return sign(head, changed(right, claims), signer, head.get("alg", self.alg))

    def form(self, **changes: str | None) -> dict[str, str]:
        """A valid token request, unless something is changed."""
        right = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
        if "client_assertion" not in changes:
            right["client_assertion"] = self.assertion()
        return changed(right, changes)

    @property
    def token_address(self) -> str:
        return f"{self.issuer}/oauth/token"

    def call_headers(self, method: str, address: str, token: str) -> dict[str, str]:
        """The headers of a protected call."""
        return {"Authorization": f"DPoP {token}", "DPoP": self.proof(method, address, token)}
