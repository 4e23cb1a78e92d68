"""A person stops a consent and sees what the bank did: told, confirmed, deleted or kept by law, signed by the bank."""

import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from support import oauth_app, world
from support.oauth_client import base64url, new_key
from support.world import Browser, Software, World, told

from api import worker
from api.oauth.scopes import Scope
from compliance import ids
from compliance.vocabulary import Person, StaffRole

LAW = "反洗钱法第三十四条"
UNTIL = (datetime.now(UTC) + timedelta(days=1_000)).date().isoformat()
KEPT = {"outcome": "retained_by_law", "basis": LAW, "until": UNTIL}


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        yield opened


@pytest.fixture
async def bank(here: World) -> Software:
    return await here.software()


@pytest.fixture
async def me(here: World) -> tuple[Person, Browser]:
    (person,) = await world.persons(1)
    return person, await here.browser(person)


async def stopped(bank: Software, me: tuple[Person, Browser]) -> str:
    """The person stops a consent on their page; its public id."""
    person, browser = me
    grant = ids.public("gnt", (await world.granted(person, bank.client)).id)
    sent = await browser.send_form(f"/me/grants/{grant}/withdraw")
    assert (sent.status_code, sent.headers["location"]) == (303, f"/me/grants/{grant}/withdrawn")
    return grant


async def page(browser: Browser, path: str, language: str = "en") -> str:
    """What can be read on a page."""
    answer = await browser.call("GET", f"{path}?lang={language}")
    assert answer.status_code == 200, answer.text
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)))


async def acknowledge(bank: Software, grant: str) -> Any:
    return await bank.call("POST", f"/v1/withdrawals/{grant}/acknowledgement")


async def attest(bank: Software, grant: str, statement: str | None = None, **said: str) -> Any:
    said = {"outcome": "purged"} | said
    body = said | {"attestation": statement or bank.attestation(grant, **said)}
    return await bank.call("POST", f"/v1/withdrawals/{grant}/attestation", body)


async def test_the_person_sees_each_step(here, bank, me):
    grant, browser = await stopped(bank, me), me[1]
    seen = await page(browser, f"/me/grants/{grant}/withdrawn")
    assert re.search(r"It has stopped, at \d\d:\d\d:\d\d", seen)
    assert "Being sent" in seen
    assert "has to confirm by" in seen
    assert "Stopped, on its way to recipients" in await page(browser, "/me")

    (item,) = told(await bank.call("GET", "/v1/withdrawals"), 200)["items"]
    user = told(await bank.call("GET", f"/v1/grants/{grant}"), 200)["user"]
    assert (item["grant_id"], item["user"], item["purpose"]) == (grant, user, "credit_assessment")
    assert (item["ended_code"], item["state"]) == ("withdrawn", "delivered")
    assert "Told" in await page(browser, f"/me/grants/{grant}/withdrawn")

    assert [told(await acknowledge(bank, grant), 200)["state"] for _ in range(2)] == ["acknowledged"] * 2
    seen = await page(browser, f"/me/grants/{grant}/withdrawn")
    assert "Confirmed that it stopped" in seen
    assert "has to confirm by" not in seen
    assert "has to delete your data" in seen

    kept = told(await attest(bank, grant, **KEPT), 200)
    assert (kept["state"], kept["basis"], kept["until"]) == ("retained_by_law", LAW, UNTIL)
    assert f"Must keep it under {LAW} until" in await page(browser, f"/me/grants/{grant}/withdrawn")
    assert "on its way to recipients" not in await page(browser, "/me")
    assert told(await attest(bank, grant), 200)["state"] == "purged"
    assert "your data are deleted" in await page(browser, f"/me/grants/{grant}/withdrawn")

    (own,) = told(await browser.call("GET", "/v1/me/withdrawals"), 200)["items"]
    assert (own["state"], own["overdue"]) == ("purged", False)
    assert own["recipient"] == ids.public("ptn", bank.client.partner)
    assert {"requested_at", "delivered_at", "acknowledged_at", "settled_at"} <= own.keys()


