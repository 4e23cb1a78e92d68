"""Letting a consent go on, on the page and over the API: the whole notice, two answers of one weight, and the history."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
from support import code_flow, lending, web_site, world
from support.web_site import Browser, Site
from support.world import told

from api.web import texts
from compliance import ids
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import GrantId, Language, PartnerId, Person, Purpose
from consent import extensions, notices


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    async with web_site.site(home, database) as made:
        yield made


@pytest.fixture
async def lender(site: Site) -> PartnerId:
    return await lending.a_lender("alpha")


@pytest.fixture
async def person(site: Site) -> Person:
    return await lending.a_person()


@pytest.fixture
async def me(site: Site, person: Person) -> Browser:
    return await site.person(person)


@pytest.fixture
async def grant(site: Site, me: Browser, lender: PartnerId, owner) -> str:
    """A yes to shopping, of which ten days are left."""
    made = await site.ask(lender)
    await me.look(f"/ask/{made}")
    await me.send(f"/ask/{made}", answer="yes", categories=["shopping"])
    await owner.execute("update consent_grant set expires_at = now() + interval '10 days'")
    return made


async def ask(lender: PartnerId, grant: str, period_days: int = 60) -> None:
    async with open_act(lending.a_client(lender), None) as act:
        await extensions.ask(act, GrantId(ids.private("gnt", grant)), period_days)


async def end(owner) -> datetime:
    return await owner.fetchval("select expires_at from consent_grant")


@pytest.mark.parametrize("language", Language)
async def test_the_page_says_who_asks_for_what_until_when_with_the_whole_notice(
    me: Browser, lender: PartnerId, grant: str, language: Language
):
    await ask(lender, grant)
    await me.look("/me", language)
    assert f"/me/grants/{grant}/extend" in me.page.text
    await me.look(f"/me/grants/{grant}", language)
    assert f"/me/grants/{grant}/extend" in me.page.text
    page = await me.look(f"/me/grants/{grant}/extend", language)
    assert page.status_code == 200
    notice = notices.current(Purpose.CREDIT_ASSESSMENT, language)
    assert page.text.count(notice.sha256) == 2
    assert "60" in me.text
    assert texts.messages(language)["category.shopping.name"] in me.text
    assert "checked" not in page.text
    buttons = re.findall(r"<button[^>]*>", page.text.split(f'action="/me/grants/{grant}/extend"')[1])[:2]
    assert [b.replace("yes", "no") for b in buttons] == [buttons[1]] * 2
    assert 'name="period_days"' not in page.text


async def test_a_yes_on_the_page_moves_the_end_and_stands_in_the_history(
    me: Browser, lender: PartnerId, grant: str, owner
):
    await ask(lender, grant)
    before = await end(owner)
    await me.look(f"/me/grants/{grant}/extend")
    answer = await me.send(f"/me/grants/{grant}/extend", answer="yes")
    assert (answer.status_code, answer.url.path) == (200, f"/me/grants/{grant}")
    assert await end(owner) > before
    assert "You allowed it for longer" in me.text
    assert "asked for 60 days" in me.text
    await me.look("/me")
    assert "/extend" not in me.page.text


async def test_a_no_on_the_page_changes_nothing(me: Browser, lender: PartnerId, grant: str, owner):
    await ask(lender, grant)
    before = await end(owner)
    await me.look(f"/me/grants/{grant}/extend")
    answer = await me.send(f"/me/grants/{grant}/extend", answer="no")
    assert (answer.status_code, await end(owner)) == (200, before)
    assert "You said no" in me.text
    assert await owner.fetchval("select answer from consent_extension") == "no"


@pytest.mark.parametrize("language", Language)
async def test_of_their_own_accord_from_the_consents_page(me: Browser, grant: str, owner, language):
    page = await me.look(f"/me/grants/{grant}", language)
    assert texts.messages(language)["extend.link"] in page.text
    page = await me.look(f"/me/grants/{grant}/extend", language)
    assert 'name="period_days" value="90"' in page.text
    before = await end(owner)
    dropped = await me.send(f"/me/grants/{grant}/extend", answer="no", period_days="90")
    assert (dropped.status_code, await end(owner)) == (200, before)
    assert await owner.fetchval("select count(*) from consent_extension") == 0
    await me.look(f"/me/grants/{grant}/extend")
    await me.send(f"/me/grants/{grant}/extend", answer="yes", period_days="90")
    assert await owner.fetchval("select asked_by from consent_extension") == "person"
    assert f"/me/grants/{grant}/extend" not in (await me.look(f"/me/grants/{grant}", language)).text
    assert (await me.look(f"/me/grants/{grant}/extend", language)).status_code == 409


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"answer": "maybe"}, 422),
        ({}, 422),
        ({"answer": "yes", "notice_sha256": "0" * 64}, 409),
        ({"answer": "yes", "period_days": "366"}, 422),
        ({"answer": "yes", "period_days": ""}, 422),
        ({"answer": "yes", "_csrf_token": "0" * 64}, 403),
    ],
)
async def test_an_answer_that_is_none_changes_nothing(
    me: Browser, lender: PartnerId, grant: str, owner, fields, status
):
    await ask(lender, grant)
    before = await end(owner)
    await me.look(f"/me/grants/{grant}/extend")
    answer = await me.send(f"/me/grants/{grant}/extend", **fields)
    assert (answer.status_code, await end(owner)) == (status, before)


@pytest.mark.parametrize("language", Language)
async def test_where_the_notice_changed_the_page_says_so_and_has_no_form(
    me: Browser, grant: str, owner, language
):
    await owner.execute("update consent_grant set notice_version = 0")
    page = await me.look(f"/me/grants/{grant}/extend", language)
    assert page.status_code == 200
    assert f'action="/me/grants/{grant}/extend"' not in page.text
    assert {"en": "is no longer the one you agreed to", "zh-CN": "不是同一版"}[language] in me.text


async def test_what_is_anothers_or_has_ended_has_no_page(site: Site, me: Browser, grant: str, owner):
    stranger = await site.person(await lending.a_person())
    for path in (f"/me/grants/{grant}/extend", f"/me/grants/{web_site.unknown('gnt')}/extend"):
        assert (await stranger.look(path)).status_code == 404
    await owner.execute("update consent_grant set expires_at = now()")
    assert (await me.look(f"/me/grants/{grant}/extend")).status_code == 409


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        yield opened


async def test_the_whole_way_over_the_api(here):
    bank = await here.software()
    (person,) = await world.persons(1)
    browser = await here.browser(person)
    row = await world.granted(person, bank.client)
    public = ids.public("gnt", row.id)
    theirs, mine = f"/v1/grants/{public}", f"/v1/me/grants/{public}/extension"
    assert "extension" not in told(await bank.call("GET", theirs), 200)
    asked = told(await bank.call("POST", f"{theirs}/extension", {"period_days": 60}), 201)
    assert asked["id"] == public
    waits = asked["extension"]
    assert (waits["state"], waits["period_days"]) == ("requested", 60)
    assert waits["page"] == f"{world.ISSUER}/me/grants/{public}/extend"
    again = await bank.call("POST", f"{theirs}/extension", {"period_days": 90})
    assert told(again, 409)["code"] == "already_asked"
    shown = notices.current(Purpose.CREDIT_ASSESSMENT, Language.ZH_CN).sha256
    yes = {"answer": "yes", "language": "zh-CN", "notice_sha256": shown}
    given = told(await browser.call("POST", mine, yes), 200)
    assert (given["id"], given["extensions"]) == (public, 1)
    assert given["receipt"].count(".") == 2
    seen = told(await bank.call("GET", theirs), 200)
    assert (seen["extension"]["state"], seen["extensions"]) == ("given", 1)
    assert seen["expires_at"] == given["expires_at"] > asked["expires_at"]
    assert "page" not in seen["extension"]
    assert told(await browser.call("POST", mine, yes), 409)["code"] == "grant_not_open"
    told(await bank.call("POST", f"{theirs}/extension", {"period_days": 90}), 201)
    told(await browser.call("POST", mine, {"answer": "no", "language": "en"}), 200)
    assert told(await bank.call("GET", theirs), 200)["extension"]["state"] == "rejected"
    soon = await bank.call("POST", f"{theirs}/extension", {"period_days": 120})
    assert told(soon, 409)["code"] == "asked_too_soon"
    own = told(await browser.call("POST", mine, yes | {"period_days": 120}), 200)
    assert own["extensions"] == 2
    listed = told(await browser.call("GET", "/v1/me/grants"), 200)["items"]
    assert (listed[0]["extensions"], listed[0]["extended_at"]) == (2, own["extended_at"])


async def test_a_repeated_call_is_answered_again_and_asks_once(here, owner):
    bank = await here.software()
    (person,) = await world.persons(1)
    row = await world.granted(person, bank.client)
    path = f"/v1/grants/{ids.public('gnt', row.id)}/extension"
    first, again = [await bank.call("POST", path, {"period_days": 60}, key="one") for _ in range(2)]
    assert told(first, 201) == told(again, 201)
    assert await owner.fetchval("select count(*) from consent_extension") == 1


async def test_a_token_issued_before_lives_on_past_the_old_end(here, owner):
    flow = await code_flow.begin(here)
    tokens = await flow.tokens()
    grant = GrantId(await owner.fetchval("select id from consent_grant"))
    await owner.execute("update consent_grant set expires_at = now() + interval '1 second'")
    async with open_act(flow.person, None) as act:
        await extensions.agree(act, grant, Language.EN, period_days=90)
    await asyncio.sleep(1.1)
    told(await flow.score(tokens), 201)
    assert (await flow.refresh(tokens["refresh_token"])).status_code == 200
