"""A real browser on a small phone: people sign in, answer, stop and apply; nothing is loaded from elsewhere."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import browsing, lending, small_models, web_site, world
from support.browsing import DESK, PHONE, served, window
from support.web_site import Site

from api import sessions
from api import staff as staff_of
from compliance import ids
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import OFFERED, Language, PartnerId, Purpose, StaffRole
from scoring.answers import incomes, limits
from scoring.answers.limits import Frame

pytestmark = pytest.mark.browser


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
    return browsing.pictures(tmp_path, request.node.name)


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
async def test_a_person_reads_what_was_answered_and_what_would_help(
    site: Site, folder: Path, language: Language
) -> None:
    await world.put_model_in_use()
    await world.put_income_model_in_use()
    await world.open_channel()
    bank = await world.a_bank()
    row = next(n for n in world.rich_rows() if small_models.hints(n))
    (person,) = await world.persons(1, rows=(row,))
    for purpose in (world.SCORING, Purpose.INCOME_ESTIMATE):
        await world.granted(person, bank, purpose)
    score = await world.scored(bank, person)
    async with open_act(bank, Purpose.INCOME_ESTIMATE) as act:
        income = (await incomes.issue(act, person.user, world.ALL)).value.row
    product = Frame(await lending.a_product(bank.partner), "CNY", 1, 10**9)
    async with open_act(bank, world.SCORING) as act:
        await limits.issue(act, person.user, world.ALL, income=income.id, owed_minor=0, frame=product)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, user=person.user)
    async with window(site, folder, PHONE, language) as seen:
        await seen.page.goto(f"{seen.issuer}/sign-in/{link}")
        await seen.page.goto(f"{seen.issuer}/me/scores")
        await seen.look("scores-and-answers")
        await seen.page.goto(f"{seen.issuer}/me/scores/{ids.public('scr', score.id)}")
        await seen.look("score-with-hints")


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


@pytest.mark.parametrize("language", Language)
async def test_a_person_uses_their_rights_and_staff_answer(
    site: Site, folder: Path, language: Language
) -> None:
    await world.put_model_in_use()
    await world.open_channel()
    bank, (person,) = await world.a_bank(), await world.persons(1)
    await world.granted(person, bank)
    score = ids.public("scr", (await world.scored(bank, person)).id)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, user=person.user)
    async with window(site, folder, PHONE, language) as seen:
        page = seen.page
        await page.goto(f"{seen.issuer}/sign-in/{link}")
        await page.goto(f"{seen.issuer}/features")
        await page.locator("#shopping summary").click()
        await page.locator("#outside summary").click()
        await seen.look("features")
        await page.goto(f"{seen.issuer}/me/scores/{score}")
        await seen.look("score")
        await page.fill("#text", "请人工看一下。\n谢谢。")
        await page.locator("main form button").click()
        await page.wait_for_url("**/me/reviews/*")
        await seen.look("review")
        await page.goto(f"{seen.issuer}/me/disputes/new")
        await page.select_option("#category", "shopping")
        await page.fill("#text", "这些订单不是我的。")
        await seen.look("dispute-new")
        await page.locator("main form button").click()
        await page.wait_for_url("**/me/disputes/dsp_*")
        await seen.look("dispute")
        await page.goto(f"{seen.issuer}/me/rights")
        await page.locator("form:has([value=automation]) button").click()
        await page.locator("form:has([value=automation]) button[value=clear]").wait_for()
        await seen.look("rights")
    for role, queue in ((StaffRole.COMPLIANCE_OFFICER, "disputes"), (StaffRole.RISK_OFFICER, "reviews")):
        async with open_act(web_site.OPERATOR, None) as act:
            officer = await staff_of.admit(act, role, role)
        link = await sessions.make_link(web_site.OPERATOR, site.settings, staff=officer.staff)
        async with window(site, folder, DESK, language) as seen:
            page = seen.page
            await page.goto(f"{seen.issuer}/sign-in/{link}")
            await page.goto(f"{seen.issuer}/compliance/{queue}")
            await seen.look(f"{queue}-queue")
            await page.locator("tbody a").click()
            await page.fill("#reason", "the person asked for an answer")
            await page.locator("main form button").click()
            await page.fill("#text", "We compared it with the source.")
            await seen.look(f"{queue}-answer")
            await page.locator(".choice button").first.click()
            await page.wait_for_url(f"**/compliance/{queue}")


async def test_the_reference_is_drawn_and_asks_nobody_else(site: Site, folder: Path) -> None:
    async with window(site, folder, DESK, Language.EN) as seen:
        await seen.page.goto(f"{seen.issuer}/schema")
        await seen.page.locator(".opblock").first.wait_for()
        # Swagger UI brings a main element of its own.
        await seen.look("reference", but=("landmark-no-duplicate-main",))
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
