"""The pages people and officers use: whole in both languages, closed to other sites, honest about what was agreed."""

import hashlib
import importlib
import json
import pkgutil
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import asyncpg
import pytest
import yaml
from support import inducing_words, lending, web_site
from support.web_site import Browser, Site

from api import problems
from api.web import problem_pages, texts
from api.web.page import headers
from compliance import ids
from compliance.act import open_act
from compliance.database import Database
from compliance.refusals import Refusal
from compliance.vocabulary import Category, Language, PartnerId, Person, Purpose, StaffRole
from consent import grants, notices
from consent.notices import Filling
from consent.permits import BUSINESS_ZONE
from partners import loan_math
from partners.referrals import State
from partners.terms import Method, Terms

every_language = pytest.mark.parametrize("language", Language)
PRODUCT = ("api", "partners", "scoring", "consent", "compliance")
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    async with web_site.site(home, database) as made:
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
async def person(site: Site) -> Person:
    return await lending.a_person()


@pytest.fixture
async def me(site: Site, person: Person) -> Browser:
    return await site.person(person)


async def agree(site: Site, me: Browser, lender: PartnerId) -> str:
    """Say yes to shopping on the page."""
    grant = await site.ask(lender)
    await me.look(f"/ask/{grant}")
    answer = await me.send(f"/ask/{grant}", answer="yes", categories=["shopping"])
    assert answer.status_code == 200
    return grant


async def apply(me: Browser) -> str:
    """Look for a loan; the path of the application."""
    await me.look("/apply")
    wish = {"amount": "6,000", "instalments": "6", "region": "CN-BJ", "use_of_funds": "education"}
    answer = await me.send("/apply", **wish, agree_to_matching="yes")
    assert answer.status_code == 200, me.text
    return answer.url.path


def refusals() -> dict[str, type[Refusal]]:
    """Every refusal of the code base, by its code."""
    for name in PRODUCT:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            importlib.import_module(module.name)
    found: dict[str, type[Refusal]] = {}
    waiting = [Refusal]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.split(".")[0] in PRODUCT:
                assert found.setdefault(kind.code, kind) is kind, kind.code
    return found


def test_every_problem_has_a_page_and_every_page_a_problem() -> None:
    codes = set(refusals()) | {code for code, _ in problems.CODES.values()} | {"internal_error"}
    assert {file.stem for file in problem_pages.FOLDER.iterdir()} == codes


@every_language
@pytest.mark.parametrize("file", sorted(problem_pages.FOLDER.iterdir()), ids=lambda file: file.stem)
def test_a_problem_page_says_what_it_means_and_what_to_do(file: Path, language: Language) -> None:
    told = problem_pages.text(file.stem, language)
    assert [block.level for block in told] == [1, 0, 2, 0]
    assert all(block.text for block in told)
    chinese = re.search("[\u4e00-\u9fff]", " ".join(block.text for block in told))
    assert (chinese is not None) is (language is Language.ZH_CN)
    assert inducing_words.found(" ".join(block.text for block in told)) == []


@every_language
def test_every_fact_that_can_be_recorded_has_its_words(language: Language) -> None:
    kinds = {f"referral_{state}" for state in State}
    kinds |= {f"grant_{code}" for code in ("withdrawn", "expired", "relinquished", "superseded")}
    for name in PRODUCT:
        for file in (ROOT / name).rglob("*.py"):
            kinds |= set(re.findall(r'record\((?:\s*|act, row, )"([a-z_]+)"', file.read_text("utf-8")))
    assert {kind for kind in kinds if f"fact.{kind}" not in texts.messages(language)} == set()


