"""Providers to sign in at, on real ports: the one of development, and one that says whatever a test wants; and a browser."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from granian.constants import Interfaces
from granian.server.embed import Server
from joserfc import jwt
from joserfc.jwk import ECKey, Key
from litestar import Litestar, Request, Response, get, post
from support import live, world
from support.world import STORY, World

from api import passwords
from api.demo import provider as development
from api.settings import Provider
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import UserId

NAME, PASSWORD = "li", "correct horse 电池"
CLIENT_ID = "xinqiao"


@asynccontextmanager
async def served(app: Litestar, issuer: str) -> AsyncIterator[None]:
    """An application at a port of this machine, in this very process; what it stands on stands already."""
    server = Server(
        app,
        address="127.0.0.1",
        port=int(issuer.rpartition(":")[2]),
        interface=Interfaces.ASGINL,
        log_enabled=False,
    )
    running = asyncio.create_task(server.serve())
    try:
        async with httpx2.AsyncClient(trust_env=False) as http:
            for _ in range(200):
                try:
                    await http.get(f"{issuer}/keys")
                    break
                except httpx2.TransportError:
                    await asyncio.sleep(0.02)
        yield
    finally:
        server.stop()
        await running


@asynccontextmanager
async def opened(database: Database, home: Path, **changes: Any) -> AsyncIterator[World]:
    """The whole application, and the development provider beside it."""
    issuer = f"http://127.0.0.1:{live.free_ports()}"
    about = {name: changes.pop(name) for name in ("secret_file", "acr") if name in changes}
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(
            world.opened(database, home, provider=Provider(issuer, **about), **changes)
        )
        await stack.enter_async_context(served(development.create_provider(here.settings), issuer))
        yield here


async def named(name: str = NAME, password: str = PASSWORD, user: UserId | None = None) -> UserId:
    """Somebody with a name and a password at the development provider."""
    known = user or (await world.persons(1))[0].user
    kept = await passwords.stretch(password)
    async with open_act(STORY, None) as act:
        await passwords.keep(act, name, known, kept)
    return known


@dataclass
class Visitor:
    """Somebody at a browser: our cookies, and the pages as they stand there."""

    here: World
    language: str = "en"
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"Accept": "text/html", "Accept-Language": self.language} | (
            {"Cookie": cookie} if cookie else {}
        )

    async def look(self, path: str, **params: str) -> httpx2.Response:
        """Open an address of ours; nothing is followed."""
        return self.keep(await self.here.http.get(path, params=params or None, headers=self.headers))

    def keep(self, answer: httpx2.Response) -> httpx2.Response:
        for said in answer.headers.get_list("set-cookie"):
            name, _, value = said.split(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in said:
                del self.cookies[name]
        return answer

    async def leave(self, **wanted: str) -> dict[str, str]:
        """Set out to sign in; what we ask the provider."""
        answer = await self.look("/sign-in", **wanted)
        assert answer.status_code == 303, answer.text
        return dict(parse_qsl(urlsplit(answer.headers["location"]).query, strict_parsing=True))

    async def at_provider(self, name: str = NAME, password: str = PASSWORD, **wanted: str) -> httpx2.Response:
        """Set out, fill in the form there and send it; what the provider answers."""
        answer = await self.look("/sign-in", **wanted)
        async with httpx2.AsyncClient(trust_env=False) as http:
            shown = await http.get(answer.headers["location"], headers=self.headers)
            assert shown.status_code == 200, shown.text
            fields = hidden(shown.text) | {"name": name, "password": password}
            at = self.here.settings.provider
            assert at
            return await http.post(f"{at.issuer}/authorize", data=fields, headers={"Origin": at.issuer})

    async def sign_in(self, **how: str) -> httpx2.Response:
        """The whole way; our answer to their coming back."""
        return await self.come_back((await self.at_provider(**how)).headers["location"])

    async def come_back(self, address: str) -> httpx2.Response:
        """Arrive at the address that the provider sends to."""
        assert address.startswith(f"{self.here.settings.issuer}/sign-in/return?"), address
        return await self.look(address.removeprefix(self.here.settings.issuer))


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', unescape(page)))


class Liar:
    """A provider that is right in everything that a test does not change."""

    def __init__(self) -> None:
        self.issuer = f"http://127.0.0.1:{live.free_ports()}"
        self.key: Key = ECKey.generate_key("P-256", auto_kid=True)
        self.published: list[Mapping[str, Any]] = [self.key.as_dict(private=False)]
        self.metadata: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": True,
        }
        self.token: Any = None
        self.status = 200
        self.redeemed: list[dict[str, str]] = []
        self.authorized: list[str] = []
        self.described = 0

    def claims(self, nonce: str, reference: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": reference,
            "aud": CLIENT_ID,
            "exp": now + 300,
            "iat": now,
            "auth_time": now,
            "nonce": nonce,
        }

    def signed(self, claims: Mapping[str, Any], key: Key | None = None, **header: Any) -> str:
        key = key or self.key
        said = {"alg": "ES256", "kid": key.kid} | header
        return jwt.encode(
            {k: v for k, v in said.items() if v is not None}, dict(claims), key, algorithms=[said["alg"]]
        )

    def app(self) -> Litestar:
        @get("/.well-known/openid-configuration")
        async def describe() -> Response[Any]:
            self.described += 1
            return Response(self.metadata)

        @get("/keys")
        async def keys() -> Response[Any]:
            return Response({"keys": self.published})

        @post("/token")
        async def token(request: Request[Any, Any, Any]) -> Response[Any]:
            sent = await request.form()
            self.redeemed.append({name: str(value) for name, value in sent.items()})
            self.authorized.append(request.headers.get("authorization", ""))
            said = (
                self.token
                if isinstance(self.token, dict)
                else {"id_token": self.token, "token_type": "Bearer"}
            )
            return Response(said, status_code=self.status)

        return Litestar([describe, keys, token], openapi_config=None)

    def back(self, asked: Mapping[str, str], **said: str) -> str:
        """The address that it would send the browser to."""
        told = {"code": "a-code", "state": asked["state"], "iss": self.issuer} | said
        return f"{asked['redirect_uri']}?{urlencode({k: v for k, v in told.items() if v})}"


@asynccontextmanager
async def lying(database: Database, home: Path, **changes: Any) -> AsyncIterator[tuple[World, Liar]]:
    """The whole application, which signs people in at a provider that lies."""
    liar = Liar()
    about = {name: changes.pop(name) for name in ("secret_file", "acr") if name in changes}
    async with (
        world.opened(database, home, provider=Provider(liar.issuer, CLIENT_ID, **about), **changes) as here,
        served(liar.app(), liar.issuer),
    ):
        yield here, liar
