"""A real browser on a small phone: people sign in, answer, stop and apply; nothing is loaded from elsewhere."""

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from playwright.async_api import Page, Request, async_playwright
from support import lending, web_site, world
from support.web_site import Site

from api import sessions
from api import staff as staff_of
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import OFFERED, Language, PartnerId, StaffRole

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
SHOTS = os.environ.get("XINQIAO_SCREENSHOTS")


@dataclass
class Window:
    """A page of the browser, and everything that went wrong on it."""

    page: Page
    issuer: str
    folder: Path
    wrong: list[str] = field(default_factory=list)
    shots: int = 0

    async def look(self, name: str) -> None:
        """Take a picture and check what every page must keep: no sideways scrolling, targets a hand can hit."""
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
        assert self.wrong == [], name


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
        seen = Window(page, site.settings.issuer, folder)

        def asked(request: Request) -> None:
            if not request.url.startswith((site.settings.issuer, "data:", "https://alpha.example")):
                seen.wrong.append(f"asked for {request.url}")

        page.on("request", asked)
        page.on("console", lambda m: seen.wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: seen.wrong.append(str(error)))
        yield seen
        await browser.close()


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    async with served(home, database) as made:
        yield made


@pytest.fixture
async def lender(site: Site) -> PartnerId:
    made = await lending.a_lender("alpha", owned_hosts=("alpha.example",), operator_stake=True)
    await lending.a_product(made)
    far = await lending.a_lender("beta")
    await lending.a_product(far, replace(lending.TERMS, regions=frozenset({"CN-GD"})))
    web_site.doors(site.settings.home, alpha="https://alpha.example")
    return made


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Where the pictures go: the test's own folder, or one that was asked for."""
    made = Path(SHOTS) / re.sub(r"\W+", "-", request.node.name) if SHOTS else tmp_path / "pictures"
    made.mkdir(parents=True, exist_ok=True)
    return made


@pytest.mark.parametrize("language", Language)
async def test_a_person_answers_stops_and_applies(
    site: Site, lender: PartnerId, folder: Path, language: Language
) -> None:
    person = await lending.a_person()
    grant = await site.ask(lender, person)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, user=person.user)
    async with window(site, folder, PHONE, language) as seen:
        page = seen.page
        await page.goto(f"{seen.issuer}/")
        await seen.look("start")
        await page.goto(f"{seen.issuer}/sign-in/{link}")
        assert page.url == f"{seen.issuer}/me"
        await seen.look("me-waiting")
        await page.goto(f"{seen.issuer}/ask/{grant}")
        assert await page.locator("input[type=checkbox]:checked").count() == 0
        yes, no = await page.locator(".choice button").all()
        boxes = [await button.bounding_box() for button in (yes, no)]
        assert boxes[0]
        assert boxes[1]
        assert (boxes[0]["width"], boxes[0]["height"]) == (boxes[1]["width"], boxes[1]["height"])
        assert boxes[0]["y"] + boxes[0]["height"] <= PHONE["height"], "an answer is within reach at once"
        await page.screenshot(path=folder / "ask-first-view.png")
        await seen.look("ask")
        await page.check("#category-shopping")
        await yes.click()
        await page.wait_for_load_state()
        await seen.look("given")
        await web_site.log_everything()
        await page.goto(f"{seen.issuer}/me")
        await seen.look("me-allowed")
        await page.goto(f"{seen.issuer}/me/grants/{grant}")
        await seen.look("grant")
        await page.locator("a.proof").first.click()
        await page.locator("details summary").click()
        await seen.look("fact")
        await page.go_back()
        await page.locator('form[action$="/pause"] button').click()
        await page.locator('button[value="resume"]').wait_for()
        await seen.look("paused")
        await page.locator('button[value="resume"]').click()
        await page.locator('button[value="pause"]').wait_for()
        await page.locator('form[action$="/withdraw"] button').click()
        await page.wait_for_url("**/withdrawn")
        await seen.look("withdrawn")
        await page.goto(f"{seen.issuer}/apply")
        await page.fill("#amount", "6000")
        await page.select_option("#instalments", "6")
        await page.select_option("#use_of_funds", "education")
        await page.select_option("#region", "CN-BJ")
        await page.check("#agree")
        await seen.look("apply")
        await page.locator("main form button").click()
        await page.wait_for_url("**/me/applications/**")
        await seen.look("offers")
        await page.locator("main a[role=button]").first.click()
        await page.check("#agree")
        await seen.look("pick")
        await page.locator("main form button").click()
        link_out = page.locator('main a[rel="noreferrer"]')
        await link_out.wait_for()
        assert str(await link_out.get_attribute("href")).startswith("https://alpha.example/apply?handover=")
        await seen.look("hand-over")
        await page.goto(f"{seen.issuer}/me/scores")
        await seen.look("scores")
        await page.goto(f"{seen.issuer}/me/log")
        await seen.look("log")


