"""A bank orders a list, the worker makes it, people leave it, and the bank's own copy is taken back line by line."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support import world
from support.world import CRITERIA, LISTING, told

from api import worker
from compliance import ids
from compliance.vocabulary import PartnerKind
from consent.permits import BUSINESS_ZONE

NOBODY = f"pre_{'0' * 26}"


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        await world.put_model_in_use()
        await world.open_channel()
        yield opened


async def order(bank: world.Software, **changes: object) -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    offer = {"product": await world.product_of(bank.client), "limit_minor": 500_000}
    offer |= {"currency": "CNY", "daily_rate": "0.0004"}
    return {"criteria": CRITERIA, "offer": offer, "cap": 100, "valid_until": until} | changes


async def pages(bank, path: str) -> list[dict]:
    """Every page of it, two at a time."""
    items, cursor = [], ""
    for _ in range(20):
        page = told(await bank.call("GET", f"{path}?limit=2{cursor}"), 200)
        items += page["items"]
        if not page.get("next") or not page["items"]:
            break
        cursor = f"&cursor={page['next']}"
    return items


async def test_from_criteria_to_recall(here):
    bank = await here.software()
    people = await world.persons(7)
    grants = [await world.granted(person, bank.client, LISTING) for person in people]
    made = told(await bank.call("POST", "/v1/prescreens", await order(bank)), 202)
    assert made["state"] == "approved"
    path = f"/v1/prescreens/{made['id']}"
    assert told(await bank.call("GET", f"{path}/entries"), 409)["code"] == "list_not_ready"

    assert await worker.make_next_list(1)
    assert not await worker.make_next_list(1)
    ready = told(await bank.call("GET", path), 200)
    assert (ready["state"], ready["entries"]) == ("ready", 7)
    lines = await pages(bank, f"{path}/entries")
    assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)
    assert all(
        line.keys() == {"id", "limit_minor", "currency", "daily_rate", "valid_until"} for line in lines
    )

    first = told(await bank.call("GET", f"{path}/recalls"), 200)
    assert first["items"] == []
    browser = await here.browser(people[3])
    told(await browser.call("POST", f"/v1/me/grants/{ids.public('gnt', grants[3].id)}/withdraw"), 200)
    await world.withdrawn(people[5], grants[5].id)
    left = await pages(bank, f"{path}/entries")
    gone = {line["id"] for line in lines} - {line["id"] for line in left}
    assert len(gone) == 2
    following = told(await bank.call("GET", f"{path}/recalls?cursor={first['next']}"), 200)
    assert {line["entry"] for line in following["items"]} == gone
    assert {line["reason"] for line in following["items"]} == {"withdrawn"}
    today = datetime.now(BUSINESS_ZONE).date().isoformat()
    assert {line["recalled_on"] for line in following["items"]} == {today}
    assert all(line.keys() == {"entry", "reason", "recalled_on"} for line in following["items"])
    assert told(await bank.call("GET", f"{path}/recalls?cursor={following['next']}"), 200)["items"] == []


async def test_a_bank_learns_its_own_products_and_offers_one_of_them(here):
    bank, other = await here.software(), await here.software("beta")
    theirs = await world.product_of(other.client)
    assert told(await bank.call("GET", "/v1/products"), 200) == {"items": []}
    mine = await world.product_of(bank.client)
    assert told(await bank.call("GET", "/v1/products"), 200)["items"] == [
        {
            "id": mine,
            "name": {"zh-CN": "分期", "en": "Instalments"},
            "kind": "instalment",
            "currency": "CNY",
            "principal_min_minor": 100_000,
            "principal_max_minor": 5_000_000,
            "instalments_min": 1,
            "instalments_max": 12,
            "daily_rate": "0.0004",
            "method": "equal_principal",
        }
    ]
    body = await order(bank)
    body["offer"] |= {"product": theirs}
    refused = told(await bank.call("POST", "/v1/prescreens", body), 422)
    assert [e["pointer"] for e in refused["errors"]] == ["/offer/product"]


async def test_too_few_people_is_a_failed_list_that_says_only_that(here):
    bank = await here.software()
    (person,) = await world.persons(1)
    await world.granted(person, bank.client, LISTING)
    made = told(await bank.call("POST", "/v1/prescreens", await order(bank)), 202)
    await worker.make_next_list(2)
    failed = told(await bank.call("GET", f"/v1/prescreens/{made['id']}"), 200)
    assert (failed["state"], failed["why_failed"]) == ("failed", "too_few_people")
    assert "entries" not in failed
    assert (
        told(await bank.call("GET", f"/v1/prescreens/{made['id']}/entries"), 409)["code"] == "list_not_ready"
    )


async def test_another_banks_list_is_like_no_list(here):
    bank, other = await here.software(), await here.software("beta")
    made = told(await bank.call("POST", "/v1/prescreens", await order(bank)), 202)
    for below in ("", "/entries", "/recalls"):
        mine, nobodys = [
            told(await other.call("GET", f"/v1/prescreens/{name}{below}"), 404) | {"trace_id": ""}
            for name in (made["id"], NOBODY)
        ]
        assert mine == nobodys


async def test_a_cursor_is_taken_only_as_it_was_given(here):
    bank, bureau = await here.software(), await here.software("bureau", PartnerKind.CREDIT_BUREAU)
    made = told(await bank.call("POST", "/v1/prescreens", await order(bank)), 202)
    path = f"/v1/prescreens/{made['id']}/recalls"
    cursor = told(await bank.call("GET", path), 200)["next"]
    for bad in (cursor[:-1], f"{cursor}A", cursor[::-1], "AAAA"):
        assert told(await bank.call("GET", f"{path}?cursor={bad}"), 422)["code"] == "cursor_unusable"
    entries = f"/v1/prescreens/{made['id']}/entries?cursor={cursor}"
    assert told(await bank.call("GET", entries), 422)["code"] == "cursor_unusable"
    told(await bureau.call("GET", path), 404)
