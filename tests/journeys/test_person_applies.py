"""A person compares loans, picks one lender, is handed over, and that lender reports; then the person withdraws."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx2
import msgspec
import pytest
from joserfc import jwt
from support import oauth_app
from support import world as whole
from support.lending import DELIVERER, TERMS, Bank, a_lender, a_person, a_product
from support.oauth_client import OAuthClient

from api import sessions
from api.settings import Settings
from compliance import ids
from compliance.canonical import digest
from compliance.database import ground
from compliance.vocabulary import Person
from partners import delivery

ISSUER = "https://xinqiao.example"
WISH = {
    "amount": {"amount_minor": 600_000, "currency": "CNY"},
    "instalments": 6,
    "region": "CN-BJ",
    "is_student": False,
    "use_of_funds": "education",
    "agree_to_matching": True,
    "language": "zh-CN",
}


@dataclass
class World:
    """The running application and who calls it."""

    http: httpx2.AsyncClient
    settings: Settings
    bank: Bank
    software: OAuthClient

    async def browser(self, person: Person) -> "Browser":
        link = await sessions.make_link(DELIVERER, self.settings, user=person.user)
        token = (await sessions.sign_in(self.settings, link)).token
        return Browser(self.http, f"{sessions.cookie_name(self.settings)}={token}")

    async def call(self, method: str, path: str, body: object = None) -> httpx2.Response:
        """The lender's software calls."""
        token = await oauth_app.a_token(self.http, self.software)
        headers = self.software.call_headers(method, f"{ISSUER}{path.split('?', maxsplit=1)[0]}", token)
        headers |= {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        return await self.http.request(method, path, json=body, headers=headers)

    async def deliver(self) -> int:
        return await delivery.deliver_due(DELIVERER, {"alpha": self.bank.connector()}, limit=5)


@dataclass
class Browser:
    """A person's session."""

    http: httpx2.AsyncClient
    cookie: str

    async def get(self, path: str) -> httpx2.Response:
        return await self.http.get(path, headers={"Cookie": self.cookie})

    async def post(self, path: str, body: object = None, key: str | None = None) -> httpx2.Response:
        headers = {"Cookie": self.cookie, "Origin": ISSUER, "Idempotency-Key": key or str(uuid4())}
        return await self.http.post(path, json=body, headers=headers)


@pytest.fixture
async def world(database, home) -> AsyncIterator[World]:
    async with whole.opened(database, home) as here:
        lender = await a_lender("alpha", operator_stake=True)
        await a_product(lender)
        other = await a_lender("beta")
        await a_product(other, replace(TERMS, daily_rate=Decimal("0.0005")))
        await a_product(other, replace(TERMS, regions=frozenset({"CN-GD"})))
        door = {"kind": "signed_http", "address": "https://alpha.example"}
        doors = {"alpha": door | {"landing": "https://alpha.example/apply"}}
        (home / "connectors.json").write_bytes(msgspec.json.encode(doors))
        software = await oauth_app.a_client(lender, scopes=("referrals", "outcomes"))
        yield World(here.http, here.settings, Bank(lender, "alpha"), software)


def body(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    read: dict[str, Any] = answer.json()
    return read


async def test_from_a_wish_to_a_repaid_loan(world: World) -> None:
    person = await a_person()
    browser = await world.browser(person)

    made = body(await browser.post("/v1/applications", WISH), 201)
    cheap, dear = made["offers"]
    assert (cheap["rank"], cheap["operator_stake"]) == (1, True)
    assert cheap["lender"] == {
        "id": ids.public("ptn", world.bank.lender),
        "zh-CN": "alpha银行",
        "en": "Bank alpha",
    }
    assert cheap["total_cost"]["amount_minor"] < dear["total_cost"]["amount_minor"]
    assert sum(line["principal_minor"] for line in cheap["schedule"]) == 600_000
    rates = {rate["formula"]: rate for rate in cheap["rates"]}
    assert rates["cn_simple_365"]["annual"] == "0.146"  # 0.04 % a day
    assert "单利" in rates["cn_simple_365"]["label"]["zh-CN"]
    assert Decimal(rates["cn_irr"]["annual"]) > Decimal("0.146")
    assert cheap["worst_case_if_late"]["days"] == 30
    assert [out["code"] for out in made["left_out"]] == ["region_not_served"]
    receipt = body(await browser.get(f"/v1/applications/{made['id']}/receipt"), 200)
    assert digest(receipt) == made["receipt_digest"]
    assert body(await browser.get(f"/v1/applications/{made['id']}"), 200) == made
    assert body(await world.call("GET", "/v1/referrals"), 200) == {"items": []}

    yes = {"offer": cheap["id"], "agree_to_hand_over": True, "language": "zh-CN"}
    picked = body(await browser.post(f"/v1/applications/{made['id']}/pick", yes), 201)
    assert jwt.decode(picked["receipt"], ground().keyring.signing).claims["record_id"] == picked["grant"]
    async with httpx2.AsyncClient(transport=world.bank.inner) as person_at_the_bank:
        assert (await person_at_the_bank.get(picked["redirect_to"])).status_code == 200
    assert await world.deliver() == 1

    (listed,) = body(await world.call("GET", "/v1/referrals"), 200)["items"]
    assert (listed["id"], listed["state"]) == (picked["referral"], "acknowledged")
    assert listed["user"].startswith("usr_")
    assert listed["wish"]["amount_minor"] == 600_000
    status = f"/v1/referrals/{picked['referral']}/status"
    for state in ("in_review", "approved", "accepted", "disbursed", "repaying", "closed"):
        assert body(await world.call("POST", status, {"state": state}), 200)["state"] == state
    assert body(await world.call("POST", status, {"state": "overdue"}), 409)["code"] == "step_forbidden"
    told = {
        "referral": picked["referral"],
        "decision": "approved",
        "decided_on": str(datetime.now(UTC).date()),
        "disbursed": WISH["amount"],
    }
    assert body(await world.call("POST", "/v1/outcomes", told), 201)["id"].startswith("out_")
    seen = body(await browser.get(f"/v1/applications/{made['id']}"), 200)
    assert (seen["picked"], seen["referral"]["state"]) == (cheap["id"], "closed")


async def test_withdrawing_in_one_step_stops_the_queued_referral(world: World) -> None:
    browser = await world.browser(await a_person())
    made = body(await browser.post("/v1/applications", WISH), 201)
    yes = {"offer": made["offers"][0]["id"], "agree_to_hand_over": True, "language": "en"}
    picked = body(await browser.post(f"/v1/applications/{made['id']}/pick", yes), 201)
    body(await browser.post(f"/v1/me/grants/{picked['grant']}/withdraw"), 200)
    assert await world.deliver() == 0
    assert world.bank.calls == []
    (listed,) = body(await world.call("GET", "/v1/referrals"), 200)["items"]
    assert listed == {"id": picked["referral"], "state": "withdrawn"}
    seen = body(await browser.get(f"/v1/applications/{made['id']}"), 200)["referral"]
    assert (seen["state"], seen["delivery"]) == ("withdrawn", "stopped")


async def test_the_same_application_again_is_answered_the_same(world: World, owner) -> None:
    browser = await world.browser(await a_person())
    first = await browser.post("/v1/applications", WISH, key="once")
    again = await browser.post("/v1/applications", WISH, key="once")
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
    assert await owner.fetchval("select count(*) from partners_application") == 1
    other = await browser.post("/v1/applications", WISH | {"instalments": 3}, key="once")
    assert body(other, 422)["code"] == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"use_of_funds": "securities"}, 422, "unacceptable"),
        ({"use_of_funds": "gambling"}, 422, "unacceptable"),
        ({"instalments": 0}, 422, "unacceptable"),
        ({"score": 700}, 422, "unacceptable"),
        ({"agree_to_matching": False}, 403, "consent_missing"),
    ],
)
async def test_what_cannot_be_applied_for(world: World, changes, status, code) -> None:
    browser = await world.browser(await a_person())
    assert body(await browser.post("/v1/applications", WISH | changes), status)["code"] == code


async def test_others_see_nothing(world: World) -> None:
    made = body(await (await world.browser(await a_person())).post("/v1/applications", WISH), 201)
    stranger = await world.browser(await a_person())
    yes = {"offer": made["offers"][0]["id"], "agree_to_hand_over": True, "language": "en"}
    for answer in (
        await stranger.get(f"/v1/applications/{made['id']}"),
        await stranger.get(f"/v1/applications/{made['id']}/receipt"),
        await stranger.post(f"/v1/applications/{made['id']}/pick", yes),
        await world.call("POST", f"/v1/referrals/ref_{'0' * 26}/status", {"state": "in_review"}),
    ):
        assert body(answer, 404)["code"] == "not_found"
    assert (await world.http.get(f"/v1/applications/{made['id']}")).status_code == 401
