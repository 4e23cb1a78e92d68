"""The running service: real processes, real sockets, kills at bad moments, several servers on one database."""

import asyncio
import json
import os
import signal
import time
from uuid import uuid4

import httpx2
import pytest
from support import live, world
from support.live import Installation, Server
from support.world import ALL, Browser, Software, told

from compliance import ids, verify
from compliance.act import open_upkeep
from compliance.database import ground
from compliance.log import LogKey
from compliance.verify import Report
from compliance.vocabulary import Person, Worker

TROUBLE = (httpx2.TransportError,)
CLIENTS = 4
USES = ("score_issued", "score_shown")


@pytest.fixture
async def place(database, home):
    """An installation with a model and a licence; whatever was started is gone afterwards."""
    async with live.installation(database, home) as made:
        await world.put_model_in_use()
        await world.open_channel()
        yield made
    live.wait_until(lambda: not live.at_home(home), "nothing is left behind")


def wanted(user: str, **changes: object) -> dict[str, object]:
    return {"user": user, "purpose": "credit_assessment", "categories": sorted(ALL)} | changes


async def a_consent(server: Server, calls: int = 1_000) -> tuple[Software, Browser, Person, dict[str, str]]:
    """A bank, a person's browser, and the person's consent, given over HTTP."""
    bank = await server.software()
    (person,) = await world.persons(1)
    browser = await server.browser(person)
    ask = {"purpose": "credit_assessment", "categories": sorted(ALL), "calls_per_month": min(calls, 30)}
    asked = told(await bank.call("POST", "/v1/grants", ask), 201)
    yes = {"categories": sorted(ALL), "language": "en"}
    told(await browser.call("POST", f"/v1/me/grants/{asked['id']}/approve", yes), 200)
    return bank, browser, person, told(await bank.call("GET", f"/v1/grants/{asked['id']}"), 200)


async def in_log_order(owner, grant: str) -> list[str]:
    """The kinds of a grant's facts, as they stand in the log."""
    rows = await owner.fetch(
        """select f.kind from compliance_log l join compliance_fact f on f.id = l.fact
           where f.grant_id = $1 order by l.leaf_index""",
        ids.private("gnt", grant),
    )
    return [row["kind"] for row in rows]


async def verified() -> Report:
    async with open_upkeep(Worker("verifier")) as upkeep:
        key = LogKey(ground().origin, ground().keyring.log_public_bytes())
        return await verify.verify(upkeep.db, known_key=key)


async def assert_whole(owner) -> None:
    await live.everything_logged(owner)
    report = await verified()
    assert (report.findings, report.pending) == ((), 0)
    last, count = await owner.fetchrow("select max(leaf_index), count(*) from compliance_log")
    assert last == count - 1


async def keep_asking(
    bank: Software, body: dict[str, object], until: asyncio.Event
) -> list[tuple[float, int]]:
    """Score again and again, and look at each score again; (when it was asked for, the status) of each call."""
    seen = []
    while not until.is_set():
        began = time.monotonic()
        answer = await bank.call("POST", "/v1/scores", body)
        seen.append((began, answer.status_code))
        if answer.status_code == 201:
            began = time.monotonic()
            look = await bank.call("GET", f"/v1/scores/{answer.json()['id']}")
            seen.append((began, look.status_code))
    return seen


async def test_no_use_stands_after_the_withdrawal_whatever_the_interleaving(place, owner):
    async with place.server() as server:
        bank, browser, _, grant = await a_consent(server)
        await owner.execute("update consent_grant set calls_per_month = 10000")
        score = told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
        assert (score["grant_id"], score["coverage"]["used"]) == (grant["id"], sorted(ALL))
        over = asyncio.Event()
        asking = [asyncio.create_task(keep_asking(bank, wanted(grant["user"]), over)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.7)
        async with httpx2.AsyncClient(base_url=server.http.base_url, trust_env=False) as own:
            path = f"/v1/me/grants/{grant['id']}/withdraw"
            told(await Browser(own, browser.cookie).call("POST", path), 200)
        answered = time.monotonic()
        await asyncio.sleep(0.4)
        over.set()
        calls = [call for client in await asyncio.gather(*asking) for call in client]
        await assert_whole(owner)
        assert await asyncio.to_thread(server.running.stop) == 0

    kinds = await in_log_order(owner, grant["id"])
    ended = kinds.index("grant_withdrawn")
    assert not set(USES) & set(kinds[ended:])
    allowed = [status for _, status in calls if status in (200, 201)]
    assert sum(kind in USES for kind in kinds) == 1 + len(allowed)
    assert len(allowed) > CLIENTS
    after = [status for began, status in calls if began > answered]
    assert set(after) == {403}
    assert len(after) > CLIENTS


async def test_a_killed_server_starts_again_as_if_nothing_had_been(place, owner):
    """The kill comes in the middle of traffic; each interrupted call is repeated with its own key."""
    interrupted: dict[str, str | None] = {}

    async def ask(bank: Software, body: dict[str, object]) -> None:
        while True:
            key = str(uuid4())
            interrupted[key] = None
            answer = await bank.call("POST", "/v1/scores", body, key=key)
            interrupted[key] = told(answer, 201)["id"]

    async with place.server() as server:
        bank, _, person, grant = await a_consent(server)
        await owner.execute("update consent_grant set calls_per_month = 10000")
        body = wanted(grant["user"])
        asking = [asyncio.create_task(ask(bank, body)) for _ in range(CLIENTS)]
        await asyncio.sleep(0.7)
        family = server.running.family
        assert len(family) >= 3, family  # the server, its worker process, the worker beside it
        await asyncio.to_thread(server.running.kill)
        ends = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(end, TROUBLE) for end in ends), ends
    assert list(interrupted.values()).count(None) == CLIENTS < len(interrupted)

    async with place.server() as server:
        again = Software(server.http, bank.client, bank.oauth)
        for key, before in interrupted.items():
            answer = await again.call("POST", "/v1/scores", body, key=key)
            assert told(answer, 201)["id"] == (before or answer.json()["id"])
        told(await again.call("POST", "/v1/scores", body), 201)
        await assert_whole(owner)
        assert await asyncio.to_thread(server.running.stop) == 0
    kinds = await world.kinds(owner, person=person.user)
    assert kinds.count("score_issued") == len(interrupted) + 1


