"""Right calls of every kind at the authorization server and its pages: what wrong ones are made from."""

import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from joserfc.jwk import ECKey
from support import code_flow, identities, oauth_app, provider, world
from support.code_flow import BACK, NOTICE, Flow
from support.fuzz import Draft
from support.identities import Identity
from support.oauth_client import ASSERTION_TYPE
from support.provider import Liar, Visitor
from support.world import ALL, ISSUER, STORY, World

from api import sessions
from api.oauth import clients
from compliance.act import open_act, open_view
from compliance.database import Database
from consent import people

FORM = "application/x-www-form-urlencoded"
LASTS_SECONDS = {"request_uri": 400, "code": 40, "tokens": 200, "own token": 200, "asked": 400, "link": 2_000}
"""How long before it is made anew."""


class Site:
    """The whole application, one client with a key, one with a certificate, and what both hold at the moment."""

    def __init__(self, here: World, flow: Flow, liar: Liar, certificate: Identity, certified: str) -> None:
        self.here, self.flow, self.certificate, self.certified = here, flow, certificate, certified
        self.liar, self.reference = liar, ""
        self.who = "assertion"
        self.kept: dict[str, tuple[Any, float]] = {}

    async def have(self, what: str) -> Any:
        """Something valid, made where there is none or it gets old."""
        value, made_at = self.kept.get(what, (None, 0.0))
        if value is None or time.monotonic() - made_at > LASTS_SECONDS[what]:
            value = await self._made(what)
            self.kept[what] = value, time.monotonic()
        return value

    async def _made(self, what: str) -> Any:
        if what == "own token":
            return await oauth_app.a_token(self.here.http, self.flow.oauth)
        (person,) = await world.persons(1)
        flow = replace(self.flow, person=person, browser=await self.here.browser(person))
        match what:
            case "tokens":
                return await flow.tokens()
            case "code":
                return await flow.code()
            case "request_uri":
                return await flow.pushed(), flow
            case "link":
                return await sessions.make_link(STORY, self.here.settings, user=person.user)
        path, page = await flow.page(await flow.pushed())
        return path, page.text.split(NOTICE)[1].split('"')[0], flow

    def form(self, path: str, *, proof: bool = False, **fields: str) -> Draft:
        """A form of a client that authenticates as `who` says."""
        draft = Draft("POST", path).put(**fields).head(Content_Type=FORM)
        if self.who == "certificate":
            return draft.put(client_id=self.certified).head(Client_Cert=self.certificate.header)
        if self.who == "assertion":
            oauth = draft.signer = self.flow.oauth
            draft.put(client_assertion_type=ASSERTION_TYPE, client_assertion=oauth.assertion())
            if proof:
                draft.head(DPoP=oauth.proof("POST", f"{ISSUER}{path}"))
        return draft

    async def call(self, method: str, path: str) -> Draft:
        """A protected call with the client's own token."""
        draft = Draft(method, path, in_address=True)
        if self.who != "nobody":
            draft.signer, draft.token = self.flow.oauth, await self.have("own token")
            draft.head(**draft.signer.call_headers(method, f"{ISSUER}{path}", draft.token))
        return draft

    def page(self, method: str, path: str, flow: Flow | None = None) -> Draft:
        """A page, or a form of one, at the browser of somebody."""
        draft = Draft(method, path, in_address=method == "GET").head(Accept="text/html")
        if flow and self.who != "nobody":
            draft.head(Cookie=flow.browser.cookie)
        if method == "POST":
            draft.head(Content_Type=FORM, Origin=ISSUER)
        return draft


async def push(site: Site) -> Draft:
    return site.form("/oauth/par", proof=True, **site.flow.asking())


async def own_token(site: Site) -> Draft:
    return site.form("/oauth/token", proof=True, grant_type="client_credentials", scope="scores grants")


async def redeem(site: Site) -> Draft:
    code = await site.have("code")
    said = {"grant_type": "authorization_code", "redirect_uri": BACK, "code_verifier": site.flow.verifier}
    return site.form("/oauth/token", proof=True, code=code, **said)


async def refresh(site: Site) -> Draft:
    token = (await site.have("tokens"))["refresh_token"]
    return site.form("/oauth/token", proof=True, grant_type="refresh_token", refresh_token=token)


async def introspect(site: Site) -> Draft:
    token = (await site.have("tokens"))["access_token"]
    return site.form("/oauth/introspect", token=token, token_type_hint="access_token")


async def revoke(site: Site) -> Draft:
    return site.form("/oauth/revoke", token=(await site.have("tokens"))["refresh_token"])


