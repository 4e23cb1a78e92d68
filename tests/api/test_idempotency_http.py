"""The same call again over HTTP: the same bytes, one effect, and never after the consent it rested on has ended."""

import asyncio

import httpx2
import pytest
from support import routes, world
from support.world import ALL, told

from api.app import create_app
from compliance import ids


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        await world.put_model_in_use()
        await world.open_channel()
        yield opened


@pytest.fixture
async def asking(here):
    """A bank, a person who agreed, and the call for a score."""
    bank = await here.software()
    (person,) = await world.persons(1)
    grant = await world.granted(person, bank.client)
    user = await world.pseudonym_of(person, bank.client)
    return bank, person, grant, {"user": user, "purpose": "credit_assessment", "categories": sorted(ALL)}


async def test_a_repeat_is_the_same_bytes_and_one_score(asking, owner):
    bank, person, _, body = asking
    first = await bank.call("POST", "/v1/scores", body, key="k1")
    again = await bank.call("POST", "/v1/scores", body, key="k1")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await owner.fetchval("select count(*) from scoring_score") == 1
    assert (await world.kinds(owner, person=person.user))[-2:] == ["score_issued", "answer_replayed"]


async def test_a_repeat_after_the_withdrawal_is_refused(asking, owner):
    bank, person, grant, body = asking
    await bank.call("POST", "/v1/scores", body, key="k1")
    await world.withdrawn(person, grant.id)
    again = await bank.call("POST", "/v1/scores", body, key="k1")
    assert told(again, 403)["code"] == "consent_withdrawn"
    await world.granted(person, bank.client)  # another yes does not open what rested on the first
    assert told(await bank.call("POST", "/v1/scores", body, key="k1"), 403)["code"] == "consent_withdrawn"


async def test_a_repeat_after_expiry_is_refused(asking, owner):
    bank, _, _, body = asking
    await bank.call("POST", "/v1/scores", body, key="k1")
    await owner.execute("update consent_grant set expires_at = now()")
    assert told(await bank.call("POST", "/v1/scores", body, key="k1"), 403)["code"] == "consent_expired"


async def test_another_content_under_the_same_key_is_refused(asking):
    bank, _, _, body = asking
    await bank.call("POST", "/v1/scores", body, key="k1")
    for other in (body | {"answer": "band"}, dict(reversed(body.items()))):
        again = await bank.call("POST", "/v1/scores", other, key="k1")
        assert told(again, 422)["code"] == "idempotency_key_reused"


async def test_the_key_is_the_callers_and_the_routes_own(here, asking):
    bank, person, _, body = asking
    first = told(await bank.call("POST", "/v1/scores", body, key="k1"), 201)
    other = await here.software("beta")
    await world.granted(person, other.client)
    theirs = body | {"user": await world.pseudonym_of(person, other.client)}
    assert told(await other.call("POST", "/v1/scores", theirs, key="k1"), 201)["id"] != first["id"]
    ask = {"purpose": "portrait", "categories": sorted(ALL)}
    told(await bank.call("POST", "/v1/grants", ask, key="k1"), 201)


async def test_another_process_knows_the_answer_too(asking, here, database):
    """The key of a stored answer holds nothing that one process alone knows."""
    bank, _, _, body = asking
    first = await bank.call("POST", "/v1/scores", body, key="k1")
    twin = create_app(here.settings, database)  # its own handlers, as in another worker
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(twin), base_url="http://twin") as http:
        headers = await bank.headers("POST", "/v1/scores", "k1")
        again = await http.post("/v1/scores", json=body, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)


async def test_a_refusal_is_not_kept(asking, owner):
    bank, _, _, body = asking
    await owner.execute("update consent_grant set state = 'paused'")
    assert told(await bank.call("POST", "/v1/scores", body, key="k1"), 403)["code"] == "consent_paused"
    await owner.execute("update consent_grant set state = 'active'")
    told(await bank.call("POST", "/v1/scores", body, key="k1"), 201)


async def test_the_same_call_many_times_at_once_is_made_once(asking, owner):
    bank, _, _, body = asking
    await bank.headers("GET", "/")  # one token for all
    answers = await asyncio.gather(*(bank.call("POST", "/v1/scores", body, key="k1") for _ in range(6)))
    codes = {answer.status_code for answer in answers}
    assert 201 in codes
    assert codes <= {201, 409}
    assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"call_in_flight"}
    assert len({a.content for a in answers if a.status_code == 201}) == 1
    assert await owner.fetchval("select count(*) from scoring_score") == 1


async def test_an_answer_is_kept_unreadable_and_for_a_day(asking, owner):
    bank, _, _, body = asking
    first = told(await bank.call("POST", "/v1/scores", body, key="k1"), 201)
    sealed = await owner.fetchval("select sealed from compliance_reply")
    assert first["id"].encode() not in sealed
    await owner.execute("update compliance_reply set made_at = now() - interval '24 hours 1 second'")
    second = told(await bank.call("POST", "/v1/scores", body, key="k1"), 201)
    assert second["id"] != first["id"]


async def test_where_a_repeat_would_cost_the_key_is_demanded(asking, here):
    bank, _, _, body = asking
    demanded = {route.path for route in routes.every() if route.access.once}
    assert demanded == {
        "/v1/scores",
        "/v1/prescreens",
        "/v1/outcomes",
        "/v1/applications",
        "/v1/operator/behaviour",
    }
    for path, said, status in (
        ("/v1/scores", body, 400),
        ("/v1/grants", {"purpose": "portrait", "categories": sorted(ALL)}, 201),
    ):
        headers = await bank.headers("POST", path)
        del headers["Idempotency-Key"]
        answer = told(await here.http.post(path, json=said, headers=headers), status)
        assert answer.get("code") == ("idempotency_key_missing" if status == 400 else None)


async def test_a_person_repeats_a_withdrawal(here, asking):
    _, person, grant, _ = asking
    browser = await here.browser(person)
    path = f"/v1/me/grants/{ids.public('gnt', grant.id)}/withdraw"
    first = await browser.call("POST", path, key="k1")
    again = await browser.call("POST", path, key="k1")
    assert (first.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
