"""A partner's OAuth client whose statements are signed before anything is timed."""

import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

from api.demo import world
from api.demo.callers import ASSERTION_TYPE, expect
from api.settings import Settings

ALGORITHM = "ES256"
TOKEN_PATH = "/oauth/token"
SCOPE = "scores"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a token request or a protected call carries, each part used once."""

    form: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Client:
    """A client as its authorization server knows it; one P-256 key signs assertions (RFC 7523) and proofs (RFC 9449)."""

    issuer: str
    client_id: str
    key: ECKey

    def token_request(self) -> Prepared:
        """A fresh request by `client_credentials`."""
        form = {
            "grant_type": "client_credentials",
            "scope": SCOPE,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(),
        }
        return Prepared(form, {"DPoP": self._proof("POST", TOKEN_PATH, {})})

    def call(self, method: str, path: str, token: str) -> Prepared:
        """A fresh call with a token that is bound to the key."""
        digest = urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
        proof = self._proof(method, path, {"ath": digest})
        return Prepared({}, {"Authorization": f"DPoP {token}", "DPoP": proof})

    async def token(self, http: httpx2.AsyncClient) -> str:
        """An access token."""
        request = self.token_request()
        answer = await http.post(f"{self.issuer}{TOKEN_PATH}", data=request.form, headers=request.headers)
        token: str = expect(answer, 200)["access_token"]
        return token

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "jti": str(uuid4())}
        return self._signed({"kid": self.key.kid}, claims | {"iat": now, "exp": now + 60})

    def _proof(self, method: str, path: str, more: dict[str, str]) -> str:
        public = {name: self.key.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")}
        claims = {"jti": str(uuid4()), "htm": method, "htu": self.issuer + path, "iat": int(time.time())}
        return self._signed({"typ": "dpop+jwt", "jwk": public}, claims | more)

    def _signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": ALGORITHM, **header}, claims, self.key, algorithms=[ALGORITHM])


async def register(settings: Settings) -> list[Client]:
    """The demo's institutions and a client of each; of its world nothing else is made, no model and no people."""
    team = await world._team()
    _, keys = await world._partners(settings, team, {}, "CNY")
    return [Client(settings.issuer, f"{code}-client", key) for code, key in keys.items()]
