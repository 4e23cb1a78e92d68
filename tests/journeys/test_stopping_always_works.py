"""Whoever wants to stop a use can, over HTTP and at once, while scoring, lists and the worker are down or hang."""

import asyncio
import contextvars
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx2
import pytest
from support import routes, world
from support.world import ALL, ISSUER, LISTING, SCORING, Browser, Software, World, told

from api import light
from api.settings import Settings
from compliance import database as databases
from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import OFFERED, Person, Worker
from consent import endings
from partners import prescreens
from scoring import registry

AT_ONCE_SECONDS = 3
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def here(database, home) -> AsyncIterator[World]:
    async with world.opened(database, home) as opened:
        await world.put_model_in_use()
        await world.open_channel()
        yield opened


async def stop(browser: Browser, grant: object) -> None:
    """The page's own button, and what it leads to."""
    path = f"/me/grants/{ids.public('gnt', grant)}"
    async with asyncio.timeout(AT_ONCE_SECONDS):
        assert (await browser.send_form(f"{path}/withdraw")).status_code == 303
        assert (await browser.call("GET", f"{path}/withdrawn")).status_code == 200
        assert (await browser.call("GET", "/me")).status_code == 200


async def score(software: Software, person: Person) -> httpx2.Response:
    known = await world.pseudonym_of(person, software.client)
    body = {"user": known, "purpose": "credit_assessment", "categories": sorted(ALL)}
    return await software.call("POST", "/v1/scores", body)


@asynccontextmanager
async def held(owner: "asyncpg.Connection[asyncpg.Record]", grant: object) -> AsyncIterator[None]:
    """Somebody holds the lock of a grant, and goes on holding it."""
    async with owner.transaction():
        await owner.execute("select 1 from consent_grant where id = $1 for update", grant)
        yield


async def test_hung_score_calls_use_up_no_connection_of_those_who_stop(here, owner):
    software = await here.software()
    one, other = await world.persons(2)
    hung = await world.granted(one, software.client)
    mine = await world.granted(other, software.client)
    browser = await here.browser(other)
    await software.headers("GET", "/v1/grants")  # a token, before nothing goes any more
    known = await world.pseudonym_of(one, software.client)
    body = {"user": known, "purpose": "credit_assessment", "categories": sorted(ALL)}
    async with held(owner, hung.id):
        count = databases.POOL_SIZE + 2
        calls = [asyncio.create_task(software.call("POST", "/v1/scores", body)) for _ in range(count)]
        for _ in range(100):
            if await owner.fetchval("select count(*) from pg_locks where not granted") == databases.POOL_SIZE:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the calls do not wait for the lock")
        await stop(browser, mine.id)
        assert not any(call.done() for call in calls)
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {201}
    assert told(await score(software, other), 403)["code"] == "consent_withdrawn"


async def test_without_model_files_and_without_a_worker(here, home):
    software = await here.software()
    (person,) = await world.persons(1)
    grant = await world.granted(person, software.client)
    shutil.rmtree(home / "models")
    (home / "models").write_text("no folder, and no model")
    registry._loaded.cache_clear()
    assert (await score(software, person)).status_code == 503
    await stop(await here.browser(person), grant.id)
    assert told(await score(software, person), 403)["code"] == "consent_withdrawn"


async def test_while_a_list_is_written_with_the_person_on_it(here):
    software = await here.software()
    people = await world.persons(3)
    given = [await world.granted(person, software.client, LISTING) for person in people]
    browser = await here.browser(people[0])
    asked = await world.list_wanted(software.client)
    async with open_act(Worker("list_maker"), LISTING) as act:
        made = await prescreens.run_next(act, entries_min=1)
        assert (made.id, made.entries) == (asked, 3)
        await asyncio.create_task(stop(browser, given[0].id), context=contextvars.Context())
    async with open_act(software.client, LISTING) as act:
        read = await prescreens.entries(act, asked, after=None, limit=500)
    assert {entry.user_id for entry in read} == {person.user for person in people[1:]}


