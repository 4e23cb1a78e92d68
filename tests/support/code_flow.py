"""The code flow, step by step: a bank's client pushes, a person answers at a browser, the client redeems and calls."""

import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
from support.oauth_client import ASSERTION_TYPE, OAuthClient, changed
from support.world import ALL, ISSUER, Browser, World, a_bank, open_channel, persons, put_model_in_use

from api.oauth import clients
from compliance.act import open_act
from compliance.vocabulary import PartnerClient, Person, Worker

BACK = "https://bank.example/back"
OPERATOR = Worker("tests")
NOTICE = 'name="notice_sha256" value="'


@dataclass
class Flow:
    """One client and one person; each step can be changed, or left out."""

    http: httpx2.AsyncClient
    bank: PartnerClient
    oauth: OAuthClient
    person: Person
    browser: Browser
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def asking(self, **changes: str | None) -> dict[str, str]:
        """What a client pushes."""
        right = {
            "response_type": "code",
            "redirect_uri": BACK,
            "state": "a state",
            "code_challenge": challenge(self.verifier),
            "code_challenge_method": "S256",
            "authorization_details": json.dumps([self.detail()]),
        }
        return changed(right, changes)

    @staticmethod
    def detail(**changes: Any) -> dict[str, Any]:
        right = {"type": "xinqiao_consent", "purpose": "credit_assessment", "categories": sorted(ALL)}
        return changed(right, changes)

    async def post(self, path: str, form: dict[str, str], proof: bool = True) -> httpx2.Response:
        """An authenticated call of the client."""
        authenticated = {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.oauth.assertion(),
        } | form
        headers = {"DPoP": self.oauth.proof("POST", f"{ISSUER}{path}")} if proof else {}
        return await self.http.post(path, data=authenticated, headers=headers)

    async def push(self, *, proof: bool = False, **changes: str | None) -> httpx2.Response:
        return await self.post("/oauth/par", self.asking(**changes), proof)

    async def pushed(self, **changes: str | None) -> str:
        """A request that was pushed."""
        answer = await self.push(**changes)
        assert answer.status_code == 201, answer.text
        uri: str = answer.json()["request_uri"]
        return uri

    async def authorize(self, request_uri: str, client_id: str | None = None) -> httpx2.Response:
        """The person follows the bank's link."""
        parameters = {"client_id": client_id or self.oauth.client_id, "request_uri": request_uri}
        headers = {"Cookie": self.browser.cookie, "Accept": "text/html"}
        return await self.http.get("/oauth/authorize", params=parameters, headers=headers)

    async def page(self, request_uri: str) -> tuple[str, httpx2.Response]:
        """The page that the person reads, and its address."""
        moved = await self.authorize(request_uri)
        assert moved.status_code == 303, moved.text
        path = moved.headers["location"]
        return path, await self.http.get(path, headers={"Cookie": self.browser.cookie})

    async def answer(self, request_uri: str, *, yes: bool = True) -> httpx2.Response:
        """The person answers."""
        path, page = await self.page(request_uri)
        shown = page.text.split(NOTICE)[1].split('"')[0]
        fields: dict[str, Any] = {"answer": "yes", "categories": sorted(ALL)} if yes else {"answer": "no"}
        return await self.browser.send_form(path, notice_sha256=shown, **fields)

    async def code(self, **changes: str | None) -> str:
        """A code that the person's yes gave."""
        returned = back(await self.answer(await self.pushed(**changes)))
        return returned["code"]

    async def redeem(self, given: str, *, proof: bool = True, **changes: str | None) -> httpx2.Response:
        right = {
            "grant_type": "authorization_code",
            "code": given,
            "redirect_uri": BACK,
            "code_verifier": self.verifier,
        }
        return await self.post("/oauth/token", changed(right, changes), proof)

    async def tokens(self, **changes: str | None) -> dict[str, Any]:
        """What the client holds after the whole flow."""
        answer = await self.redeem(await self.code(**changes))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def refresh(self, token: str, **changes: str | None) -> httpx2.Response:
        right = {"grant_type": "refresh_token", "refresh_token": token}
        return await self.post("/oauth/token", changed(right, changes))

    async def score(self, tokens: dict[str, Any], user: str | None = None) -> httpx2.Response:
        """A protected call."""
        headers = self.oauth.call_headers("POST", f"{ISSUER}/v1/scores", tokens["access_token"])
        headers["Idempotency-Key"] = secrets.token_hex(8)
        body = {
            "user": user or tokens["authorization_details"][0]["user"],
            "purpose": "credit_assessment",
            "categories": sorted(ALL),
        }
        return await self.http.post("/v1/scores", json=body, headers=headers)


def challenge(verifier: str) -> str:
    """S256 (RFC 7636 section 4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def back(answer: httpx2.Response) -> dict[str, str]:
    """What the bank gets with the person who comes back."""
    assert answer.status_code == 303, answer.text
    parts = urlsplit(answer.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == BACK
    pairs = parse_qsl(parts.query, strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


async def a_client(bank: PartnerClient, alg: str = "ES256", **changes: Any) -> OAuthClient:
    """A registered client of the bank with an address to come back to."""
    oauth = OAuthClient(f"flow-{secrets.token_hex(6)}", ISSUER, alg)
    given: dict[str, Any] = {
        "client_id": oauth.client_id,
        "partner": bank.partner,
        "jwks": oauth.jwks(),
        "scopes": sorted(bank.scopes),
        "redirect_uris": [BACK],
    }
    async with open_act(OPERATOR, None) as act:
        await clients.register_client(act, **(given | changes))
    return oauth


async def begin(world: World, alg: str = "ES256", **changes: Any) -> Flow:
    """A world in which a score can be had."""
    await put_model_in_use()
    await open_channel()
    bank = await a_bank()
    (person,) = await persons(1)
    return Flow(world.http, bank, await a_client(bank, alg, **changes), person, await world.browser(person))