async def test_the_pages_are_written_in_chinese_too(here, bank, me):
    grant, browser = await stopped(bank, me), me[1]
    seen = await page(browser, f"/me/grants/{grant}/withdrawn", "zh-CN")
    assert re.search(r"已于\d\d:\d\d:\d\d停止", seen)
    assert "各接收方的处理情况" in seen
    assert "已停止，正在通知" in seen
    assert "下一步应在" in await page(browser, "/me", "zh-CN")
    told(await attest(bank, grant, **KEPT), 200)
    seen = await page(browser, f"/me/grants/{grant}/withdrawn", "zh-CN")
    assert f"依据{LAW}须保存到" in seen
    assert "已签名确认依法须保存您的数据" in seen


async def test_stopping_everything_shows_each_recipient(here, bank, me):
    other = await here.software("beta")
    for software in (bank, other):
        await world.granted(me[0], software.client)
    await me[1].send_form("/me/stop")
    seen = await page(me[1], "/me/stopped")
    assert seen.count("Being sent") == 2


async def test_a_late_bank_is_shown_as_late_and_recorded(here, bank, me, owner):
    grant, browser = await stopped(bank, me), me[1]
    assert not await worker.escalate_overdue()
    await owner.execute("set session_replication_role = replica")
    await owner.execute("update consent_effect set acknowledge_by = now()")
    seen = await page(browser, f"/me/grants/{grant}/withdrawn")
    assert "is late" in seen
    officer = await here.console(StaffRole.COMPLIANCE_OFFICER)
    late = await page(officer, "/compliance/withdrawals")
    assert grant in late
    assert "Bank alpha" in late
    assert str(me[0].user) not in late
    assert "Overdue" in await page(browser, "/me")
    assert await worker.escalate_overdue()
    assert not await worker.escalate_overdue()
    assert "did not confirm or delete in time" in await page(browser, f"/me/grants/{grant}")
    (own,) = told(await browser.call("GET", "/v1/me/withdrawals"), 200)["items"]
    assert own["overdue"]
    told(await acknowledge(bank, grant), 200)
    assert "is late" not in await page(browser, f"/me/grants/{grant}/withdrawn")
    assert grant not in await page(officer, "/compliance/withdrawals")


async def test_a_frozen_bank_still_learns_and_answers(here, bank, me, owner):
    told(await bank.call("GET", "/v1/withdrawals"), 200)
    grant = await stopped(bank, me)
    await owner.execute("update partners_partner set suspended_at = now()")
    assert told(await bank.call("GET", "/v1/products"), 403)["code"] == "partner_suspended"
    assert [i["grant_id"] for i in told(await bank.call("GET", "/v1/withdrawals"), 200)["items"]] == [grant]
    told(await acknowledge(bank, grant), 200)
    told(await attest(bank, grant), 200)


async def test_a_feed_goes_on_where_it_was_left(here, bank, me):
    found, cursor = [], told(await bank.call("GET", "/v1/withdrawals"), 200)["next"]
    wanted = []
    for _ in range(3):
        wanted.append(await stopped(bank, me))
        answer = told(await bank.call("GET", f"/v1/withdrawals?cursor={cursor}&limit=1"), 200)
        found += [item["grant_id"] for item in answer["items"]]
        cursor = answer["next"]
    assert found == wanted
    assert told(await bank.call("GET", f"/v1/withdrawals?cursor={cursor}"), 200)["items"] == []
    refused = told(await bank.call("GET", f"/v1/withdrawals?cursor={cursor}A"), 422)
    assert refused["code"] == "cursor_unusable"


async def test_another_banks_withdrawal_is_like_none(here, bank, me):
    grant, other = await stopped(bank, me), await here.software("beta")
    assert told(await other.call("GET", "/v1/withdrawals"), 200)["items"] == []
    for name in (grant, "gnt_" + "0" * 26):
        assert told(await acknowledge(other, name), 404)["code"] == "not_found"
        assert told(await attest(other, name), 404)["code"] == "not_found"