async def seen(site: Site, me: Browser, lender: PartnerId) -> list[str]:
    """One of each page of a person who has agreed, been asked again, applied and withdrawn."""
    grant = await agree(site, me, lender)
    waiting = await site.ask(lender, purpose=Purpose.INCOME_ESTIMATE)
    application = await apply(me)
    offer = re.search(rf"{application}/offers/\w+", me.page.text)
    await web_site.log_everything()
    facts = re.search(r"/me/facts/\w+", (await me.look(f"/me/grants/{grant}")).text)
    assert offer
    assert facts
    pages = ["/", "/me", "/me/log", f"/me/grants/{grant}", facts[0], f"/ask/{waiting}", f"/ask/{grant}"]
    pages += [
        "/apply",
        "/me/applications",
        application,
        offer[0],
        "/me/scores",
        "/me/self-view",
        "/me/stopped",
        "/schema",
        "/features",
    ]
    pages += ["/me/rights", "/me/disputes/new", "/me/grants", "/me/data", "/me/delete"]
    return [*pages, "/problems/consent_missing", "/signed-out"]


@every_language
async def test_every_page_is_whole_in_both_languages(
    site: Site, me: Browser, lender: PartnerId, language: Language
) -> None:
    for path in await seen(site, me, lender):
        page = await me.look(path, language)
        assert page.status_code == 200, path
        assert f'<html lang="{language}">' in page.text, path
        assert page.headers["content-security-policy"] == headers(site.settings)["Content-Security-Policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-store"
        assert re.findall(r'(?:src|href|action)="(?:https?:)?//', page.text) == [], path
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page.text) == [], path
        assert "checked" not in re.sub(r"</?(?:p|li|dd)[^>]*>[^<]*", "", page.text), path
        assert page.text.count("<h1") == 1, path
        other = re.search(r'href="(\?[^"]*lang=[^"]*)"', page.text)
        assert other, path


async def test_the_language_is_asked_for_remembered_or_preferred(site: Site) -> None:
    browser = Browser(site)
    assert 'lang="en"' in (await browser.look("/", "en-GB,en;q=0.9,zh;q=0.2")).text
    assert 'lang="zh-CN"' in (await browser.look("/", "fr")).text
    switched = await browser.look("/problems/not_found?x=1&lang=zh-CN", "en")
    assert 'lang="zh-CN"' in switched.text
    assert 'href="?x=1&amp;lang=en"' in switched.text
    assert '<html lang="zh-CN">' in (await browser.look("/", "en")).text


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.3-1")
def test_over_https_browsers_are_told_to_stay_there(site: Site) -> None:
    assert "Strict-Transport-Security" not in headers(site.settings)
    assert "Strict-Transport-Security" in headers(replace(site.settings, issuer="https://x.example"))


@pytest.mark.parametrize("path", ["/me", "/apply", "/me/scores", "/compliance", "/ask/gnt_x"])
async def test_who_is_not_signed_in_gets_a_page_that_says_so(site: Site, path: str) -> None:
    browser = Browser(site)
    page = await browser.look(path, "zh-CN")
    assert page.status_code == 401
    assert texts.messages(Language.ZH_CN)["problem.not_signed_in"] in page.text
    browser.http.headers["Accept"] = "application/json"
    assert (await browser.look(path)).headers["content-type"] == problems.MEDIA_TYPE


@pytest.mark.parametrize(
    ("path", "status"), [("/sign-in/none", 410), ("/nowhere", 404), ("/v1/nowhere", 404)]
)
async def test_an_error_is_a_page_where_pages_are(site: Site, path: str, status: int) -> None:
    page = await Browser(site).look(path)
    assert page.status_code == status
    kind = page.headers["content-type"]
    assert kind == (problems.MEDIA_TYPE if path.startswith("/v1") else "text/html; charset=utf-8")


async def test_signing_out_ends_the_session(me: Browser) -> None:
    assert (await me.look("/me")).status_code == 200
    await me.send("/sign-out")
    assert me.page.url.path == "/signed-out"
    assert (await me.look("/me")).status_code == 401


