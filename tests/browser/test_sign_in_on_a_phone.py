"""A real browser on a small phone, without scripts: from a page of ours to the provider and back, and once more for a sensitive step."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright
from support import lending, live, provider, web_site
from support.provider import NAME, PASSWORD
from support.web_site import Site

from api.demo import provider as development
from api.settings import Provider
from api.web import texts
from compliance.database import Database
from compliance.vocabulary import Language

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PHONE = {"width": 360, "height": 740}
SHOTS = os.environ.get("XINQIAO_SCREENSHOTS")


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    """The application, and the development provider beside it, each at its own address."""
    ours, theirs = (f"http://127.0.0.1:{live.free_ports()}" for _ in range(2))
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(web_site.site(home, database, ours, provider=Provider(theirs)))
        await stack.enter_async_context(provider.served(made.app, ours))
        await stack.enter_async_context(provider.served(development.create_provider(made.settings), theirs))
        yield made


async def look(page: Page, folder: Path, name: str) -> None:
    """Take a picture; nothing is wider than the phone, and nothing to press is too small for a hand."""
    folder.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=folder / f"{name}.png", full_page=True)
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, name
    low = await page.evaluate(
        """[...document.querySelectorAll('main button, main [role=button], main input:not([type=hidden])')]
           .filter(e => e.getBoundingClientRect().height < 24).length"""
    )
    assert low == 0, name


@pytest.mark.parametrize("language", Language)
async def test_a_person_signs_in_steps_up_and_signs_out(
    site: Site, tmp_path: Path, language: Language
) -> None:
    person = await lending.a_person()
    await provider.named(user=person.user)
    said, ours = texts.messages(language), site.settings.issuer
    folder = Path(SHOTS or tmp_path) / f"sign-in-{language}"
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(viewport=PHONE, locale=str(language), java_script_enabled=False)
        page = await context.new_page()

        async def enter(password: str) -> None:
            await page.fill("#name", NAME)
            await page.fill("#password", password)
            await page.locator("main form button").first.click()

        await page.goto(f"{ours}/me/log")
        await look(page, folder, "not-signed-in")
        await page.locator("main [role=button]").click()
        await page.wait_for_url("**/authorize?*")
        assert await page.locator("html").get_attribute("lang") == language
        await enter("a wrong password")
        await look(page, folder, "wrong")
        await page.locator("main form button").nth(1).click()  # cancel
        assert said["sign_in.cancelled_title"] == await page.locator("h1").inner_text()
        await look(page, folder, "cancelled")
        await page.locator("main [role=button]").click()
        await page.wait_for_url("**/authorize?*")
        await look(page, folder, "provider")
        await enter(PASSWORD)
        await page.wait_for_url(f"{ours}/me/log")  # where they wanted to go at first
        cookies = {cookie["name"]: cookie for cookie in await context.cookies()}
        assert (cookies["xinqiao"]["httpOnly"], cookies["xinqiao"]["sameSite"]) == (True, "Lax")
        assert "xinqiao-sign-in" not in cookies

        await page.goto(f"{ours}/sign-in?to=/me/scores&fresh=yes")
        await enter(PASSWORD)
        await page.wait_for_url(f"{ours}/me/scores")
        after = {cookie["name"]: cookie["value"] for cookie in await context.cookies()}
        assert after["xinqiao"] != cookies["xinqiao"]["value"]

        await page.locator("form[action='/sign-out'] button").click()
        await page.wait_for_url(re.compile("/signed-out"))
        await look(page, folder, "signed-out")
        await browser.close()
