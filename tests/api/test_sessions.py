"""Sessions: a link works once, the cookie is closed to scripts and other sites, and ending it ends it."""

import hashlib

import pytest
from support import world
from support.world import STORY, told

from api import sessions
from api.sessions import LinkSpent
from compliance import ids, log, sequencer
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
    cookie = {"Cookie": "__Host-xinqiao=chosen-by-somebody", "Origin": world.ISSUER}
    asked = await here.http.get(f"/sign-in/{link}", headers=cookie)
    assert (asked.status_code, "set-cookie" in asked.headers) == (
        200,
        False,
    )  # nobody is made somebody else unasked
    answer = await here.http.post(f"/sign-in/{link}", headers=cookie)
    token = answer.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    assert token not in (link, "chosen-by-somebody")
    stored = await owner.fetchval("select token_hash from api_session")
    assert stored == hashlib.sha256(token.encode()).digest()
    assert await owner.fetchval("select token_hash from api_link") == hashlib.sha256(link.encode()).digest()


async def test_in_production_links_are_for_staff(database, home):
    async with world.opened(database, home, installation="production") as here:
        (person,) = await world.persons(1)
        with pytest.raises(RuntimeError):
            await link_for(here, person)
        console = await here.console(StaffRole.AUDITOR)
        assert (await console.call("GET", "/compliance")).status_code == 200


LOADED_AHEAD = [
    {"Sec-Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch;prerender"},
    {"Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch", "Sec-Fetch-Site": "none"},
]
FROM_ELSEWHERE = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]


@pytest.mark.parametrize("headers", LOADED_AHEAD + FROM_ELSEWHERE, ids=str)
@pytest.mark.parametrize(("language", "said"), [("en", "Sign in"), ("zh-CN", "登录")])
async def test_only_a_person_who_means_it_spends_a_link(here, owner, headers, language, said):
    link = await link_for(here, (await world.persons(1))[0])
    path = f"/sign-in/{link}"
    shown = await here.http.get(path, headers=headers | {"Accept-Language": language})
    assert (shown.status_code, "set-cookie" in shown.headers) == (200, False)
    assert f">{said}</button>" in shown.text
    assert await owner.fetchval("select used_at from api_link") is None
    pressed = await here.http.post(path, headers={"Origin": world.ISSUER, "Sec-Fetch-Site": "same-origin"})
    assert (pressed.status_code, pressed.headers["location"]) == (303, "/me")
    assert pressed.headers["set-cookie"].startswith("__Host-xinqiao=")
    assert (await here.http.post(path, headers={"Origin": world.ISSUER})).status_code == 410


@pytest.mark.parametrize("site", ["none", "same-origin"])
async def test_a_link_opened_directly_signs_in_at_once(here, site):
    link = await link_for(here, (await world.persons(1))[0])
    answer = await here.http.get(f"/sign-in/{link}", headers={"Sec-Fetch-Site": site})
    assert (answer.status_code, answer.headers["location"]) == (303, "/me")


async def test_the_sign_in_page_can_be_read_in_the_other_language_first(here, owner):
    link = await link_for(here, (await world.persons(1))[0])
    headers = {"Sec-Fetch-Site": "same-origin", "Accept-Language": "en"}
    shown = await here.http.get(f"/sign-in/{link}?lang=zh-CN", headers=headers)
    assert (shown.status_code, ">登录</button>" in shown.text) == (200, True)
    assert await owner.fetchval("select used_at from api_link") is None


@pytest.mark.parametrize(
    "headers", [*FROM_ELSEWHERE, {"Origin": "https://evil.example"}, {"Origin": "null"}], ids=str
)
async def test_another_site_cannot_press_the_button(here, owner, headers):
    link = await link_for(here, (await world.persons(1))[0])
    answer = await here.http.post(f"/sign-in/{link}", headers=headers)
    assert (told(answer, 403)["code"], "set-cookie" in answer.headers) == ("origin_refused", False)
    assert await owner.fetchval("select used_at from api_link") is None


