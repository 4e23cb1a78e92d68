"""The demo's own pieces: what it says of people whose data do not say it, and that it ends with a word, not a trace."""

from collections.abc import Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import polars as pl
import pytest
from joserfc.jwk import ECKey

from api.demo import play, world
from api.demo.bank import BankConfig, create_bank
from api.demo.callers import BankSoftware, Browser, CallFailed, Page, Pushed


def said(profiles: dict[str, list[Any]], names: list[str]) -> list[object]:
    read: Any = SimpleNamespace(profiles=pl.DataFrame(profiles))
    return [each["is_student"] for each in world._attributes(read, names)]


def test_who_may_be_a_student_stays_unknown():
    profiles = {"user": ["a", "b", "c"], "is_student": [True, False, None]}
    assert said(profiles, ["a", "b", "c", "unheard of"]) == [True, False, None, None]


def test_a_set_that_says_it_of_nobody_gets_a_fictional_no():
    assert said({"user": ["a"], "region": ["east"]}, ["a", "b"]) == [False, False]


async def answered(status: int | None) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if status is None:
            raise httpx2.ConnectError("refused", request=request)
        return httpx2.Response(status)

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        await play._until_up(http, "http://bank.example/apply")


@pytest.mark.parametrize("status", [200, 401])
async def test_a_bank_is_up_once_it_answers_anything_of_its_own(status):
    await answered(status)


@pytest.mark.parametrize("status", [None, 500])
async def test_it_is_not_waited_for_without_end(status, monkeypatch):
    monkeypatch.setattr(play, "UP_SECONDS", 0.05)
    with pytest.raises(CallFailed, match=r"bank\.example/apply did not answer"):
        await answered(status)


async def test_a_server_that_is_gone_fails_the_story_with_a_word(monkeypatch):
    asked = []

    async def is_up(_: object, address: str) -> None:
        asked.append(address)

    async def gone(_: object) -> None:
        raise httpx2.ReadTimeout("")

    @asynccontextmanager
    async def nothing(*_: object):
        yield

    monkeypatch.setattr(play, "_until_up", is_up)
    monkeypatch.setattr(play.databases, "opened", nothing)
    monkeypatch.setattr(play.story, "tell_all", gone)
    settings = SimpleNamespace(home=None, origin="", issuer="http://here.example")
    found: Any = SimpleNamespace(settings=settings, database=None)
    nobody: Any = None
    with pytest.raises(CallFailed, match="ReadTimeout"):
        await play._live(found, nobody, nobody, None, ["http://bank.example/apply"])
    assert asked == ["http://here.example/healthz", "http://bank.example/apply"]


ISSUER, BACK = "http://here.example", "http://bank.example/back"
Answering = Callable[[httpx2.Request], httpx2.Response]


def elsewhere(answer: Answering) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))


@pytest.mark.parametrize(
    "query",
    [
        f"code=c&state=another&iss={ISSUER}",
        "code=c&state=s&iss=http://other.example",
        "code=c&state=s",
        f"error=access_denied&state=s&iss={ISSUER}",
    ],
)
async def test_the_bank_redeems_no_answer_to_another_request(query):
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json={"access_token": "t"})

    async with elsewhere(answer) as http:
        bank = BankSoftware(http, ISSUER, "bank", ECKey.generate_key("P-256", auto_kid=True), BACK)
        pushed = Pushed(f"{ISSUER}/oauth/authorize", 540, "s", "v")
        with pytest.raises(CallFailed, match="not with a yes to this request"):
            await bank.redeem(pushed, f"{BACK}?{query}")
        assert asked == []
        assert await bank.redeem(pushed, f"{BACK}?code=c&state=s&iss={ISSUER}") == {"access_token": "t"}
        assert len(asked) == 1


async def test_a_browser_follows_to_another_site_and_keeps_its_cookie_to_itself():
    seen = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((str(request.url), request.headers["cookie"], request.content))
        if request.url.host == "bank.example":
            return httpx2.Response(200, text="back", headers={"Set-Cookie": "theirs=1"})
        return httpx2.Response(303, headers={"Location": BACK, "Set-Cookie": "ours=1; Path=/"})

    async with elsewhere(answer) as http:
        browser = Browser(http, ISSUER)
        page = Page(f"{ISSUER}/ask/1?lang=en", '<input type="hidden" name="token" value="&amp;">')
        assert await browser.send(page, answer="yes") == Page(BACK, "back")
    assert seen == [(f"{ISSUER}/ask/1", "", b"token=%26&answer=yes"), (BACK, "", b"")]
    assert browser.cookies == {"ours": "1"}


async def test_a_browser_does_not_go_round_in_circles():
    async with elsewhere(lambda _: httpx2.Response(303, headers={"Location": "/round"})) as http:
        with pytest.raises(CallFailed, match="redirects, at last to /round"):
            await Browser(http, ISSUER).open(f"{ISSUER}/round")


@pytest.mark.parametrize(
    ("query", "says"), [("?code=c&state=s", "We have your answer"), ("?error=access_denied", "You said no")]
)
async def test_the_demos_bank_takes_people_back(query, says):
    bank = create_bank(BankConfig("ptn_1", "here.example/log", "甲银行", "Bank A"))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(bank)) as http:
        page = await http.get(f"{BACK}{query}")
    assert page.status_code == 200
    assert says in page.text
    assert page.headers["cache-control"] == "no-store"
