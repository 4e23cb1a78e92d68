"""A partner's OAuth client whose statements are signed before anything is timed."""

from dataclasses import dataclass

import httpx2
from joserfc.jwk import ECKey

from api.demo import world
from api.demo.callers import ASSERTION_TYPE, assertion, expect, proof
from api.settings import Settings

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
            "client_assertion": assertion(self.client_id, self.issuer, self.key),
        }
        return Prepared(form, {"DPoP": proof(self.key, "POST", self.issuer + TOKEN_PATH)})

    def call(self, method: str, path: str, token: str) -> Prepared:
        """A fresh call with a token that is bound to the key."""
        shown = proof(self.key, method, self.issuer + path, token)
        return Prepared({}, {"Authorization": f"DPoP {token}", "DPoP": shown})

    async def token(self, http: httpx2.AsyncClient) -> str:
        """An access token."""
        request = self.token_request()
        answer = await http.post(f"{self.issuer}{TOKEN_PATH}", data=request.form, headers=request.headers)
        token: str = expect(answer, 200)["access_token"]
        return token


async def register(settings: Settings) -> list[Client]:
    """The demo's institutions and a client of each; of its world nothing else is made, no model and no people."""
    team = await world._team()
    _, keys = await world._partners(settings, team, {}, "CNY")
    return [Client(settings.issuer, f"{code}-client", key) for code, key in keys.items()]