WRONG: dict[str, dict[str, Any]] = {
    "another grant": {"claims": {"grant_id": "gnt_" + "0" * 26}},
    "another client": {"claims": {"iss": "another-client"}},
    "another issuer": {"claims": {"aud": "https://other.example"}},
    "another outcome": {"claims": {"outcome": "retained_by_law"}},
    "an unknown outcome": {"claims": {"outcome": "forgotten"}},
    "a law that the call does not name": {"claims": {"basis": LAW}},
    "too old": {"claims": {"iat": int(time.time()) - 2_000}},
    "from the future": {"claims": {"iat": int(time.time()) + 2_000}},
    "no time": {"claims": {"iat": None}},
    "another typ": {"header": {"typ": "jwt"}},
    "no typ": {"header": {"typ": None}},
    "an unknown kid": {"header": {"kid": "x"}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
async def test_an_attestation_with_anything_wrong_counts_for_nothing(here, bank, me, wrong):
    grant = await stopped(bank, me)
    statement = bank.attestation(grant, wrong.get("header"), **wrong.get("claims", {}))
    await refused(bank, me, grant, statement)
    assert told(await attest(bank, grant), 200)["state"] == "purged"


async def refused(bank: Software, me: tuple[Person, Browser], grant: str, statement: str) -> None:
    answer = told(await attest(bank, grant, statement), 422)
    assert [(e["pointer"], e["code"]) for e in answer["errors"]] == [("/attestation", "attestation_unusable")]
    (own,) = told(await me[1].call("GET", "/v1/me/withdrawals"), 200)["items"]
    assert own["state"] == "requested"


async def test_only_the_calling_clients_own_key_signs(here, bank, me):
    grant = await stopped(bank, me)
    twin = await oauth_app.a_client(bank.client.partner)
    claims = {"grant_id": grant, "outcome": "purged"}
    head, body, signature = bank.attestation(grant).split(".")
    unsigned = base64url(b'{"alg":"none","typ":"purge-attestation+jwt"}')
    for statement in (
        bank.oauth.statement({"typ": "purge-attestation+jwt"}, claims, key=new_key("ES256")),
        twin.statement({"typ": "purge-attestation+jwt"}, claims),
        twin.statement({"typ": "purge-attestation+jwt"}, claims | {"iss": bank.oauth.client_id}),
        f"{unsigned}.{body}.",
        f"{unsigned}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        "",
    ):
        await refused(bank, me, grant, statement or "x")


@pytest.mark.parametrize(
    ("said", "pointers"),
    [
        ({"outcome": "retained_by_law"}, ["/basis", "/until"]),
        ({"outcome": "retained_by_law", "basis": LAW}, ["/until"]),
        ({"outcome": "purged", "basis": LAW, "until": UNTIL}, ["/basis", "/until"]),
        (KEPT | {"until": "2020-01-01"}, ["/until"]),
        (KEPT | {"until": "2999-01-01"}, ["/until"]),
        (KEPT | {"basis": "law"}, ["/basis"]),
        (KEPT | {"basis": "x" * 201}, ["/basis"]),
        (KEPT | {"basis": "a law\nand more"}, ["/basis"]),
    ],
)
async def test_keeping_needs_a_law_and_a_later_day(here, bank, me, said, pointers):
    grant = await stopped(bank, me)
    answer = told(await attest(bank, grant, **said), 422)
    assert [error["pointer"] for error in answer["errors"]] == pointers


async def test_a_repeat_of_a_call_is_answered_the_same(here, bank, me):
    grant = await stopped(bank, me)
    body = {"outcome": "purged", "attestation": bank.attestation(grant)}
    answers = [
        await bank.call("POST", f"/v1/withdrawals/{grant}/attestation", body, key="one") for _ in range(2)
    ]
    assert answers[0].content == answers[1].content
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_token_without_the_scope_reads_nothing(here):
    scores_only = await here.software(scopes=(Scope.SCORES,))
    assert told(await scores_only.call("GET", "/v1/withdrawals"), 403)["code"] == "insufficient_scope"