async def test_a_killed_worker_loses_nothing(place, owner):
    """The server starts another; what committed meanwhile gets its place, no place is given twice or left out."""
    async with place.server() as server:
        bank, _, _, grant = await a_consent(server)
        await live.everything_logged(owner)
        killed = set()
        for _ in range(2):
            (worker,) = (pid for pid, called in server.running.family.items() if "worker" in called)
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
            for _ in range(5):
                told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
            await live.everything_logged(owner)
        assert len(killed) == 2
        with place.worker() as second:  # beside the server's own
            told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
            await live.everything_logged(owner)
            await asyncio.to_thread(second.kill)
        await assert_whole(owner)
        assert await asyncio.to_thread(server.running.stop) == 0
    kinds = await in_log_order(owner, grant["id"])
    assert kinds.count("score_issued") == 11


async def test_two_servers_on_one_database_are_one_service(place, owner):
    async with place.server() as first, place.server() as second:
        bank, browser, _, grant = await a_consent(first)
        there = Software(second.http, bank.client, bank.oauth)
        there.token = bank.token
        body = wanted(grant["user"])

        headers = await bank.headers("POST", "/v1/scores")
        told(await first.http.post("/v1/scores", json=body, headers=headers), 201)
        fresh = headers | {"Idempotency-Key": str(uuid4())}
        replayed = await second.http.post("/v1/scores", json=body, headers=fresh)
        assert replayed.status_code == 401
        assert 'error="invalid_dpop_proof"' in replayed.headers["www-authenticate"]

        key = str(uuid4())
        made = told(await bank.call("POST", "/v1/scores", body, key=key), 201)
        repeated = await there.call("POST", "/v1/scores", body, key=key)
        assert (told(repeated, 201), repeated.headers["idempotency-replayed"]) == (made, "true")

        told(await browser.call("POST", f"/v1/me/grants/{grant['id']}/withdraw"), 200)
        for once in (key, None):
            refused = told(await there.call("POST", "/v1/scores", body, key=once), 403)
            assert refused["code"] == "consent_withdrawn"
        shown = told(await there.call("GET", f"/v1/scores/{made['id']}"), 403)
        assert shown["code"] == "consent_withdrawn"
        await assert_whole(owner)


async def test_an_auditor_verifies_replays_and_finds_damage(place: Installation, owner, tmp_path):
    async with place.server() as server:
        bank, _, _, grant = await a_consent(server)
        score = told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
        await live.everything_logged(owner)
        outside = tmp_path / "checkpoint.txt"
        taken = await place.run("log", "checkpoint")
        assert (taken.returncode, taken.stderr) == (0, "")
        assert taken.stdout == (await server.http.get("/v1/log/checkpoint")).text
        outside.write_text(taken.stdout)
        for _ in range(3):
            told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
        await live.everything_logged(owner)
        assert await asyncio.to_thread(server.running.stop) == 0

    whole = await place.run("log", "verify", "--against", str(outside))
    assert (whole.returncode, "the log is whole" in whole.stdout) == (0, True), whole
    replayed = await place.run("replay", score["id"])
    points = score["points"]
    assert (
        replayed.stdout
        == f"{score['id']}: {points} points then, {points} points now; the whole answer the same; features not_at_hand\n"
    )
    assert replayed.returncode == 0

    await tamper(owner, "update compliance_fact set kind = 'nothing' where id = $1", score["fact_id"])
    index = await owner.fetchval(
        "select leaf_index from compliance_log where fact = $1", ids.private("fct", score["fact_id"])
    )
    found = await place.run("log", "verify")
    assert found.returncode == 1
    assert f"fact_changed at {index}: " in found.stdout
    assert "THE LOG WAS DAMAGED" in found.stdout

    outside.write_text(taken.stdout.replace("\n", "9\n", 2))
    refused = await place.run("log", "verify", "--against", str(outside))
    assert (refused.returncode, refused.stderr.count("Traceback")) == (1, 0)
    assert "the checkpoint kept outside cannot be used" in refused.stdout


async def tamper(owner, statement: str, fact: str) -> None:
    """Change what cannot be changed, as the database's superuser can."""
    await owner.execute("set session_replication_role = replica")
    assert await owner.execute(statement, ids.private("fct", fact)) == "UPDATE 1"
    await owner.execute("set session_replication_role = origin")


def test_the_command_quotes_a_loan_as_the_vector_says(home, request):
    vectors = json.loads((request.config.rootpath / "tests/partners/loan_vectors.json").read_text())
    vector = vectors["vectors"][0]
    asked = ("principal", "disbursed", "instalments", "daily_rate", "method")
    options = [f"--{name.replace('_', '-')}={vector[name]}" for name in asked]
    done = live.run(live.environment(home), "quote", *options, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    quoted = json.loads(done.stdout)
    assert quoted == {name: vector[name] for name in quoted}
    assert {"schedule", "total_interest", "simple_365", "simple_360", "xirr_365"} <= quoted.keys()
