"""The whole code flow by a certified client library: a person at a real browser, keys of every kind, certificates."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey
from playwright.async_api import Page, async_playwright
from support import live, proxy, world
from support.identities import Identity, certify
from support.live import Installation, Server
from support.oauth_client import OAuthClient
from support.world import ALL, STORY, told

from api import passwords
from compliance.act import open_act
from compliance.database import Database

pytestmark = [pytest.mark.npm, pytest.mark.browser]
CLIENT = Path(__file__).parent / "client"
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PROFILE = "FAPI 2.0 Security Profile"
SECONDS = 120
NAME, PASSWORD = "li", "a long password"
PARTNER, SCOPES = "alpha", "scores grants log"
SUBJECT = "CN=bank-a.example,O=甲银行,C=CN"
DETAIL = {"type": "xinqiao_consent", "purpose": "credit_assessment", "categories": sorted(ALL)}
BUILT_IN = {"XINQIAO_PROVIDER_ISSUER": ""}
"""People sign in at the provider of development, which is started beside the server."""
OUTSIDE = "127.0.0.2"
"""An address of this machine that is not the proxy's."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outside program with its libraries."""
    made = tmp_path_factory.mktemp("outside") / "client"
    shutil.copytree(CLIENT, made)
    npm = shutil.which("npm")
    assert npm, "npm is needed"
    options = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    subprocess.run([npm, "install", *options], cwd=made, check=True, timeout=SECONDS)
    return made


@dataclass
class Window:
    """A person at a browser, who says yes to whatever is asked."""

    page: Page
    seen: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    async def say_yes(self, address: str, redirect_uri: str) -> None:
        """Follow the link on a client's page, sign in if asked to, tick everything, agree, and arrive back there."""
        page = self.page
        await page.goto(address)
        await page.locator("a").click()
        await page.wait_for_url(re.compile("/authorize|/ask/"))
        if await page.locator("#password").count():
            self.seen.append("signed in")
            await page.fill("#name", NAME)
            await page.fill("#password", PASSWORD)
            await page.locator("main form button").first.click()
        await page.wait_for_url("**/ask/*")
        for category in sorted(ALL):
            await page.check(f"#category-{category}")
        self.seen.append("said yes")
        await page.locator(".choice button").first.click()
        await page.wait_for_url(f"{redirect_uri}?*")
        assert await page.locator("body").inner_text() == "Back at the bank"


@asynccontextmanager
async def window() -> AsyncIterator[Window]:
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(ignore_https_errors=True, locale="en")
        opened = Window(await context.new_page())
        opened.page.on("console", lambda m: opened.wrong.append(m.text) if m.type == "error" else None)
        yield opened
        await browser.close()


def bank_address() -> str:
    """Where the client listens: to a browser, another site than the server."""
    return f"http://localhost:{live.free_ports()}/back"


async def register(place: Installation, client_id: str, redirect_uri: str, *means: str | Path) -> None:
    """As the operator does it."""
    wanted = (
        "--partner",
        PARTNER,
        "--client-id",
        client_id,
        "--scope",
        SCOPES,
        "--redirect-uri",
        redirect_uri,
    )
    done = await place.run("clients", "add", *wanted, *map(str, means))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "registered"


