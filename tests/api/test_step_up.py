"""A sensitive step is taken by who has just proven who they are; whoever has not is led to sign in, and back."""

import time
from typing import Any

import pytest
from litestar import Response, get, post
from support import provider, routes, world
from support.provider import Visitor, named
from support.world import told

from api import app as application
from api import sessions
from api.access import AnyRequest, person
from api.web import forms, page
from compliance.act import open_view
from consent import people

LANGUAGES = pytest.mark.parametrize("language", ["en", "zh-CN"])
PAGE, JSON = "/me/sensitive", "/v1/me/sensitive"


@get(PAGE, opt=person(fresh=True), include_in_schema=False)
async def shown(request: AnyRequest) -> Response[str]:
    return page.show(request, "signed_out.html", connected=False, there=None)


@post(PAGE, opt=person(fresh=True), include_in_schema=False, status_code=303)
async def done(request: AnyRequest) -> Response[Any]:
    await forms.read(request)
    return page.go(request, "/me/done")


@post(JSON, opt=person(fresh=True), status_code=200)
async def done_by_program() -> dict[str, bool]:
    return {"done": True}


@pytest.fixture
async def here(database, home, monkeypatch):
    monkeypatch.setattr("api.passwords.COST", 2)
    monkeypatch.setattr(application, "ROUTES", [*application.ROUTES, shown, done, done_by_program])
    async with provider.opened(database, home) as opened:
        yield opened


@pytest.fixture
async def visitor(here):
    await named()
    signed_in = Visitor(here)
    await signed_in.sign_in()
    return signed_in


async def call(visitor: Visitor) -> Any:
    headers = visitor.headers | {"Accept": "application/json", "Origin": world.ISSUER}
    return await visitor.here.http.post(JSON, headers=headers)


def form_of(visitor: Visitor) -> world.Browser:
    return world.Browser(visitor.here.http, f"__Host-xinqiao={visitor.cookies['__Host-xinqiao']}")


@pytest.mark.spec("OpenID Connect Core 1.0", "3.1.2.1")
async def test_for_five_minutes_nobody_is_asked_again(visitor, owner):
    for minutes, status in ((0, 200), (4, 200), (2, 403)):
        # What the provider said counts, not when the session began.
        await owner.execute(f"update api_session set auth_time = auth_time - interval '{minutes} minutes'")
        assert (await visitor.look(PAGE)).status_code == status
        assert (await call(visitor)).status_code == status
    refused = await call(visitor)
    assert told(refused, 403)["code"] == "sign_in_again"
    assert "/sign-in?fresh=yes" in refused.json()["detail"]
    assert (await visitor.look("/me")).status_code == 200  # everything else goes on


@LANGUAGES
async def test_a_page_leads_to_sign_in_and_back_to_itself(visitor, owner, language):
    visitor.language = language
    await owner.execute("update api_session set auth_time = auth_time - interval '6 minutes'")
    refused = await visitor.look(PAGE)
    assert refused.status_code == 403
    assert 'href="/sign-in?to=%2Fme%2Fsensitive&amp;fresh=yes"' in refused.text
    assert ("Sign in once more" if language == "en" else "请再登录一次") in refused.text
    before = visitor.cookies["__Host-xinqiao"]
    asked = await visitor.leave(to=PAGE, fresh="yes")
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    answer = await visitor.sign_in(to=PAGE, fresh="yes")
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    assert (await visitor.look(PAGE)).status_code == 200
    assert visitor.cookies["__Host-xinqiao"] != before
    ended = await visitor.here.http.get("/v1/me/grants", headers={"Cookie": f"__Host-xinqiao={before}"})
    assert ended.status_code == 401


async def test_a_form_that_was_sent_too_late_leads_back_to_its_page(visitor, owner):
    browser = form_of(visitor)
    assert (await browser.send_form(PAGE)).headers["location"] == "/me/done"
    await owner.execute("update api_session set auth_time = auth_time - interval '6 minutes'")
    for referer, to in (
        (f"{world.ISSUER}/me/grants/gnt_1?x=1", "%2Fme%2Fgrants%2Fgnt_1"),
        (f"{world.ISSUER}.evil.example/me/grants", "%2Fme"),
        ("https://evil.example/me/grants", "%2Fme"),
        ("", "%2Fme"),
    ):
        headers = visitor.headers | {"Origin": world.ISSUER, "Referer": referer}
        fields = {"_csrf_token": browser.form_token}
        refused = await visitor.here.http.post(PAGE, data=fields, headers=headers)
        assert refused.status_code == 403
        assert f'href="/sign-in?to={to}&amp;fresh=yes"' in refused.text


async def test_a_link_is_fresh_for_as_long(here, owner):
    browser = await here.browser((await world.persons(1))[0])
    assert (await browser.call("GET", PAGE)).status_code == 200
    await owner.execute("update api_session set signed_in_at = signed_in_at - interval '6 minutes'")
    assert told(await browser.call("POST", JSON), 403)["code"] == "sign_in_again"


def test_withdrawing_and_pausing_never_need_it():
    sensitive = [str(route) for route in routes.every() if route.access.fresh]
    assert not [route for route in sensitive if "withdraw" in route or "pause" in route or "stop" in route]


@pytest.mark.parametrize(("age", "status"), [(0, 303), (50, 303), (70, 403), (3_600, 403)])
async def test_a_provider_that_asks_nobody_again_steps_nobody_up(database, home, owner, age, status):
    """`prompt=login` is a wish; that it was fulfilled is seen by `auth_time` (OpenID Connect Core 1.0 section 15.1)."""
    async with provider.lying(database, home) as (here, liar):
        visitor = Visitor(here)
        (someone,) = await world.persons(1)
        async with open_view(sessions.DOORKEEPER) as view:
            reference = await people.reference_of(view, someone.user)
        asked = await visitor.leave(fresh="yes", to="/me/log")
        claims = liar.claims(asked["nonce"], reference)
        liar.token = liar.signed(claims | {"auth_time": int(time.time()) - age})
        answer = await visitor.come_back(liar.back(asked))
        assert answer.status_code == status
    assert await owner.fetchval("select count(*) from api_session") == (status == 303)
