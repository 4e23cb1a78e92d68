"""The demo's own pieces: what it says of people whose data do not say it, and that it ends with a word, not a trace."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx2
import polars as pl
import pytest

from api.demo import play, world
from api.demo.callers import CallFailed


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