async def test_signing_in_ends_the_session_before_it(here):
    person, other = await world.persons(2)
    browser, elsewhere = await here.browser(person), await here.browser(person)
    link = await link_for(here, other)
    headers = {"Cookie": browser.cookie, "Origin": world.ISSUER}
    assert (await here.http.get(f"/sign-in/{link}", headers=headers)).status_code == 200
    told(await here.http.post("/sign-in/none", headers=headers), 410)
    told(await browser.call("GET", "/v1/me/grants"), 200)  # a link that is spent ends nothing
    assert (await here.http.post(f"/sign-in/{link}", headers=headers)).status_code == 303
    told(await browser.call("GET", "/v1/me/grants"), 401)
    told(await elsewhere.call("GET", "/v1/me/grants"), 200)


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


FORM_TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]


@pytest.mark.parametrize("media_type", FORM_TYPES)
async def test_in_a_session_a_body_is_json(here, owner, media_type):
    (person,) = await world.persons(1)
    grant = await world.granted(person, await world.a_bank())
    browser = await here.browser(person)
    path = f"/v1/me/grants/{ids.public('gnt', grant.id)}/withdraw"
    headers = {"Cookie": browser.cookie} | ({"Content-Type": media_type} if media_type else {})
    answer = await here.http.post(path, content=b"{}", headers=headers)
    assert told(answer, 415)["code"] == "media_type_not_supported"

    async def chunks():
        yield b"{}"

    answer = await here.http.post(path, content=chunks(), headers=headers)
    assert told(answer, 415)["code"] == "media_type_not_supported"
    assert await owner.fetchval("select state from consent_grant") == "active"


@pytest.mark.parametrize("said", [{}, {"Content-Type": "application/json; charset=utf-8"}])
async def test_a_command_line_needs_no_origin(here, owner, said):
    (person,) = await world.persons(1)
    grant = await world.granted(person, await world.a_bank())
    browser = await here.browser(person)
    path = f"/v1/me/grants/{ids.public('gnt', grant.id)}/withdraw"
    content = b"{}" if said else None
    told(await here.http.post(path, content=content, headers={"Cookie": browser.cookie} | said), 200)
    assert await owner.fetchval("select state from consent_grant") == "ended"


async def test_what_is_not_for_everybody_is_kept_nowhere(here):
    (person,) = await world.persons(1)
    browser, software = await here.browser(person), await here.software()
    console = await here.console(StaffRole.AUDITOR)
    for answer in (
        await browser.call("GET", "/v1/me/grants"),
        await browser.call("GET", "/v1/applications/app_1"),
        await software.call("GET", "/v1/prescreens"),
        await console.call("GET", "/compliance"),
        await here.http.get("/v1/me/grants"),
    ):
        assert answer.headers.get_list("cache-control") == ["no-store"], answer.request.url
    assert "no-store" not in (await here.http.get("/v1/log/key")).headers["cache-control"]


async def test_leaves_are_for_auditors_and_hashes_for_everybody(here):
    (person,) = await world.persons(1)
    await world.granted(person, await world.a_bank())
    await sequencer.sequence()
    await sequencer.publish()
    size = int((await here.http.get("/v1/log/checkpoint")).text.splitlines()[1])
    leaves, hashes = f"/v1/log/tile/entries/000.p/{size}", f"/v1/log/tile/0/000.p/{size}"
    for role in (StaffRole.AUDITOR, StaffRole.COMPLIANCE_OFFICER):
        answer = await (await here.console(role)).call("GET", leaves)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert len(log.write_bundle([b""]) * size) < len(answer.content)
    software = await here.software("beta")
    browser, manager = await here.browser(person), await here.console(StaffRole.PARTNER_MANAGER)
    assert (await software.call("GET", leaves)).status_code == 401
    assert (await browser.call("GET", leaves)).status_code == 401
    assert (await manager.call("GET", leaves)).status_code == 403
    assert len((await here.http.get(hashes)).content) == size * log.HASH_BYTES


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