async def whole_way(folder: Path, clients: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What came of every step, of each client; one person answers them all."""
    (folder / "clients.json").write_text(json.dumps(clients))
    node = shutil.which("node")
    assert node, "node is needed"
    process = await asyncio.create_subprocess_exec(
        node,
        "flow.mjs",
        "clients.json",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )
    came = []
    try:
        async with asyncio.timeout(SECONDS), window() as person:
            assert process.stdout
            async for line in process.stdout:
                said = json.loads(line)
                if "go" in said:
                    await person.say_yes(said["go"], clients[len(came)]["redirect_uri"])
                else:
                    came.append(said)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert person.seen == ["signed in"] + ["said yes"] * len(clients)
    assert person.wrong == []
    return came


def check(came: dict[str, Any], token_type: str) -> None:
    """Every step of the whole way came out as it should."""
    token, fresh, plain = came["token"], came["fresh"], came["plain"]
    assert (came["own"]["scope"], token["scope"], fresh["scope"]) == ("log", "scores", "scores")
    assert {t["token_type"].lower() for t in (came["own"], token, fresh)} == {token_type}
    (detail,) = token["authorization_details"]
    assert detail.items() >= DETAIL.items()
    assert token["grant_id"] == fresh["grant_id"] == detail["grant_id"]
    # The library refused what is not of this server or not of this request before it asked for a token.
    assert came["mixedUp"]["error"] == came["forged"]["error"] == "OAUTH_INVALID_RESPONSE"
    assert (came["status"], came["score"]["grant_id"]) == (201, token["grant_id"])
    assert [stranger["status"] for stranger in came["stolen"]] == [401, 401], came["stolen"]
    assert "refresh_token" not in fresh  # FAPI 2.0: no rotation
    assert (plain["active"], plain["sub"], plain["client_id"]) == (True, detail["user"], came["client_id"])
    assert came["signed"] == plain
    assert came["types"] == ["application/json", "application/token-introspection+jwt"]
    assert came["revoked"] == {"status": 401, "error": "invalid_token"}
    assert came["gone"] == {"active": False}
    assert came["ended"] == {"status": 400, "error": "invalid_grant"}


@dataclass(frozen=True)
class Service:
    """A running server, and the addresses that clients know: the issuer's, and where tokens are presented."""

    place: Installation
    server: Server
    resource: str

    def client(self, client_id: str, redirect_uri: str, **means: object) -> dict[str, Any]:
        """What a client's program is told."""
        told_of = {"issuer": self.place.issuer, "resource": self.resource, "detail": DETAIL}
        return told_of | {"client_id": client_id, "redirect_uri": redirect_uri} | means


@asynccontextmanager
async def served(
    database: Database, home: Path, port: int, issuer: str, **settings: str
) -> AsyncIterator[Service]:
    """A server with all that a score needs; it ends well."""
    async with (
        live.installation(database, home, issuer, **settings) as place,
        place.server(port) as server,
    ):
        await world.put_model_in_use()
        await world.open_channel()
        await world.a_bank(PARTNER)
        (person,) = await world.persons(1)
        kept = await passwords.stretch(PASSWORD)
        async with open_act(STORY, None) as act:
            await passwords.keep(act, NAME, person.user, kept)
        yield Service(place, server, settings.get("XINQIAO_MTLS_ORIGIN", issuer))
        assert await asyncio.to_thread(server.running.stop) == 0
    live.wait_until(lambda: not live.at_home(home), "nothing is left behind")


@pytest.mark.spec(
    PROFILE, "5.3.2.1-1", "5.3.2.1-4", "5.3.2.1-6", "5.3.2.1-9", "5.3.2.2-2", "5.3.2.2-7", "5.4.1-1.2"
)
@pytest.mark.spec("OpenID conformance suite", "happy-flow", "refresh-token")
@pytest.mark.spec("RFC 7009", "2.1")
@pytest.mark.spec("RFC 7636", "4.6")
@pytest.mark.spec("RFC 9126", "2")
@pytest.mark.spec("RFC 9207", "2.4")
@pytest.mark.spec("RFC 9396", "5")
@pytest.mark.spec("RFC 9449", "5", "7.1", "10")
@pytest.mark.spec("RFC 9701", "5")
async def test_a_client_with_a_key_goes_the_whole_way(database, home, folder, tmp_path):
    """With each kind of key."""
    port, back = live.free_ports(6), bank_address()
    async with served(database, home, port, f"http://127.0.0.1:{port}", **BUILT_IN) as service:
        clients = []
        for alg in ("ES256", "PS256", "Ed25519"):
            client = OAuthClient(f"bank-{alg.lower()}", service.place.issuer, alg)
            (tmp_path / alg).write_text(json.dumps(client.jwks()))
            await register(service.place, client.client_id, back, "--jwks", tmp_path / alg)
            jwk = client.key.as_dict(private=True)
            clients.append(service.client(client.client_id, back, alg=alg, jwk=jwk))
        everything = await whole_way(folder, clients)
    assert [came["client_id"] for came in everything] == [client["client_id"] for client in clients]
    for came in everything:
        check(came, "dpop")
        assert came["plain"]["cnf"].keys() == {"jkt"}


def pem(identity: Identity, authorities: Path, file: Path) -> dict[str, str]:
    """What a client needs to connect with a certificate."""
    both = identity.written(file).read_text()
    return {"cert": both, "key": both, "ca": authorities.read_text()}


def key_set(identity: Identity, file: Path) -> Path:
    """A client's self-signed certificate, as it is registered (RFC 8705 section 2.2.2)."""
    public = ECKey.import_key(identity.certificate_pem).as_dict(private=False)
    jwk = {name: public[name] for name in ("kty", "crv", "x", "y")}
    file.write_text(json.dumps({"keys": [jwk | {"x5c": [b64encode(identity.der).decode()]}]}))
    return file


@pytest.mark.spec(PROFILE, "5.2.2.1", "5.3.2.1-4", "5.3.2.1-5", "5.3.2.1-6", "5.3.4-5")
@pytest.mark.spec("RFC 8705", "2.1", "2.2", "3", "5")
@pytest.mark.spec("RFC 9440", "4")
async def test_a_client_with_a_certificate_goes_the_whole_way(database, home, folder, tmp_path):
    """One that an authority vouches for, and one that was registered itself; behind the proxy that operators run."""
    authority = certify("CN=Clients,O=Authority", authority=True)
    issued, own = certify(SUBJECT, authority), certify("CN=bank-b.example")
    port, back, client_ca = live.free_ports(6), bank_address(), tmp_path / "client-ca.pem"
    client_ca.write_bytes(authority.certificate_pem)
    settings = BUILT_IN | {"XINQIAO_TRUSTED_PROXIES": "127.0.0.1", "XINQIAO_CLIENT_CA": str(client_ca)}
    with proxy.proxied(port, client_ca, tmp_path) as front:
        settings["XINQIAO_MTLS_ORIGIN"] = front.clients
        async with served(database, home, port, front.people, **settings) as service:
            by_itself = ("--method", "self_signed_tls_client_auth", "--jwks", key_set(own, tmp_path / "set"))
            await register(service.place, "bank-issued", back, "--tls-subject", SUBJECT)
            await register(service.place, "bank-own", back, *by_itself)
            roots = front.folder / "server-ca.pem"
            one, other = (pem(identity, roots, tmp_path / "pem") for identity in (issued, own))
            clients = [
                service.client("bank-issued", back, tls=one, stranger=other),
                service.client("bank-own", back, tls=other, stranger=one),
            ]
            everything = await whole_way(folder, clients)
            await nobody_else_shows(service.server.http, front, "bank-issued", issued)
            await nobody_else_shows(service.server.http, front, "bank-own", own)
    for came, identity in zip(everything, (issued, own), strict=True):
        check(came, "bearer")
        assert came["plain"]["cnf"] == {"x5t#S256": identity.thumbprint}


async def nobody_else_shows(
    trusted: httpx2.AsyncClient, front: proxy.Proxy, client_id: str, identity: Identity
) -> None:
    """A certificate that a caller writes into a header counts only if the caller is the proxy."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "scope": "grants"}
    shown, somewhere = {"Client-Cert": identity.header}, f"/v1/grants/gnt_{'0' * 32}"
    token = told(await trusted.post("/oauth/token", data=form, headers=shown), 200)["access_token"]
    bearing = shown | {"Authorization": f"Bearer {token}"}
    assert (await trusted.get(somewhere, headers=bearing)).status_code == 404
    same_name = certify(identity.certificate.subject.rfc4514_string())
    for address, transport in (
        (str(trusted.base_url), httpx2.AsyncHTTPTransport(local_address=OUTSIDE)),
        (front.people, httpx2.AsyncHTTPTransport(verify=front.tls())),
        (front.clients, httpx2.AsyncHTTPTransport(verify=front.tls())),
        (front.clients, httpx2.AsyncHTTPTransport(verify=front.tls(same_name))),
    ):
        async with httpx2.AsyncClient(base_url=address, transport=transport) as http:
            refused = await http.post("/oauth/token", data=form, headers=shown)
            assert (refused.status_code, refused.json().get("error")) == (401, "invalid_client"), address
            called = await http.get(somewhere, headers=bearing)
            assert (called.status_code, called.json().get("code")) == (401, "invalid_token"), address
