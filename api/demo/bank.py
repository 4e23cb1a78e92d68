"""The demo's lender: a fictional bank in a process of its own, which knows us by our published key alone."""

import hashlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery

from api import running, serving
from api.demo import catalogue
from api.oauth.endpoints import KEYS_PATH
from api.settings import log_name
from compliance import postgres

KEPT_MAX = 10_000
"""References and addresses remembered; the oldest are forgotten first."""
BODY_BYTES_MAX = 16_384
LIMIT_MINOR = 3_000_000
KEYS_SECONDS = 5.0
BACK_PATH = "/back"
"""Where people come back to after they answered a request for consent."""
VARIABLES = ("XINQIAO_BANK_ISSUER", "XINQIAO_BANK_CODE", "XINQIAO_BANK_PARTNER")
"""The address of the service, the bank's code in the catalogue, its public id (ptn_...)."""


@dataclass(frozen=True, slots=True)
class BankConfig:
    """Who the bank is, and whose signatures it takes (`origin` is their `iss`).

    Our key is given as `jwks`, or else fetched once from `jwks_url`.
    """

    partner: str
    origin: str
    name_zh: str
    name_en: str
    jwks: Mapping[str, Any] | None = None
    jwks_url: str = ""


@dataclass(slots=True)
class Ledger:
    """What the bank remembers: referrals by our reference, and the addresses that were used."""

    keys: KeySet | None = None
    referrals: dict[str, dict[str, Any]] = field(default_factory=dict)
    used: dict[str, bool] = field(default_factory=dict)


class Untrusted(Exception):
    """The statement is not one that this bank takes."""


def create_bank(config: BankConfig) -> Litestar:
    """The bank's application: what `openapi/bank.yaml` asks for, and its pages for people."""
    return Litestar(
        [take_referral, tell_status, land, take_back],
        state=State({"config": config, "ledger": Ledger()}),
        request_max_body_size=BODY_BYTES_MAX,
        openapi_config=None,
    )


def from_environment() -> Litestar:
    """What the bank's server process calls; reads `VARIABLES`."""
    postgres.die_with_parent(int(os.environ[serving.PARENT]), signal.SIGKILL)
    issuer, code, partner = (os.environ[name] for name in VARIABLES)
    known = {institution.code: institution for institution in catalogue.institutions({})}
    return create_bank(
        BankConfig(
            partner=partner,
            origin=log_name(issuer),
            name_zh=known[code].name_zh,
            name_en=known[code].name_en,
            jwks_url=issuer + KEYS_PATH,
        )
    )


def decision(wish: Mapping[str, Any]) -> str:
    """A fictional decision, always the same for the same wish: small loans are approved, large ones countered."""
    return "approved" if wish["amount_minor"] <= LIMIT_MINOR else "countered"


@post("/referrals", status_code=202)
async def take_referral(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
    """Take a referral over, once per reference."""
    try:
        claims = await _verified(request, (await request.body()).decode(errors="replace"), "referral+jwt")
    except Untrusted as error:
        return Response({"error": str(error)}, status_code=401)
    reference = claims["ref"]
    _remember(_ledger(request).referrals, reference, claims["wish"])
    return Response({"reference": reference, "status": "acknowledged"}, status_code=202)


@get("/referrals/{reference:str}")
async def tell_status(request: Request[Any, Any, Any], reference: FromPath[str]) -> Response[dict[str, str]]:
    """Say whether a reference has arrived."""
    if reference not in _ledger(request).referrals:
        return Response({"error": "unknown reference"}, status_code=404)
    return Response({"reference": reference, "status": "acknowledged"})


@get("/apply", media_type=MediaType.HTML)
async def land(request: Request[Any, Any, Any], handover: FromQuery[str] = "") -> Response[str]:
    """Take a person over, once per address."""
    try:
        claims = await _verified(request, handover, "handover+jwt")
    except Untrusted:
        return _page(request, "这个链接无法使用", "This link cannot be used", 401)
    used = _ledger(request).used
    if claims["jti"] in used:
        return _page(request, "这个链接已经用过", "This link was used before", 410)
    _remember(used, claims["jti"], True)
    reference = hashlib.sha256(claims["ref"].encode()).hexdigest()[:8]
    return _page(
        request,
        f"请在本行页面继续填写申请（编号 {reference}）",
        f"Please go on with your application on our own page (number {reference})",
        200,
    )


@get(BACK_PATH, media_type=MediaType.HTML)
async def take_back(request: Request[Any, Any, Any], error: FromQuery[str] = "") -> Response[str]:
    """Take back a person who answered; the code in the address is for the bank's software (RFC 6749 section 4.1.2)."""
    if error:
        return _page(
            request, "您没有同意，本行不会得到您的数据", "You said no: we get none of your data", 200
        )
    return _page(request, "已收到您的答复", "We have your answer", 200)


async def _verified(request: Request[Any, Any, Any], signed: str, kind: str) -> dict[str, Any]:
    config: BankConfig = request.app.state.config
    try:
        token = jwt.decode(signed, await _keys(request), algorithms=["ES256"])
    except (JoseError, ValueError) as error:
        raise Untrusted("the signature is wrong") from error
    claims: dict[str, Any] = token.claims
    addressed = (claims.get("iss"), claims.get("aud"), token.header.get("typ")) == (
        config.origin,
        config.partner,
        kind,
    )
    if not addressed or int(claims.get("exp", 0)) < time.time():
        raise Untrusted("the statement is for another, or too old")
    return claims


async def _keys(request: Request[Any, Any, Any]) -> KeySet:
    config: BankConfig = request.app.state.config
    ledger = _ledger(request)
    if ledger.keys is None:
        published = config.jwks
        if published is None:
            async with httpx2.AsyncClient(timeout=KEYS_SECONDS, trust_env=False) as client:
                published = (await client.get(config.jwks_url)).raise_for_status().json()
        ledger.keys = KeySet.import_key_set(dict(published))  # type: ignore[arg-type]  # any JWK set, as published
    return ledger.keys


def _ledger(request: Request[Any, Any, Any]) -> Ledger:
    ledger: Ledger = request.app.state.ledger
    return ledger


def _remember(kept: dict[str, Any], key: str, value: object) -> None:
    kept.setdefault(key, value)
    if len(kept) > KEPT_MAX:
        del kept[next(iter(kept))]


def _page(request: Request[Any, Any, Any], zh: str, en: str, status: int) -> Response[str]:
    config: BankConfig = request.app.state.config
    return Response(
        f"""<!doctype html>
<html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer"><title>{escape(config.name_zh)}</title>
<h1>{escape(config.name_zh)} <span lang="en">{escape(config.name_en)}</span></h1>
<p><strong>演示用的虚构银行，并不存在。</strong> <span lang="en">A demo bank, fictional: it does not exist.</span></p>
<p>{escape(zh)}</p><p lang="en">{escape(en)}</p></html>
""",
        status_code=status,
        media_type=MediaType.HTML,
        headers={"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'"},
    )


if __name__ == "__main__":
    postgres.die_with_parent(int(os.environ[serving.PARENT]))
    running.listen("api.demo.bank:from_environment", port=int(sys.argv[1]), workers=1)
