"""A whole installation with pages, and browsers that keep cookies and send forms as they stand on the page."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from litestar import Litestar
from support import apps, lending
from support.oauth_app import alive

from api import sessions
from api import staff as staff_of
from api.settings import Settings
from compliance import ids, sequencer
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import OFFERED, Categories, PartnerId, Person, Purpose, StaffRole, Worker
from consent import grants
from consent.grants import Ask
from partners.connectors import registry

OPERATOR = Worker("tests")
ISSUER = "http://127.0.0.1:8390"
PAGES = {"Accept": "text/html"}


class Browser:
    """Somebody at a browser without scripts."""

    def __init__(self, site: "Site") -> None:
        self.site = site
        transport = httpx2.ASGITransport(site.app, raise_app_exceptions=False)
        self.http = httpx2.AsyncClient(
            transport=transport, base_url=site.settings.issuer, headers=PAGES, follow_redirects=True
        )
        self.page = httpx2.Response(200)

    async def look(self, path: str, language: str = "en") -> httpx2.Response:
        self.page = await self.http.get(path, headers={"Accept-Language": language})
        return self.page

    async def send(self, path: str, **fields: object) -> httpx2.Response:
        """Send the form of the page just seen, with its token."""
        token = re.search(r'name="_csrf_token" value="([0-9a-f]+)"', self.page.text)
        data = {"_csrf_token": token[1] if token else "", **fields}
        hidden = re.findall(
            r'<input type="hidden" name="(notice_\w+|currency)" value="([^"]*)"', self.page.text
        )
        self.page = await self.http.post(
            path, data={**dict(hidden), **data}, headers={"Accept-Language": "en", "Origin": ISSUER}
        )
        return self.page

    @property
    def text(self) -> str:
        """What can be read on the page."""
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.page.text)))


class Site:
    """The application and what it stands on."""

    def __init__(self, settings: Settings, app: Litestar) -> None:
        self.settings, self.app = settings, app

    async def person(self, person: Person) -> Browser:
        browser = Browser(self)
        await browser.look(f"/sign-in/{await sessions.make_link(OPERATOR, self.settings, user=person.user)}")
        return browser

    async def staff(self, role: StaffRole) -> Browser:
        async with open_act(OPERATOR, None) as act:
            admitted = await staff_of.admit(act, "Li", role)
        browser = Browser(self)
        token = await sessions.make_link(OPERATOR, self.settings, staff=admitted.staff)
        await browser.look(f"/sign-in/{token}")
        return browser

    async def ask(
        self,
        recipient: PartnerId,
        person: Person | None = None,
        purpose: Purpose = Purpose.CREDIT_ASSESSMENT,
        categories: Categories = OFFERED,
    ) -> str:
        """A bank asks; the public id of the request."""
        wanted = Ask(
            recipient, None, person and person.user, purpose, categories, 90, 90, 30, "bank_redirect"
        )
        async with open_act(lending.a_client(recipient), purpose) as act:
            row = await grants.ask(act, wanted, offered=OFFERED)
        return ids.public("gnt", row.id)


@asynccontextmanager
async def site(home: Path, database: Database, issuer: str = ISSUER, **changes: Any) -> AsyncIterator[Site]:
    settings = Settings(home, "demo", issuer, None, OFFERED, **changes)
    with apps.built(settings, database) as app:
        async with alive(app):
            yield Site(settings, app)


async def log_everything() -> None:
    """What the worker does: sequence and sign."""
    await sequencer.sequence()
    await sequencer.publish()


def doors(home: Path, **addresses: str) -> None:
    """Tell the installation which lender is reached where."""
    entries = ",".join(
        f'"{code}": {{"kind": "signed_http", "address": "{at}", "landing": "{at}/apply"}}'
        for code, at in addresses.items()
    )
    (home / registry.FILE).write_text(f"{{{entries}}}", encoding="utf-8")


def unknown(prefix: str) -> str:
    return ids.public(prefix, uuid4())