async def look_at_grant(site: Site) -> Draft:
    return await site.call("GET", f"/oauth/grants/{(await site.have('tokens'))['grant_id']}")


async def give_back(site: Site) -> Draft:
    return await site.call("DELETE", f"/oauth/grants/{(await site.have('tokens'))['grant_id']}")


async def authorize(site: Site) -> Draft:
    request_uri, flow = await site.have("request_uri")
    draft = site.page("GET", "/oauth/authorize", flow)
    return draft.put(client_id=flow.oauth.client_id, request_uri=request_uri)


async def ask(site: Site) -> Draft:
    path, _, flow = await site.have("asked")
    return site.page("GET", path, flow)


async def answer(site: Site) -> Draft:
    path, shown, flow = await site.have("asked")
    draft = site.page("POST", path, flow)
    draft.put(_csrf_token=flow.browser.form_token, answer="yes", notice_sha256=shown)
    for category in sorted(ALL):
        draft.put(categories=category)
    return draft


async def set_out(site: Site) -> Draft:
    request_uri, flow = await site.have("request_uri")
    return site.page("GET", "/sign-in").put(client_id=flow.oauth.client_id, request_uri=request_uri)


async def come_back(site: Site) -> Draft:
    """From the provider; each time from another sign-in, because also a wrong answer spends it."""
    visitor, liar = Visitor(site.here), site.liar
    asked = await visitor.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], site.reference))
    draft = site.page("GET", "/sign-in/return").put(state=asked["state"], code="a-code", iss=liar.issuer)
    return draft if site.who == "nobody" else draft.head(Cookie=visitor.headers["Cookie"])


async def link(site: Site) -> Draft:
    return site.page("GET", f"/sign-in/{await site.have('link')}")


async def link_asked(site: Site) -> Draft:
    return site.page("POST", f"/sign-in/{await site.have('link')}")


async def metadata(_: Site) -> Draft:
    return Draft("GET", "/.well-known/oauth-authorization-server", in_address=True)


async def resource_metadata(_: Site) -> Draft:
    return Draft("GET", "/.well-known/oauth-protected-resource", in_address=True)


async def keys(_: Site) -> Draft:
    return Draft("GET", "/.well-known/jwks.json", in_address=True)


class Target(NamedTuple):
    """A right call; `spends` is what is gone when it succeeds."""

    right: Callable[[Site], Awaitable[Draft]]
    spends: str = ""


TARGETS = {
    "push": Target(push),
    "own token": Target(own_token),
    "redeem": Target(redeem, spends="code"),
    "refresh": Target(refresh),
    "introspect": Target(introspect),
    "revoke": Target(revoke, spends="tokens"),
    "look at a grant": Target(look_at_grant),
    "give a grant back": Target(give_back, spends="tokens"),
    "authorize": Target(authorize),
    "ask": Target(ask),
    "answer": Target(answer, spends="asked"),
    "set out to sign in": Target(set_out),
    "come back from signing in": Target(come_back),
    "link": Target(link, spends="link"),
    "link, asked": Target(link_asked, spends="link"),
    "server metadata": Target(metadata),
    "resource metadata": Target(resource_metadata),
    "keys": Target(keys),
}


@asynccontextmanager
async def opened(database: Database, home: Path) -> AsyncIterator[Site]:
    """An installation without limits to how often is called, behind a proxy that shows certificates."""
    unlimited = {"client_calls_per_minute": 10**9, "grant_calls_per_minute": 10**9}
    proxies = frozenset({"127.0.0.1"})
    async with provider.lying(database, home, trusted_proxies=proxies, **unlimited) as (here, liar):
        flow = await code_flow.begin(here)
        site = Site(here, flow, liar, *await _certified(flow))
        async with open_view(STORY) as view:
            site.reference = await people.reference_of(view, flow.person.user)
        yield site


async def _certified(flow: Flow) -> tuple[Identity, str]:
    """A client that is known by its certificate."""
    key = ECKey.generate_key("P-256", auto_kid=True)
    certificate = identities.certify("CN=fuzz", key=key.private_key)
    jwk = key.as_dict(private=False) | {"x5c": [b64encode(certificate.der).decode()]}
    async with open_act(STORY, None) as act:
        row = await clients.register_client(
            act,
            client_id="certified",
            partner=flow.bank.partner,
            method="self_signed_tls_client_auth",
            jwks={"keys": [jwk]},
            scopes=sorted(flow.bank.scopes),
            redirect_uris=[BACK],
        )
    return certificate, row.client_id
