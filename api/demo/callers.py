"""Who calls in the story: a bank's software and a person's browser, over HTTP, with nothing from inside."""

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_LEEWAY_SECONDS = 30


class CallFailed(Exception):
    """A call of the story was answered otherwise than the story needs."""


def expect(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer's JSON, if it has this status (and problem code)."""
    body: dict[str, Any] = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.status_code != status or (code and body.get("code") != code):
        told = json.dumps(body, ensure_ascii=False)[:600] or answer.text[:300]
        raise CallFailed(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code}, not {status}: {told}"
        )
    return body


@dataclass
class BankSoftware:
    """A partner's OAuth client: private_key_jwt (RFC 7523), tokens bound to its key by DPoP (RFC 9449)."""

    http: httpx2.AsyncClient
    issuer: str
    client_id: str
    key: ECKey
    _token: str = field(default="", repr=False)
    _until: float = 0.0

    async def call(
        self, method: str, path: str, body: object = None, *, once: str | None = None
    ) -> httpx2.Response:
        """A protected call; `once` is an idempotency key, a fresh one is used for every POST without it."""
        address = f"{self.issuer}{path}"
        token = await self.token()
        headers = {"Authorization": f"DPoP {token}", "DPoP": self._proof(method, address, token)}
        if method == "POST":
            headers["Idempotency-Key"] = once or str(uuid4())
        return await self.http.request(method, address, json=body, headers=headers)

    async def token(self) -> str:
        """A live access token, asked for when there is none."""
        if time.time() > self._until - TOKEN_LEEWAY_SECONDS:
            address = f"{self.issuer}/oauth/token"
            form = {
                "grant_type": "client_credentials",
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self._assertion(),
            }
            headers = {"DPoP": self._proof("POST", address)}
            answer = expect(await self.http.post(address, data=form, headers=headers), 200)
            self._token, self._until = answer["access_token"], time.time() + answer["expires_in"]
        return self._token

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {"iss": self.client_id, "sub": self.client_id, "aud": self.issuer, "jti": str(uuid4())}
        header = {"alg": "ES256", "kid": self.key.kid}
        return jwt.encode(header, {**claims, "iat": now, "exp": now + 60}, self.key, algorithms=["ES256"])

    def _proof(self, method: str, address: str, token: str | None = None) -> str:
        public = {name: value for name, value in self.key.as_dict(private=False).items() if name != "kid"}
        claims = {
            "htm": method,
            "htu": address.split("?", maxsplit=1)[0],
            "iat": int(time.time()),
            "jti": str(uuid4()),
        }
        if token:
            claims["ath"] = (
                base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
            )
        header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": public}
        return jwt.encode(header, claims, self.key, algorithms=["ES256"])


@dataclass
class Browser:
    """A person's browser: a cookie from a one-time link, and nothing else."""

    http: httpx2.AsyncClient
    issuer: str
    cookie: str = field(default="", repr=False)

    async def sign_in(self, link: str) -> None:
        """Open a one-time link."""
        answer = await self.http.get(link)
        if answer.status_code != 303 or "set-cookie" not in answer.headers:
            raise CallFailed(f"the sign-in link was answered with {answer.status_code}")
        self.cookie = answer.headers["set-cookie"].split(";", 1)[0]

    async def page(self, path: str) -> str:
        """A page's HTML."""
        answer = await self.http.get(f"{self.issuer}{path}", headers={"Cookie": self.cookie})
        if answer.status_code != 200:
            raise CallFailed(f"{path} was answered with {answer.status_code}")
        return answer.text

    async def call(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """A call of the JSON interface in the person's own session."""
        headers = {"Cookie": self.cookie, "Origin": self.issuer}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid4())
        return await self.http.request(method, f"{self.issuer}{path}", json=body, headers=headers)


def write_credentials(folder: Path, bank: BankSoftware, *, pseudonym: str, categories: list[str]) -> None:
    """What an outside client needs to get a score: `client.json` (with its private key) and `score-request.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    purpose = "credit_assessment"
    client = {
        "issuer": bank.issuer,
        "client_id": bank.client_id,
        "private_jwk": bank.key.as_dict(private=True),
        "pseudonym": pseudonym,
        "purpose": purpose,
        "categories": categories,
    }
    for name, content in (
        ("client.json", client),
        ("score-request.json", {"user": pseudonym, "purpose": purpose, "categories": categories}),
    ):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(json.dumps(content, indent=1) + "\n")
