"""Sessions: a link works once, the cookie is closed to scripts and other sites, and ending it ends it."""

import hashlib

import pytest
from support import world
from support.world import STORY, told

from api import sessions
from api.sessions import LinkSpent
from compliance import ids
from compliance.vocabulary import StaffRole


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        yield opened


async def link_for(here, person) -> str:
    return await sessions.make_link(STORY, here.settings, user=person.user)


async def test_a_link_signs_in_once(here):
    (person,) = await world.persons(1)
    link = await link_for(here, person)
    first = await here.http.get(f"/sign-in/{link}")
    assert (first.status_code, first.headers["location"]) == (303, "/me")
    again = await here.http.get(f"/sign-in/{link}")
    assert (again.status_code, "set-cookie" in again.headers) == (410, False)


async def test_the_cookie_is_bound_to_the_host_and_hidden_from_scripts(here):
    (person,) = await world.persons(1)
    cookie = (await here.http.get(f"/sign-in/{await link_for(here, person)}")).headers["set-cookie"]
    assert cookie.startswith("__Host-xinqiao=")
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/", "max-age=1800"} <= parts
    assert not any(part.startswith("domain") for part in parts)


async def test_no_token_is_stored_and_none_from_outside_is_adopted(here, owner):
    (person,) = await world.persons(1)
    link = await link_for(here, person)
    answer = await here.http.get(f"/sign-in/{link}", headers={"Cookie": "__Host-xinqiao=chosen-by-somebody"})
    token = answer.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    assert token not in (link, "chosen-by-somebody")
    stored = await owner.fetchval("select token_hash from api_session")
    assert stored == hashlib.sha256(token.encode()).digest()
    assert await owner.fetchval("select token_hash from api_link") == hashlib.sha256(link.encode()).digest()


@pytest.mark.parametrize(
    "ends",
    [
        "update api_session set expires_at = now()",
        "update api_session set ended_at = now()",
        "delete from api_session",
    ],
)
async def test_an_ended_session_lets_nobody_in(here, owner, ends):
    browser = await here.browser((await world.persons(1))[0])
    told(await browser.call("GET", "/v1/me/grants"), 200)
    await owner.execute(ends)
    assert told(await browser.call("GET", "/v1/me/grants"), 401)["code"] == "not_signed_in"


async def test_a_link_lapses(here, owner):
    link = await link_for(here, (await world.persons(1))[0])
    await owner.execute("update api_link set expires_at = now()")
    with pytest.raises(LinkSpent):
        await sessions.sign_in(here.settings, link)


async def test_signing_out_ends_it_for_good(here):
    browser = await here.browser((await world.persons(1))[0])
    other = await here.browser((await world.persons(1))[0])
    assert (await browser.call("POST", "/sign-out")).status_code == 403  # without the form's token
    told(await browser.call("GET", "/v1/me/grants"), 200)
    assert (await browser.send_form("/sign-out")).status_code == 303
    told(await browser.call("GET", "/v1/me/grants"), 401)
    told(await other.call("GET", "/v1/me/grants"), 200)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://xinqiao.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_another_site_cannot_make_a_change(here, owner, headers):
    (person,) = await world.persons(1)
    grant = await world.granted(person, await world.a_bank())
    browser = await here.browser(person)
    path = f"/v1/me/grants/{ids.public('gnt', grant.id)}/withdraw"
    answer = await here.http.post(path, headers={"Cookie": browser.cookie} | headers)
    assert told(answer, 403)["code"] == "origin_refused"
    assert await owner.fetchval("select state from consent_grant") == "active"
    told(await here.http.get("/v1/me/grants", headers={"Cookie": browser.cookie} | headers), 200)


async def test_a_persons_session_is_not_a_colleagues_and_the_reverse(here):
    browser = await here.browser((await world.persons(1))[0])
    console = await here.console(StaffRole.AUDITOR)
    assert (await browser.call("GET", "/compliance")).status_code in (303, 401)
    assert (await console.call("GET", "/v1/me/grants")).status_code == 401
    assert (await console.call("GET", "/compliance")).status_code == 200
    manager = await here.console(StaffRole.PARTNER_MANAGER)
    assert (await manager.call("GET", "/compliance")).status_code == 403


async def test_a_form_token_belongs_to_one_session(here, owner):
    person, stranger = await world.persons(2)
    grant = await world.granted(person, await world.a_bank())
    browser, other = await here.browser(person), await here.browser(stranger)
    path = f"/me/grants/{ids.public('gnt', grant.id)}/withdraw"
    for wrong in (other.form_token, "", "é", browser.form_token[:-1]):
        assert (await browser.send_form(path, _csrf_token=wrong)).status_code == 403
    assert await owner.fetchval("select state from consent_grant") == "active"
    assert (await browser.send_form(path)).status_code == 303
    assert await owner.fetchval("select state from consent_grant") == "ended"