async def test_who_holds_the_very_consent_without_end_is_told_of_in_time(database, home, owner, monkeypatch):
    monkeypatch.setattr(databases, "BOUNDED", {"lock_timeout": "300ms"})
    async with world.opened(database, home) as opened:
        software = await opened.software()
        (person,) = await world.persons(1)
        grant = await world.granted(person, software.client)
        browser = await opened.browser(person)
        path = f"/v1/me/grants/{ids.public('gnt', grant.id)}/withdraw"
        async with held(owner, grant.id), asyncio.timeout(AT_ONCE_SECONDS):
            answer = await browser.call("POST", path)
        assert (told(answer, 503)["code"], answer.headers["retry-after"]) == ("busy", "1")
        assert told(await browser.call("POST", path), 200)["state"] == "ended"


async def test_a_process_that_hangs_in_an_act_loses_its_locks(database, home, owner, monkeypatch):
    monkeypatch.setattr(databases, "BOUNDED", {"idle_in_transaction_session_timeout": "300ms"})
    async with world.opened(database, home) as opened:
        software = await opened.software()
        (person,) = await world.persons(1)
        grant = await world.granted(person, software.client)
        limits = databases.BOUNDED
        hung = await asyncpg.connect(**database.as_owner(), server_settings=dict(limits))
        await hung.execute("begin")
        await hung.execute("select 1 from consent_grant where id = $1 for update", grant.id)
        await stop(await opened.browser(person), grant.id)
        hung.terminate()


async def test_the_light_server_stops_everything_and_knows_nothing_else(database, home):
    settings = Settings(home, "development", ISSUER, None, OFFERED)
    async with world.opened(database, home) as opened:
        software = await opened.software()
        (person,) = await world.persons(1)
        grants = [await world.granted(person, software.client, purpose) for purpose in (SCORING, LISTING)]
    async with world.running(settings, light.create_app(settings, database)) as served:
        http = served.http
        browser = await served.browser(person)
        await stop(browser, grants[0].id)
        assert (await browser.send_form("/me/stop")).headers["location"] == "/me/stopped"
        for path in ("/me", "/me/grants", f"/me/grants/{ids.public('gnt', grants[0].id)}", "/me/stopped"):
            shown = await browser.call("GET", path)
            for link in re.findall(r'href="(/[^"?#]*)"', shown.text):
                assert (await browser.call("GET", link)).status_code != 404, f"{path} leads to {link}"
            for form in re.findall(r'action="(/[^"]*)"', shown.text):
                assert (await browser.call("POST", form)).status_code != 404, f"{path} sends to {form}"
                browser = await served.browser(person)  # one of the forms signs out
        rows = told(await browser.call("GET", "/v1/me/grants"), 200)["items"]
        assert {row["state"] for row in rows} == {"ended"}
        assert told(await http.get("/healthz"), 200)["status"] == "ok"
        assert (await http.post("/v1/scores", json={})).status_code == 404


def test_the_light_server_loads_no_scoring_and_knows_all_that_ends():
    script = (
        "import json, sys, api.light; from consent import endings; "
        "print(json.dumps([sorted(endings.declared()), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    ends, loaded = json.loads(done.stdout)
    assert ends == sorted(endings.declared())
    heavy = {"numpy", "polars", "catboost", "scoring.scorer", "scoring.registry", "partners.prescreens"}
    assert heavy & set(loaded) == set()


def test_what_is_light_is_listed():
    """Whatever takes the reserved connections is read by whoever reviews it."""
    assert {str(route) for route in routes.every() if route.access.light} == {
        "GET /.well-known/jwks.json",
        "GET /healthz",
        "GET /me",
        "GET /me/grants",
        "GET /me/grants/{grant_id:str}",
        "GET /me/grants/{grant_id:str}/receipt",
        "GET /me/grants/{grant_id:str}/withdrawn",
        "GET /me/stopped",
        "GET /problems/{code:str}",
        "GET /sign-in",
        "GET /sign-in/return",
        "GET /sign-in/{link:str}",
        "GET /signed-out",
        "GET /static/{file_path:path}",
        "GET /v1/me/grants",
        "GET /v1/me/withdrawals",
        "HEAD /static/{file_path:path}",
        "POST /me/grants/{grant_id:str}/pause",
        "POST /me/grants/{grant_id:str}/withdraw",
        "POST /me/objections",
        "POST /me/pause",
        "POST /me/stop",
        "POST /sign-in/{link:str}",
        "POST /sign-out",
        "POST /v1/me/grants/{grant_id:str}/pause",
        "POST /v1/me/grants/{grant_id:str}/resume",
        "POST /v1/me/grants/{grant_id:str}/withdraw",
        "POST /v1/me/pause",
        "POST /v1/me/resume",
    }
