"""Without a licence of its own an operator may only be asked through a licensed bureau, for a bank the person named."""

from uuid import uuid4

import pytest
from support import world
from support.world import ALL, told

from compliance import ids
from compliance.vocabulary import PartnerKind


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        await world.put_model_in_use()
        yield opened


def wanted(user: str, **changes: object) -> dict[str, object]:
    return {"user": user, "purpose": "credit_assessment", "categories": sorted(ALL)} | changes


async def test_a_score_passes_through_the_bureau_that_the_person_named(here, owner):
    bank = await here.software()
    bureau, rival = [await here.software(code, PartnerKind.CREDIT_BUREAU) for code in ("bureau", "rival")]
    (person,) = await world.persons(1)
    recipient = ids.public("ptn", bank.client.partner)
    ask = {"purpose": "credit_assessment", "categories": sorted(ALL), "recipient": recipient}
    assert told(await bureau.call("POST", "/v1/grants", ask), 403)["code"] == "not_a_relay"
    await world.open_channel(bureau.client.partner, bank.client.partner)
    asked = told(await bureau.call("POST", "/v1/grants", ask), 201)
    assert asked["bureau"] == ids.public("ptn", bureau.client.partner)
    assert asked["recipient"] == recipient
    browser = await here.browser(person)
    yes = {"categories": sorted(ALL), "language": "zh-CN"}
    told(await browser.call("POST", f"/v1/me/grants/{asked['id']}/approve", yes), 200)
    known_as = told(await bureau.call("GET", f"/v1/grants/{asked['id']}"), 200)["user"]

    score = told(await bureau.call("POST", "/v1/scores", wanted(known_as, recipient=recipient)), 201)
    assert score["channel"] == "licensed_bureau_relay"
    assert score["grant_id"] == asked["id"]

    # The bureau has no grant of its own, the rival none at all, and the bank cannot ask directly.
    assert told(await bureau.call("POST", "/v1/scores", wanted(known_as)), 403)["code"] == "consent_missing"
    told(await rival.call("POST", "/v1/scores", wanted(known_as, recipient=recipient)), 404)
    its_own = await world.pseudonym_of(person, bank.client)
    assert told(await bank.call("POST", "/v1/scores", wanted(its_own)), 403)["code"] == "consent_missing"

    told(await browser.call("POST", f"/v1/me/grants/{asked['id']}/withdraw"), 200)
    gone = told(await bureau.call("POST", "/v1/scores", wanted(known_as, recipient=recipient)), 403)
    assert gone["code"] == "consent_withdrawn"


async def test_only_a_bureau_relays(here):
    bank, other = await here.software(), await here.software("beta")
    ask = {"purpose": "credit_assessment", "categories": sorted(ALL)}
    ask["recipient"] = ids.public("ptn", other.client.partner)
    assert told(await bank.call("POST", "/v1/grants", ask), 403)["code"] == "not_a_relay"
    ask["recipient"] = ids.public("ptn", uuid4())
    assert told(await bank.call("POST", "/v1/grants", ask), 404)["code"] == "not_found"
    ask["recipient"] = ids.public("ptn", bank.client.partner)
    assert "bureau" not in told(await bank.call("POST", "/v1/grants", ask), 201)
