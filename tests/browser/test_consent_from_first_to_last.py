"""A consent from first to last on a small phone: asked, given in part, used, stopped, proven; a copy taken; deleted."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page
from support import browsing, web_site, world
from support.browsing import PHONE, Window, served, window
from support.web_site import Site

from api import sessions, worker
from compliance import ids
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import Category, GrantId, Language, PartnerClient
from consent import effects

pytestmark = pytest.mark.browser
ASKED = frozenset({Category.SHOPPING, Category.DEVICE_USAGE, Category.CREDIT_HISTORY})


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    async with served(home, database) as made:
        await world.put_model_in_use()
        await world.open_channel()
        yield made


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return browsing.pictures(tmp_path, request.node.name)


async def press(page: Page, selector: str) -> None:
    """Send a form by its button, and wait for the page that it leads to."""
    async with page.expect_navigation():
        await page.locator(selector).first.click()


async def saved(page: Page, selector: str) -> bytes:
    """What a button or a link gives as a file."""
    async with page.expect_download() as coming:
        await page.locator(selector).first.click()
    return Path(await (await coming.value).path()).read_bytes()


async def given_in_part(seen: Window, grant: str) -> None:
    """From the home page: the request, two of three kinds of data, yes; the receipt."""
    page = seen.page
    await page.goto(f"{seen.issuer}/me")
    await seen.look("me-asked")
    await press(page, f'a[href="/ask/{grant}"]')
    await seen.look("ask")
    for category in ASKED - {Category.SHOPPING}:
        await page.check(f"#category-{category}")
    await press(page, ".choice button")
    await seen.look("given")
    receipt = await saved(page, f'a[href="/me/grants/{grant}/receipt"]')
    assert receipt.count(b".") == 2
    assert (await saved(page, f'a[href="/me/grants/{grant}/receipt.pdf"]')).startswith(b"%PDF-")


async def used_and_seen(seen: Window, bank: PartnerClient, person: world.Person) -> None:
    """The bank asks for a score; the person sees that it did, with the proof."""
    score = await world.scored(bank, person, ASKED)
    assert set(score.used) <= ASKED - {Category.SHOPPING}
    await web_site.log_everything()
    page = seen.page
    await page.goto(f"{seen.issuer}/me")
    await press(page, "a.proof")
    await seen.look("use-with-proof")


async def stopped_and_proven(seen: Window, bank: PartnerClient, grant: str) -> None:
    """The person stops it; the page tells more each time the bank has done something."""
    page, inner = seen.page, GrantId(ids.private("gnt", grant))
    await page.goto(f"{seen.issuer}/me/grants/{grant}")
    await press(page, 'form[action$="/withdraw"] button')
    assert page.url.endswith("/withdrawn")
    await seen.look("stopped")
    before = await page.locator("main dd time").count()
    async with open_act(bank, None) as act:
        await effects.acknowledge(act, inner)
    await page.reload()
    assert await page.locator("main dd time").count() > before
    await seen.look("acknowledged")
    async with open_act(bank, None) as act:
        await effects.attest(act, inner, None, "signed.by.bank")
    await page.reload()
    assert await page.locator("main dd time").count() > before + 1
    await seen.look("purged")


async def copied(seen: Window) -> None:
    """Everything that is held, as a file."""
    page = seen.page
    await page.goto(f"{seen.issuer}/me/data")
    await seen.look("data")
    copy = json.loads(await saved(page, 'form[action="/me/data/copy/json"] button'))
    assert len(copy["parts"]["consents"]) == 1
    assert (await saved(page, 'form[action="/me/data/copy/zip"] button'))[:2] == b"PK"


async def deleted(seen: Window) -> None:
    """Everything goes; the page that is left tells how far it is, to nobody in particular."""
    page = seen.page
    await press(page, 'main a[href="/me/delete"]')
    await seen.look("delete")
    await page.check("input[name=understood]")
    await press(page, 'form[action="/me/delete"] button')
    assert "/deleted/del_" in page.url
    await seen.look("deleted")
    await worker.finish_deletions()
    await page.reload()
    await seen.look("deleted-and-finished")
    refused = await page.goto(f"{seen.issuer}/me")
    assert refused
    assert refused.status == 401


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("language", Language)
async def test_a_consent_from_first_to_last(
    site: Site, folder: Path, language: Language, scripts: bool
) -> None:
    bank = await world.a_bank()
    [person] = await world.persons(1)
    asked = await world.asked(bank, user=person.user, categories=ASKED)
    grant = ids.public("gnt", asked.id)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, user=person.user)
    async with window(site, folder, PHONE, language, scripts=scripts) as seen:
        await seen.page.goto(f"{seen.issuer}/sign-in/{link}")
        await given_in_part(seen, grant)
        await used_and_seen(seen, bank, person)
        await stopped_and_proven(seen, bank, grant)
        await copied(seen)
        await deleted(seen)
