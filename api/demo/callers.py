"""Who calls in the story: a bank's software and a person's browser, over HTTP, with nothing from inside."""

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit
from uuid import uuid4

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_LEEWAY_SECONDS = 30
REDIRECTS_MAX = 5
HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')


class CallFailed(Exception):
    """A call of the story was answered otherwise than the story needs."""


def expect(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer's JSON, if it has this status (and the code of this problem, or of this OAuth error)."""
    body: dict[str, Any] = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.status_code != status or (code and body.get("code", body.get("error")) != code):
        told = json.dumps(body, ensure_ascii=False)[:600] or answer.text[:300]
        raise CallFailed(
            f"{answer.request.method} {answer.request.url.path}: {answer.status_code}, not {status}: {told}"
        )
    return body


@dataclass(frozen=True, slots=True)
class Pushed:
    """A pushed authorization request: the address a person is sent to, and what shows later that the answer is to it."""

    address: str
    expires_in: int
    state: str
    verifier: str = field(repr=False)


@dataclass
class BankSoftware:
    """A partner's OAuth client: private_key_jwt (RFC 7523), tokens bound to its key by DPoP (RFC 9449)."""

    http: httpx2.AsyncClient
    issuer: str
    client_id: str
    key: ECKey
    redirect_uri: str = ""
    _token: str = field(default="", repr=False)
    _until: float = 0.0

    async def push(self, detail: Mapping[str, object]) -> Pushed:
        """Ask for a consent (RFC 9396) by a pushed authorization request (RFC 9126) with PKCE (RFC 7636)."""
        state, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        form = {
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "state": state,
            "code_challenge": _sha256(verifier),
            "code_challenge_method": "S256",
            "authorization_details": json.dumps([detail]),
        }
        pushed = expect(await self._post("/oauth/par", form), 201)
        query = urlencode({"client_id": self.client_id, "request_uri": pushed["request_uri"]})
        return Pushed(f"{self.issuer}/oauth/authorize?{query}", pushed["expires_in"], state, verifier)

    async def redeem(self, pushed: Pushed, came_back_to: str) -> dict[str, Any]:
        """The tokens for the code in the address that the person came back to, if that answers this request."""
        said = dict(parse_qsl(urlsplit(came_back_to).query))
        # RFC 9207 section 2.4: another server's answer is not taken to this one.
        if (said.get("state"), said.get("iss")) != (pushed.state, self.issuer) or "code" not in said:
            raise CallFailed(f"the person came back with {sorted(said)}, not with a yes to this request")
        form = {
            "grant_type": "authorization_code",
            "code": said["code"],
            "redirect_uri": self.redirect_uri,
            "code_verifier": pushed.verifier,
        }
        return expect(await self._post("/oauth/token", form), 200)

    async def refresh(self, refresh_token: str) -> httpx2.Response:
        """Ask for a fresh access token of the same consent."""
        return await self._post(
            "/oauth/token", {"grant_type": "refresh_token", "refresh_token": refresh_token}
        )

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        once: str | None = None,
        token: str | None = None,
    ) -> httpx2.Response:
        """A protected call, in the client's own name or with the token of a person's consent.

        `once` is an idempotency key, a fresh one is used for every POST without it.
        """
        address = f"{self.issuer}{path}"
        token = token or await self.token()
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof(self.key, method, address, token)}
        if method == "POST":
            headers["Idempotency-Key"] = once or str(uuid4())
        return await self.http.request(method, address, json=body, headers=headers)

    async def token(self) -> str:
        """A live access token of the client's own, asked for when there is none."""
        if time.time() > self._until - TOKEN_LEEWAY_SECONDS:
            answer = expect(await self._post("/oauth/token", {"grant_type": "client_credentials"}), 200)
            self._token, self._until = answer["access_token"], time.time() + answer["expires_in"]
        return self._token

    async def _post(self, path: str, form: dict[str, str]) -> httpx2.Response:
        """A call of the authorization server: the client authenticates, and shows its key."""
        address = f"{self.issuer}{path}"
        authenticated = {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion(self.client_id, self.issuer, self.key),
            **form,
        }
        headers = {"DPoP": proof(self.key, "POST", address)}
        return await self.http.post(address, data=authenticated, headers=headers)


def assertion(client_id: str, issuer: str, key: ECKey) -> str:
    """A fresh assertion of the client (RFC 7523 section 3)."""
    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": issuer, "jti": str(uuid4())}
    header = {"alg": "ES256", "kid": key.kid}
    return jwt.encode(header, {**claims, "iat": now, "exp": now + 60}, key, algorithms=["ES256"])


def proof(key: ECKey, method: str, address: str, token: str | None = None) -> str:
    """A fresh proof of possession (RFC 9449 section 4.2), for a call with a token where there is one."""
    public = {name: value for name, value in key.as_dict(private=False).items() if name != "kid"}
    claims = {
        "htm": method,
        "htu": address.split("?", maxsplit=1)[0],
        "iat": int(time.time()),
        "jti": str(uuid4()),
    }
    if token:
        claims["ath"] = _sha256(token)
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": public}
    return jwt.encode(header, claims, key, algorithms=["ES256"])


@dataclass(frozen=True, slots=True)
class Page:
    """What a browser shows, and the address it is at."""

    address: str
    text: str


@dataclass
class Browser:
    """A person's browser: our cookies, and nothing else."""

    http: httpx2.AsyncClient
    issuer: str
    cookies: dict[str, str] = field(default_factory=dict, repr=False)

    async def sign_in(self, link: str) -> None:
        """Open a one-time link."""
        await self.open(link)

    async def open(self, address: str, fields: Mapping[str, object] | None = None) -> Page:
        """Open an address, or send it a form; follow where that leads, to our pages or to another site's."""
        for _ in range(REDIRECTS_MAX):
            method, ours = "GET" if fields is None else "POST", address.startswith(f"{self.issuer}/")
            headers = {"Cookie": self._cookie, "Origin": self.issuer} if ours else {"Cookie": ""}
            answer = await self.http.request(method, address, data=fields, headers=headers)
            if ours:
                for said in answer.headers.get_list("set-cookie"):
                    name, _, value = said.split(";", 1)[0].partition("=")
                    self.cookies[name] = value
            if answer.status_code == 200:
                return Page(address, answer.text)
            if answer.status_code != 303:
                raise CallFailed(f"{method} {urlsplit(address).path} was answered with {answer.status_code}")
            address, fields = urljoin(address, answer.headers["location"]), None
        raise CallFailed(f"more than {REDIRECTS_MAX} redirects, at last to {urlsplit(address).path}")

    async def send(self, page: Page, **fields: object) -> Page:
        """Fill in the form of a page and send it to the page's own address, with what the page hides in it."""
        hidden = {name: unescape(value) for name, value in HIDDEN.findall(page.text)}
        return await self.open(page.address.split("?", 1)[0], {**hidden, **fields})

    async def call(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """A call of the JSON interface in the person's own session."""
        headers = {"Cookie": self._cookie, "Origin": self.issuer}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid4())
        return await self.http.request(method, f"{self.issuer}{path}", json=body, headers=headers)

    @property
    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def _sha256(text: str) -> str:
    """As PKCE and DPoP write it: base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
