"""Signing in at a certified OpenID provider that shares no code with the product, by a browser without scripts."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from support import live

from compliance.act import open_act
from compliance.vocabulary import Worker
from consent import people
from consent.people import NewPerson

pytestmark = pytest.mark.npm
PROVIDER = Path(__file__).parent / "provider"
SECONDS = 120
REFERENCE, SECRET = "operator-4711", "a secret of 32 characters or more, with %+/ in it"
ACTION = re.compile(r'<form[^>]* action="([^"]*)"')
FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The provider with its libraries."""
    made = tmp_path_factory.mktemp("outside") / "provider"
    shutil.copytree(PROVIDER, made)
    npm = shutil.which("npm")
    assert npm, "npm is needed"
    options = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    subprocess.run([npm, "install", *options], cwd=made, check=True, timeout=SECONDS)
    return made


@asynccontextmanager
async def running(folder: Path, client: dict[str, Any]) -> AsyncIterator[str]:
    """The provider, which knows one client; its issuer."""
    (folder / "clients.json").write_text(json.dumps([client]))
    node = shutil.which("node")
    assert node, "node is needed"
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        node,
        "server.mjs",
        "clients.json",
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        assert process.stdout
        async with asyncio.timeout(SECONDS):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


async def sign_in(http: httpx2.AsyncClient, address: str) -> httpx2.Response:
    """Set out, write a name and any password, agree to be known here; the page at the end."""
    page = await http.get(address)
    asked = []
    while action := ACTION.search(page.text):
        if not urljoin(str(page.url), action[1]).startswith(str(page.url)[:25]) or "/sign-out" in action[1]:
            break
        fields = {name: unescape(value) for name, value in FIELD.findall(page.text)}
        asked.append(fields["prompt"])
        if fields["prompt"] == "login":
            fields |= {"login": REFERENCE, "password": "any"}
        page = await http.post(urljoin(str(page.url), unescape(action[1])), data=fields)
    assert "login" in asked, page.text
    return page


CLIENTS: dict[str, dict[str, Any]] = {
    "with our published key": {"token_endpoint_auth_method": "private_key_jwt"},
    "with our published key, requests pushed": {
        "token_endpoint_auth_method": "private_key_jwt",
        "require_pushed_authorization_requests": True,
    },
    "with a secret, and RSA": {
        "token_endpoint_auth_method": "client_secret_basic",
        "client_secret": SECRET,
        "id_token_signed_response_alg": "RS256",
    },
}


@pytest.mark.spec("OpenID Connect Core 1.0", "3.1.2.1", "3.1.3.1", "3.1.3.7")
@pytest.mark.spec("OpenID Connect Discovery 1.0", "4")
@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0", "2")
@pytest.mark.parametrize("known", CLIENTS.values(), ids=CLIENTS)
async def test_a_person_signs_in_at_a_certified_provider(database, home, folder, tmp_path, owner, known):
    port, secret = live.free_ports(), tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    ours = f"http://127.0.0.1:{port}"
    client = {
        "client_id": "xinqiao",
        "redirect_uris": [f"{ours}/sign-in/return"],
        "post_logout_redirect_uris": [f"{ours}/signed-out"],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "id_token_signed_response_alg": "ES256",
    } | known
    if "client_secret" not in known:
        client["jwks_uri"] = f"{ours}/.well-known/jwks.json"
    async with running(folder, client) as issuer:
        settings = {"XINQIAO_PROVIDER_ISSUER": issuer}
        if "client_secret" in known:
            settings["XINQIAO_PROVIDER_SECRET_FILE"] = str(secret)
        async with (
            live.installation(database, home, ours, **settings) as place,
            place.server(port),
            httpx2.AsyncClient(
                headers={"Accept": "text/html", "Accept-Language": "en"},
                follow_redirects=True,
                trust_env=False,
            ) as http,
        ):
            unknown = await sign_in(http, f"{ours}/sign-in?to=/me/log")
            assert (unknown.status_code, "We hold nothing about you" in unknown.text) == (403, True)
            async with open_act(Worker("tests"), None) as act:
                await people.bring(act, [NewPerson(REFERENCE, None, fictional=True)])
            page = await http.get(f"{ours}/sign-in?to=/me/log")  # the provider knows them still
            assert (page.status_code, str(page.url)) == (200, f"{ours}/me/log")
            again = await sign_in(http, f"{ours}/sign-in?to=/me/scores&fresh=yes")  # and asks all the same
            assert (again.status_code, str(again.url)) == (200, f"{ours}/me/scores")
            rows = await owner.fetch("select * from api_session order by signed_in_at")
            assert [row["method"] for row in rows] == ["openid_connect"] * 2
            assert (rows[0]["ended_at"] is None, rows[1]["ended_at"] is None) == (False, True)
            assert rows[0]["auth_time"] <= rows[1]["auth_time"]  # whole seconds
            out = await http.get(f"{ours}/signed-out")
            there = re.search(rf'href="({issuer}/[^"]*)"', out.text)
            assert there
            assert (await http.get(unescape(there[1]))).status_code == 200
