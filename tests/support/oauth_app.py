"""The authorization server and one protected call, alone, for the tests of OAuth."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx2
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from support.oauth_client import OAuthClient

from api.oauth import clients, endpoints, pipeline
from api.settings import Settings
from compliance.act import open_act
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerId, Worker

ISSUER = "https://xinqiao.example"
CALL = f"{ISSUER}/call/%C3%A9%7E"
OPERATOR = Worker("tests")


@get("/call/{name:str}", opt={"access": None})
async def call(request: Request[Any, Any, Any]) -> dict[str, Any]:
    caller = await pipeline.protected_call(request)
    return {"partner": str(caller.partner), "client": caller.client_id, "scopes": sorted(caller.scopes)}


@post("/call/{name:str}", opt={"access": None}, status_code=200)
async def change(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return {"client": (await pipeline.protected_call(request)).client_id}


def refused(_: Request[Any, Any, Any], refusal: Refusal) -> Response[dict[str, str]]:
    headers: dict[str, str] = getattr(refusal, "headers", {})
    body = {"code": refusal.code, "detail": refusal.detail}
    return Response(body, status_code=refusal.status, headers=headers)


def make_app(home: Path) -> Litestar:
    settings = Settings(home, "development", ISSUER, None, frozenset())
    return Litestar(
        [*endpoints.routes, call, change],
        state=State({"settings": settings}),
        exception_handlers={Refusal: refused},
        openapi_config=None,
    )


@asynccontextmanager
async def alive(app: Litestar) -> AsyncIterator[None]:
    """Run the lifespan in a task of its own: anyio wants it left by the task that entered it, fixtures change tasks."""
    ready, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            ready.set()
            await over.wait()

    task = asyncio.create_task(live())
    await ready.wait()
    try:
        yield
    finally:
        over.set()
        await task


@asynccontextmanager
async def http_client(home: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Calls to the application; its lifespan is run too."""
    app = make_app(home)
    # The Host header is another than the issuer's on purpose: nothing may be derived from it.
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with alive(app), httpx2.AsyncClient(transport=transport, base_url="http://inner.invalid") as http:
        yield http


async def a_partner(owner: "asyncpg.Connection[asyncpg.Record]") -> PartnerId:
    """A partner in the directory."""
    partner = PartnerId(uuid4())
    now = datetime.now(UTC)
    await owner.execute(
        """insert into partners_partner (id, code, name_zh, name_en, kind, licence, licence_from, licence_until,
                                         owned_hosts, operator_stake, made_at)
           values ($1, $2, '甲银行', 'Bank A', 'bank', 'B0001', $3, $3, '{}', false, $4)""",
        partner,
        f"bank-{partner}",
        now.date(),
        now,
    )
    return partner


async def a_client(
    partner: PartnerId, alg: str = "ES256", scopes: tuple[str, ...] = ("scores", "grants")
) -> OAuthClient:
    """A registered client of the partner."""
    client = OAuthClient(f"client-{uuid4()}", ISSUER, alg)
    async with open_act(OPERATOR, None) as act:
        await clients.register_client(
            act, client_id=client.client_id, partner=partner, jwks=client.jwks(), scopes=scopes
        )
    return client


async def ask(http: httpx2.AsyncClient, client: OAuthClient, **form: str | None) -> httpx2.Response:
    """Ask for a token, with a fresh assertion and proof."""
    proof = client.proof("POST", client.token_address)
    return await http.post("/oauth/token", data=client.form(**form), headers={"DPoP": proof})


async def a_token(http: httpx2.AsyncClient, client: OAuthClient, **form: str | None) -> str:
    """A fresh access token."""
    answer = await ask(http, client, **form)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token
