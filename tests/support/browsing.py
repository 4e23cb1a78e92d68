"""A real browser before the application on a real port: pictures, accessibility, and nothing loaded from elsewhere."""

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.async_playwright import Axe
from granian.constants import Interfaces
from granian.server.embed import Server
from playwright.async_api import Page, Request, async_playwright
from support import web_site
from support.web_site import Site

from compliance.database import Database
from compliance.vocabulary import Language

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
AXE = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
SHOTS = os.environ.get("XINQIAO_SCREENSHOTS")


@dataclass
class Window:
    """A page of the browser, and everything that went wrong on it."""

    page: Page
    issuer: str
    folder: Path
    wrong: list[str] = field(default_factory=list)
    scripts: bool = True
    shots: int = 0

    async def look(self, name: str, *, but: tuple[str, ...] = ()) -> None:
        """Take a picture and check what every page must keep: no sideways scrolling, targets a hand can hit, axe's rules.

        `but`: rules that something on the page breaks which is not ours.
        """
        self.shots += 1
        await self.page.screenshot(path=self.folder / f"{self.shots:02}-{name}.png", full_page=True)
        wide = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide == 0, name
        small = await self.page.evaluate(
            """[...document.querySelectorAll('main button, main [role=button], main select, main input:not([type=hidden])')]
               .filter(e => e.getClientRects().length && !e.closest('#reference') && e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"""
        )
        assert small == [], name
        assert await self.page.evaluate("document.querySelectorAll('main > h1').length") == 1, name
        if self.scripts:
            inaccessible = [line for line in await self._inaccessible() if not line.startswith(but or (" ",))]
            assert inaccessible == [], (name, inaccessible)
        assert self.wrong == [], name

    async def _inaccessible(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 A and AA, and its best practices; the vendored reference is not ours."""
        found = await Axe().run(self.page, context={"exclude": [["#reference"]]}, options=AXE)
        return [
            f"{rule['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def served(home: Path, database: Database) -> AsyncIterator[Site]:
    """The application on a real port, in this very process."""
    port = _free_port()
    async with web_site.site(home, database, f"http://127.0.0.1:{port}") as site:
        server = Server(
            site.app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False
        )
        task = asyncio.create_task(server.serve())
        for _ in range(100):
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield site
        server.stop()
        await task


@asynccontextmanager
async def window(
    site: Site, folder: Path, size: dict[str, int], language: Language, *, scripts: bool = True
) -> AsyncIterator[Window]:
    """A fresh browser without cookies."""
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(
            viewport=size, locale=str(language), java_script_enabled=scripts, color_scheme="light"
        )
        page = await context.new_page()
        seen = Window(page, site.settings.issuer, folder, scripts=scripts)

        def asked(request: Request) -> None:
            if not request.url.startswith((site.settings.issuer, "data:", "https://alpha.example")):
                seen.wrong.append(f"asked for {request.url}")

        page.on("request", asked)
        page.on("console", lambda m: seen.wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen.wrong.append(str(error)))
        yield seen
        await browser.close()


def pictures(tmp_path: Path, name: str) -> Path:
    """Where the pictures go: the test's own folder, or one that was asked for."""
    made = Path(SHOTS) / re.sub(r"\W+", "-", name) if SHOTS else tmp_path / "pictures"
    made.mkdir(parents=True, exist_ok=True)
    return made