async def test_a_form_without_the_token_changes_nothing(site: Site, me: Browser, lender: PartnerId) -> None:
    grant = await agree(site, me, lender)
    application = await apply(me)
    offer = re.search(rf"{application}/offers/\w+", me.page.text)
    waiting = await site.ask(lender, purpose=Purpose.INCOME_ESTIMATE)
    assert offer
    for path in (
        f"/me/grants/{grant}/withdraw",
        "/me/stop",
        f"/ask/{waiting}",
        "/apply",
        offer[0],
        "/sign-out",
    ):
        await me.look("/me")
        for token in ("", "0" * 64):
            assert (await me.send(path, _csrf_token=token)).status_code == 403, path
            assert "form_expired" in me.page.text
    assert "Uses allowed now: 2" in (await me.look("/me")).text
    assert (await me.look("/me")).status_code == 200


async def test_a_form_from_another_site_changes_nothing(site: Site, me: Browser, lender: PartnerId) -> None:
    grant = await agree(site, me, lender)
    await me.look("/me")
    me.http.headers["Sec-Fetch-Site"] = "cross-site"
    assert (await me.send(f"/me/grants/{grant}/withdraw")).status_code == 403
    assert "origin_refused" in me.page.text


async def test_what_belongs_to_another_person_does_not_exist(
    site: Site, me: Browser, lender: PartnerId
) -> None:
    pages = await seen(site, me, lender)
    pages += [path + "/proof" for path in pages if "/facts/" in path]
    grant = next(path for path in pages if path.startswith("/me/grants/"))
    other = await site.person(await lending.a_person())
    personal = [path for path in pages if re.search("_", path) and "problems" not in path]
    personal = [path for path in personal if path != pages[5]] + [
        f"{grant}/{more}" for more in ("receipt", "receipt.pdf", "withdrawn")
    ]
    assert len(personal) == 9
    for path in personal:
        assert (await other.look(path)).status_code == 404, path
    await other.look("/me")
    assert (await other.send(f"{grant}/withdraw")).status_code == 404
    for path in ("/me/grants/gnt_1", "/me/facts/fct_1", "/ask/" + web_site.unknown("gnt")):
        assert (await other.look(path)).status_code == 404


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2-13")
async def test_the_ask_page_shows_the_whole_notice_and_ticks_nothing(
    site: Site, me: Browser, lender: PartnerId
) -> None:
    grant = await site.ask(lender)
    page = await me.look(f"/ask/{grant}")
    boxes = re.findall(r'<input type="checkbox"[^>]*>', page.text)
    assert len(boxes) == 5
    assert not any("checked" in box for box in boxes)
    assert page.text.index("Sensitive data") < page.text.index('value="credit_history"')
    assert page.text.index('value="shopping"') < page.text.index("Sensitive data")
    assert notices.current(Purpose.CREDIT_ASSESSMENT, Language.EN).sha256 in page.text
    assert "Bank alpha wants to know how likely you are to repay" in me.text
    assert re.findall(r"\{[a-z_]+\}", page.text) == []


async def test_yes_gives_what_was_ticked_and_a_receipt(site: Site, me: Browser, lender: PartnerId) -> None:
    grant = await agree(site, me, lender)
    assert "You have agreed" in me.text
    assert "Your shopping with us" in me.text
    receipt = await me.look(f"/me/grants/{grant}/receipt")
    assert receipt.headers["content-disposition"] == f'attachment; filename="{grant}.receipt.jws"'
    assert receipt.text.count(".") == 2
    assert "Uses allowed now: 1" in (await me.look("/me")).text


async def test_yes_without_a_tick_gives_nothing(site: Site, me: Browser, lender: PartnerId) -> None:
    grant = await site.ask(lender)
    await me.look(f"/ask/{grant}")
    assert (await me.send(f"/ask/{grant}", answer="yes")).status_code == 422
    assert texts.messages(Language.EN)["fault.not_asked"] in me.text
    assert "Nobody may use your data now" in (await me.look("/me")).text


