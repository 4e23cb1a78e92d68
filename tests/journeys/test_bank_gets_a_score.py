"""A bank asks, the person agrees, the score comes with a promise that the log keeps; then the person withdraws."""

import asyncio
import json

import pytest
from joserfc import jwt
from support import world
from support.world import ALL, told

from compliance import log, sequencer
from compliance.database import ground
from compliance.log import LogKey

NOBODY = f"usr_{'0' * 26}"


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        await world.put_model_in_use()
        await world.open_channel()
        yield opened


def wanted(user: str, **changes: object) -> dict[str, object]:
    return {"user": user, "purpose": "credit_assessment", "categories": sorted(ALL)} | changes


async def consented(bank, browser, **changes) -> dict[str, str]:
    """Through the front door: the bank asks, the person approves on their page, the bank looks."""
    ask = {"purpose": "credit_assessment", "categories": sorted(ALL), "calls_per_month": 20} | changes
    asked = told(await bank.call("POST", "/v1/grants", ask), 201)
    assert asked["page"] == f"{world.ISSUER}/ask/{asked['id']}"
    yes = {"categories": ask["categories"], "language": "en"}
    given = told(await browser.call("POST", f"/v1/me/grants/{asked['id']}/approve", yes), 200)
    claims = jwt.decode(given["receipt"], ground().keyring.signing).claims
    seen = told(await bank.call("GET", f"/v1/grants/{asked['id']}"), 200)
    assert (seen["state"], claims["pii_principal_id"]) == ("active", seen["user"])
    return seen


async def test_from_asking_to_withdrawal(here):
    bank = await here.software()
    (person,) = await world.persons(1)
    browser = await here.browser(person)
    grant = await consented(bank, browser)

    score = told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
    assert 350 <= score["points"] <= 950
    assert score["coverage"] == {"used": sorted(ALL), "not_used": []}
    assert (score["channel"], score["grant_id"]) == ("operator_licensed", grant["id"])
    assert 1 <= len(score["reasons"]) <= 4
    assert not {"approve", "decline", "approved", "declined"} & set(json.dumps(score).split('"'))
    again = told(await bank.call("GET", f"/v1/scores/{score['id']}"), 200)
    assert again == score

    proof_at = f"/v1/log/facts/{score['fact_id']}/proof"
    assert told(await bank.call("GET", proof_at), 409)["code"] == "fact_pending"
    await sequencer.sequence()
    await sequencer.publish()
    proof = (await bank.call("GET", proof_at)).text
    leaf = log.parse_proof(proof).extra
    log.check_proof(proof, leaf, LogKey(ground().origin, ground().keyring.log_public_bytes()))
    promise = jwt.decode(score["fact_promise"], ground().keyring.signing).claims
    assert (promise["fact"], promise["commitment"]) == (score["fact_id"], json.loads(leaf)["commitment"])

    told(await browser.call("POST", f"/v1/me/grants/{grant['id']}/withdraw"), 200)
    for answer in (
        await bank.call("POST", "/v1/scores", wanted(grant["user"])),
        await bank.call("GET", f"/v1/scores/{score['id']}"),
    ):
        assert told(answer, 403)["code"] == "consent_withdrawn"
    ended = told(await bank.call("GET", f"/v1/grants/{grant['id']}"), 200)
    assert (ended["state"], ended["ended_code"]) == ("ended", "withdrawn")


async def test_without_a_licence_there_is_no_score(database, home):
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        bank = await here.software()
        (person,) = await world.persons(1)
        grant = await consented(bank, await here.browser(person))
        refused = told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 403)
        assert refused["code"] == "no_lawful_channel"


async def test_a_band_answer_has_no_points_on_the_wire(here):
    bank = await here.software()
    (person,) = await world.persons(1)
    grant = await consented(bank, await here.browser(person))
    answer = await bank.call("POST", "/v1/scores", wanted(grant["user"], answer="band"))
    score = told(answer, 201)
    assert score["band"] in "ABCDE"
    assert not {"points", "probability"} & score.keys()
    shown = told(await bank.call("GET", f"/v1/scores/{score['id']}"), 200)
    assert shown == score


async def test_what_another_bank_knows_of_nobody(here):
    bank, other = await here.software(), await here.software("beta")
    (person,) = await world.persons(1)
    grant = await consented(bank, await here.browser(person))
    score = told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
    for method, path, mine, nobodys in (
        ("GET", "/v1/scores/{}", score["id"], f"scr_{'0' * 26}"),
        ("GET", "/v1/grants/{}", grant["id"], f"gnt_{'0' * 26}"),
        ("GET", "/v1/log/facts/{}/proof", score["fact_id"], f"fct_{'0' * 26}"),
        ("POST", "/v1/scores", grant["user"], NOBODY),
    ):
        bodies = []
        for name in (mine, nobodys):
            said = wanted(name) if method == "POST" else None
            problem = told(await other.call(method, path.format(name), said), 404)
            bodies.append(problem | {"trace_id": ""})
        assert bodies[0] == bodies[1]


async def test_four_clients_score_while_the_person_withdraws(here, owner):
    """Over HTTP: whatever the interleaving, no score stands in the log after the withdrawal."""
    bank = await here.software()
    (person,) = await world.persons(1)
    browser = await here.browser(person)
    grant = await consented(bank, browser)
    await owner.execute("update consent_grant set calls_per_month = 10000")
    answers: list[int] = []

    async def ask() -> None:
        while True:
            answer = await bank.call("POST", "/v1/scores", wanted(grant["user"]))
            answers.append(answer.status_code)
            if answer.status_code != 201:
                assert answer.json()["code"] == "consent_withdrawn"
                return

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    await asyncio.sleep(0.2)
    told(await asyncio.wait_for(browser.call("POST", f"/v1/me/grants/{grant['id']}/withdraw"), 20), 200)
    await asyncio.wait_for(asyncio.gather(*asking), 20)
    kinds = await world.kinds(owner, person=person.user)
    ended = kinds.index("grant_withdrawn")
    assert kinds[:ended].count("score_issued") == answers.count(201) > 0
    assert "score_issued" not in kinds[ended:]


async def test_the_person_sees_each_use_in_their_own_log(here, owner):
    bank = await here.software()
    (person,) = await world.persons(1)
    grant = await consented(bank, await here.browser(person))
    told(await bank.call("POST", "/v1/scores", wanted(grant["user"])), 201)
    told(await bank.call("POST", "/v1/scores", wanted(grant["user"], categories=["fitness"])), 403)
    mine = await world.kinds(owner, person=person.user)
    assert mine[-2:] == ["score_issued", "refused"]