@pytest.mark.parametrize("language", Language)
async def test_a_person_sees_what_sharing_changes(
    site: Site, lender: PartnerId, folder: Path, language: Language
) -> None:
    await world.put_model_in_use()
    await world.open_channel()
    (person,) = await world.persons(1)
    grant = await site.ask(lender, person)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, user=person.user)
    async with window(site, folder, PHONE, language, scripts=False) as seen:
        page = seen.page
        await page.goto(f"{seen.issuer}/sign-in/{link}")
        await page.goto(f"{seen.issuer}/ask/{grant}")
        assert await page.locator("main table tbody tr").count() == len(OFFERED) + 1
        await seen.look("ask")
        await page.locator('main a[href^="/me/self-view"]').click()
        assert await page.locator("input[type=checkbox]:checked").count() == 0
        await seen.look("self-view-ask")
        for category in ("shopping", "device_usage", "credit_history"):
            await page.check(f"#category-{category}")
        await page.locator(".choice button").first.click()
        await page.locator('form[action*="/result"] button').wait_for()
        await seen.look("self-view-allowed")
        await page.locator('form[action*="/result"] button').click()
        await page.locator("main section.card table").wait_for()
        assert await page.locator("main section.card tbody tr").count() == 4
        await seen.look("self-view-result")
        await page.locator('form[action$="/withdraw"] button').click()
        await page.wait_for_url("**/withdrawn")
        await page.goto(f"{seen.issuer}/me/scores")
        await seen.look("scores")


@pytest.mark.parametrize("language", Language)
async def test_an_officer_searches_and_looks(
    site: Site, lender: PartnerId, folder: Path, language: Language
) -> None:
    await site.ask(lender)
    await web_site.log_everything()
    async with open_act(web_site.OPERATOR, None) as act:
        officer = await staff_of.admit(act, "Li", StaffRole.COMPLIANCE_OFFICER)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, staff=officer.staff)
    async with window(site, folder, DESK, language) as seen:
        page = seen.page
        await page.goto(f"{seen.issuer}/sign-in/{link}")
        await seen.look("console")
        await page.select_option("select[name=kind]", "grant_requested")
        await page.locator("form.search button").click()
        await page.locator("a.proof").first.click()
        await seen.look("reason")
        await page.fill("#reason", "the person complained")
        await page.locator("main form button").click()
        await page.locator(".facts").first.wait_for()
        await seen.look("fact")
        await page.goto(f"{seen.issuer}/problems/consent_withdrawn")
        await seen.look("problem")


async def test_the_reference_is_drawn_and_asks_nobody_else(site: Site, folder: Path) -> None:
    async with window(site, folder, DESK, Language.EN) as seen:
        await seen.page.goto(f"{seen.issuer}/schema")
        await seen.page.locator(".opblock").first.wait_for()
        await seen.look("reference")
        assert await seen.page.locator(".opblock").count() > 10


async def test_a_script_from_elsewhere_does_not_run(site: Site, folder: Path) -> None:
    async with window(site, folder, PHONE, Language.EN) as seen:
        await seen.page.goto(f"{seen.issuer}/")
        await seen.page.evaluate(
            """() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';
                       document.body.append(s); }"""
        )
        assert await seen.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in text for text in seen.wrong)


async def test_without_scripts_a_person_can_stop_everything(
    site: Site, lender: PartnerId, folder: Path
) -> None:
    person = await lending.a_person()
    grant = await site.ask(lender, person)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, user=person.user)
    async with window(site, folder, PHONE, Language.ZH_CN, scripts=False) as seen:
        page = seen.page
        await page.goto(f"{seen.issuer}/sign-in/{link}")
        await page.goto(f"{seen.issuer}/ask/{grant}")
        await page.check("#category-shopping")
        await page.locator(".choice button").first.click()
        await page.goto(f"{seen.issuer}/me")
        await page.locator("form[action='/me/stop'] button").click()
        await page.wait_for_url("**/me/stopped")
        await page.screenshot(path=folder / "stopped.png")
        assert "全部停止" in await page.locator("h1").inner_text()


@pytest.mark.parametrize("language", Language)
async def test_a_link_on_another_site_signs_in_only_after_a_press(
    site: Site, folder: Path, language: Language
) -> None:
    person = await lending.a_person()
    link = await sessions.make_link(web_site.OPERATOR, site.settings, user=person.user)
    async with window(site, folder, PHONE, language) as seen:
        page = seen.page
        await page.route(
            "https://alpha.example/*",
            lambda route: route.fulfill(
                content_type="text/html", body=f'<a href="{seen.issuer}/sign-in/{link}">go</a>'
            ),
        )
        await page.goto("https://alpha.example/")
        await page.locator("a").click()
        await page.wait_for_url("**/sign-in/*")
        await seen.look("sign-in")
        await page.locator("header a[hreflang]").click()
        await page.wait_for_url("**/sign-in/*lang=*")
        assert await page.locator("main button").count() == 1
        await page.locator("main form button").click()
        await page.wait_for_url("**/me")
        await seen.look("signed-in")