async def test_yes_to_another_notice_than_the_one_in_force_gives_nothing(
    site: Site, me: Browser, lender: PartnerId
) -> None:
    grant = await site.ask(lender)
    await me.look(f"/ask/{grant}")
    answer = await me.send(f"/ask/{grant}", answer="yes", categories=["shopping"], notice_sha256="0" * 64)
    assert answer.status_code == 409
    assert "notice_changed" in answer.text
    body = {"categories": ["shopping"], "language": "en", "notice_sha256": "0" * 64}
    told = await me.http.post(
        f"/v1/me/grants/{grant}/approve", json=body, headers={"Origin": web_site.ISSUER}
    )
    assert (told.status_code, told.json()["code"]) == (409, "notice_changed")
    body["notice_sha256"] = notices.current(Purpose.CREDIT_ASSESSMENT, Language.EN).sha256
    told = await me.http.post(
        f"/v1/me/grants/{grant}/approve", json=body, headers={"Origin": web_site.ISSUER}
    )
    assert told.status_code == 200


async def test_after_a_no_nobody_asks_again_for_90_days(
    site: Site, me: Browser, person: Person, lender: PartnerId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    grant = await site.ask(lender, person)
    await me.look(f"/ask/{grant}")
    await me.send(f"/ask/{grant}", answer="no")
    assert "You said no" in me.text
    with pytest.raises(grants.AskedTooSoon):
        await site.ask(lender, person)
    unknown = await site.ask(lender)
    await me.look(f"/ask/{unknown}")
    assert "may not ask again for 90 days" in me.text
    body = {"categories": ["shopping"], "language": "en"}
    path = f"/v1/me/grants/{unknown}/approve"
    told = await me.http.post(path, json=body, headers={"Origin": web_site.ISSUER})
    assert (told.status_code, told.json()["code"]) == (409, "asked_too_soon")
    await site.ask(lender, person, Purpose.INCOME_ESTIMATE)
    past = "update consent_grant set requested_at = requested_at - $1::interval where state = 'rejected'"
    await owner.execute(
        "set session_replication_role = replica"
    )  # past the trigger: what is over stays as it is
    await owner.execute(past, timedelta(days=90))
    with pytest.raises(grants.AskedTooSoon):
        await site.ask(lender, person)
    await owner.execute(past, timedelta(hours=1))
    await site.ask(lender, person)


async def test_a_lapsed_request_cannot_be_answered(
    site: Site, me: Browser, lender: PartnerId, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    grant = await site.ask(lender)
    await owner.execute("update consent_grant set requested_at = requested_at - interval '61 minutes'")
    await me.look(f"/ask/{grant}")
    assert texts.messages(Language.EN)["ask.lapsed_title"] in me.text
    for answer in ("yes", "no"):
        await me.look("/me/log")
        sent = await me.send(f"/ask/{grant}", answer=answer, categories=["shopping"])
        assert (sent.status_code, "ask_lapsed" in sent.text) == (409, True)


async def test_stopping_takes_one_step_and_says_when(site: Site, me: Browser, lender: PartnerId) -> None:
    grant = await agree(site, me, lender)
    await me.look(f"/me/grants/{grant}")
    stopped = await me.send(f"/me/grants/{grant}/withdraw")
    assert stopped.url.path == f"/me/grants/{grant}/withdrawn"
    assert re.search(r"It has stopped, at \d\d:\d\d:\d\d", me.text)
    assert "You stopped it" in (await me.look(f"/me/grants/{grant}")).text
    assert "Nobody may use your data now" in (await me.look("/me")).text


async def test_one_button_stops_everything(site: Site, me: Browser, lender: PartnerId) -> None:
    await agree(site, me, lender)
    await apply(me)
    assert "Uses allowed now: 2" in (await me.look("/me")).text
    await me.send("/me/stop")
    assert re.search(r"Everything has stopped, at \d\d:\d\d:\d\d", me.text)
    assert "Nobody may use your data now" in (await me.look("/me")).text
    await me.send("/me/stop")
    assert me.page.status_code == 200


async def test_a_fact_is_shown_with_a_proof_that_can_be_taken_away(
    site: Site, me: Browser, lender: PartnerId, person: Person
) -> None:
    grant = await agree(site, me, lender)
    fact = re.search(r"/me/facts/\w+", (await me.look(f"/me/grants/{grant}")).text)
    assert fact
    await me.look(fact[0])
    assert texts.messages(Language.EN)["fact_page.pending"] in me.text
    await web_site.log_everything()
    await me.look(fact[0])
    for step in ("step_commitment", "step_leaf", "step_path", "step_signature"):
        assert texts.messages(Language.EN)[f"fact_page.{step}"] in me.text
    assert str(person.user) not in me.page.text
    proof = await me.look(f"{fact[0]}/proof")
    assert proof.text.startswith("c2sp.org/tlog-proof@v1\n")
    await me.look("/me/log")
    assert "The person read a record about them" in me.text


async def test_offers_say_what_people_need_and_who_was_left_out(me: Browser, lender: PartnerId) -> None:
    today = datetime.now(BUSINESS_ZONE).date()
    await apply(me)
    terms = Terms(600_000, today, 6, lending.TERMS.daily_rate, Method.EQUAL_PRINCIPAL)
    plan = loan_math.schedule(terms)
    dearest = max(row.payment_minor for row in plan.instalments)
    late = dearest * terms.daily_rate * Decimal("1.5") * 30
    for part in (
        f"CN¥{dearest / 100:,.2f}",
        f"CN¥{plan.total_cost_minor / 100:,.2f}",
        f"CN¥{(late / 100).quantize(Decimal('0.01'), ROUND_HALF_UP)} more, if one instalment is 30 days late",
        "simple interest",
        "14.60%",
        "Xinqiao owns a part of Bank alpha",
        "Cheapest first",
        "Does not lend where you live",
    ):
        assert part in me.text, part


async def test_a_pick_names_the_lender_and_leads_to_it_in_one_hop(me: Browser, lender: PartnerId) -> None:
    application = await apply(me)
    offer = re.search(rf"{application}/offers/\w+", me.page.text)
    assert offer
    assert "What Bank alpha receives" in (await me.look(offer[0])).text
    assert (await me.send(offer[0])).status_code == 422
    await me.look(offer[0])
    await me.send(offer[0], agree_to_hand_over="yes")
    links = re.findall(r'href="(https://[^"]+)" rel="noreferrer"', me.page.text)
    assert [link.split("=")[0] for link in links] == ["https://alpha.example/apply?handover"]
    assert "Being handed over" in (await me.look(application)).text


async def test_a_barred_use_and_a_bad_amount_are_said_in_words(me: Browser, lender: PartnerId) -> None:
    wish = {"instalments": "6", "region": "CN-BJ", "agree_to_matching": "yes"}
    await me.look("/apply")
    assert (await me.send("/apply", **wish, amount="6000", use_of_funds="securities")).status_code == 422
    assert texts.messages(Language.EN)["fault.use_barred"] in me.text
    await me.look("/apply")
    sent = await me.send("/apply", **(wish | {"region": "CN\x00BJ"}), amount="6000", use_of_funds="travel")
    assert sent.status_code == 422


ODD_AMOUNTS = (
    "",
    "-1",
    "0",
    "0.001",
    "1.005",
    "1e2",
    "1e3000",
    "9e999999",
    "1e-999999",
    "NaN",
    "sNaN",
    "Infinity",
)
ODD_FIELDS = [
    *(("amount", amount) for amount in (*ODD_AMOUNTS, "9" * 1_000, "0." + "1" * 900, "x", "1 2", "1_0")),
    *(("instalments", count) for count in ("", "0", "-1", "6.5", "9" * 9, "9" * 400, "x")),
    *(("region", region) for region in ("", "-", "CN BJ", "CN\x00BJ", "x" * 33, "<b>")),
    *(("currency", currency) for currency in ("", "cny", "CNYX", "C€Y", "x" * 900)),
    ("use_of_funds", "fun"),
]


async def test_every_odd_field_is_said_in_words(me: Browser, lender: PartnerId) -> None:
    wish = {"amount": "6000", "instalments": "6", "region": "CN-BJ", "use_of_funds": "travel"}
    for name, value in ODD_FIELDS:
        await me.look("/apply")
        sent = await me.send("/apply", **(wish | {name: value}), agree_to_matching="yes")
        assert (sent.status_code, f"/{name}" in me.text) == (422, True), (name, value[:40])
    for amount in ("6,000", "6000.00", "６０００"):
        await me.look("/apply")
        sent = await me.send("/apply", **(wish | {"amount": amount}), agree_to_matching="yes")
        assert (sent.status_code, "CN¥6,000.00" in me.text) == (200, True), amount


@pytest.mark.parametrize("shown", ["0" * 64, ""])
async def test_a_loan_step_rests_on_the_notice_that_was_shown(
    me: Browser, lender: PartnerId, owner: "asyncpg.Connection[asyncpg.Record]", shown: str
) -> None:
    wish = {"amount": "6000", "instalments": "6", "region": "CN-BJ", "use_of_funds": "travel"}
    await me.look("/apply")
    sent = await me.send("/apply", **wish, agree_to_matching="yes", notice_sha256=shown)
    assert (sent.status_code, "notice_changed" in sent.text) == (409, True)
    assert await owner.fetchval("select count(*) from consent_grant") == 0
    application = await apply(me)
    offer = re.search(rf"{application}/offers/\w+", me.page.text)
    assert offer
    await me.look(offer[0])
    sent = await me.send(offer[0], agree_to_hand_over="yes", notice_sha256=shown)
    assert (sent.status_code, "notice_changed" in sent.text) == (409, True)
    assert await owner.fetchval("select count(*) from consent_grant") == 1
    await me.look(offer[0])
    assert (await me.send(offer[0], agree_to_hand_over="yes")).status_code == 200


async def test_pages_and_notices_name_who_operates(home: Path, database: Database) -> None:
    names = {
        "operator_name_zh": "示例征信",
        "operator_name_en": "Example Credit",
        "contact": "ask@example.org",
    }
    async with web_site.site(home, database, **names) as site:
        me = await site.person(await lending.a_person())
        for language, name in (("en", "Example Credit"), ("zh-CN", "示例征信")):
            page = await me.look("/apply", language)
            box = re.search(r'<label for="agree">(.*?)</label>', page.text)
            notice = page.text.partition('<details class="notice">')[2]
            assert box
            assert name in box[1]
            assert name in notice
            assert "ask@example.org" in notice
            assert "privacy@xinqiao.example" not in page.text
            assert "ask@example.org" in (await me.look("/nowhere", language)).text


async def test_staff_search_without_learning_who(
    site: Site, me: Browser, lender: PartnerId, person: Person
) -> None:
    await agree(site, me, lender)
    await web_site.log_everything()
    auditor = await site.staff(StaffRole.AUDITOR)
    await auditor.look("/compliance?kind=grant_given")
    assert "Facts found: 1" in auditor.text
    assert re.search(r"P-[0-9a-f]{10}", auditor.text)
    assert "Proof checks out" in auditor.text
    assert str(person.user) not in auditor.page.text
    bank, today = ids.public("ptn", lender), "2000-01-01"
    for query, count in (
        (f"partner={bank}&kind=grant_given", 1),
        (f"until={today}", 0),
        (f"since={today}", None),
    ):
        await auditor.look(f"/compliance?{query}")
        assert count is None or f"Facts found: {count}" in auditor.text
    await auditor.look("/compliance?kind=facts_searched")
    assert "Facts found: 5" in auditor.text
    assert (await auditor.look("/compliance?fact=nonsense")).status_code == 404


async def test_a_long_search_has_pages(site: Site) -> None:
    auditor = await site.staff(StaffRole.AUDITOR)
    for _ in range(30):
        await auditor.look("/compliance?kind=facts_searched")
    older = re.search(r'href="(/compliance\?[^"]*before=[^"]*)"', auditor.page.text)
    assert older
    await auditor.look(older[1].replace("&amp;", "&"))
    assert 'rel="next"' not in auditor.page.text
    assert len(re.findall("/compliance/facts/", auditor.page.text)) == 5


async def test_staff_open_a_fact_only_for_a_reason_that_the_person_sees(
    site: Site, me: Browser, lender: PartnerId, person: Person
) -> None:
    await agree(site, me, lender)
    await web_site.log_everything()
    officer = await site.staff(StaffRole.COMPLIANCE_OFFICER)
    found = re.search(r"/compliance/facts/\w+", (await officer.look("/compliance?kind=grant_given")).text)
    assert found
    assert "shopping" not in (await officer.look(found[0])).text
    assert (await officer.send(found[0], reason=" ")).status_code == 422
    await officer.look(found[0])
    opened = await officer.send(found[0], reason="the person complained")
    assert "Your shopping with us" in opened.text
    assert texts.messages(Language.EN)["fact_page.step_commitment"] in officer.text
    assert str(person.user) not in opened.text
    await me.look("/me")
    assert "Staff looked at personal data" in me.text


@pytest.mark.parametrize("role", [StaffRole.RISK_OFFICER, StaffRole.PARTNER_MANAGER])
async def test_other_staff_do_not_search(site: Site, role: StaffRole) -> None:
    assert (await (await site.staff(role)).look("/compliance")).status_code == 403


async def test_the_reference_is_drawn_from_our_own_description(site: Site) -> None:
    browser = Browser(site)
    page = await browser.look("/schema")
    assert 'data-spec="/schema/openapi.json"' in page.text
    described = (await browser.look("/schema/openapi.json")).json()
    assert "/v1/scores" in described["paths"]
    assert not any(
        path.startswith(("/me", "/ask", "/schema", "/features", "/static")) for path in described["paths"]
    )
    assert "openapi: 3.1" in (await browser.look("/schema/openapi.yaml")).text
    for file in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert (await browser.look(file)).status_code == 200, file


async def test_the_description_as_yaml_is_written_at_most_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask for it, and to write it takes a quarter of a second in which nobody is served."""
    write, written = yaml.dump, []
    monkeypatch.setattr(yaml, "dump", lambda *given, **how: written.append(given) or write(*given, **how))
    browser = Browser(site)
    assert len({(await browser.look("/schema/openapi.yaml")).text for _ in range(3)}) == 1
    assert len(written) <= 1
    assert (await browser.look("/static/../settings.py")).status_code == 404


async def test_an_archived_notice_is_the_text_that_its_hash_covers(
    site: Site, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with open_act(web_site.OPERATOR, None) as act:
        await notices.publish(act)
    rows = await owner.fetch("select body, sha256 from consent_notice")
    assert len(rows) == len(Purpose) * len(Language)
    assert all(hashlib.sha256(row["body"].encode()).hexdigest() == row["sha256"] for row in rows)


@every_language
@pytest.mark.parametrize("bureau", [None, "{contact}"])
@pytest.mark.parametrize("sensitive", ["", "X"])
@pytest.mark.parametrize("purpose", Purpose)
def test_a_rendered_notice_leaves_nothing_open(
    purpose: Purpose, language: Language, bureau: str | None, sensitive: str
) -> None:
    notice = notices.current(purpose, language)
    filled = notices.rendered(notice, Filling("OP", "CONTACT", "BANK", bureau, "KINDS", sensitive, 90, 30))
    assert re.findall(r"\{(?!contact\})", filled) == []
    assert ("{contact}" in filled) is (bureau is not None and bool(notice.relay_sentence))
    assert (notice.sensitive_sentence.replace("{sensitive_categories}", "X") in filled) is bool(sensitive)
    assert "OP" in filled


def test_no_category_is_left_without_words() -> None:
    for language in Language:
        said = texts.Words(language, "OP", "CONTACT")
        assert said.categories(list(Category)).count(texts.BETWEEN[language]) >= len(Category) - 1
        assert json.dumps(said.money(123_456, "CNY"), ensure_ascii=False).count("1,234.56") == 1
