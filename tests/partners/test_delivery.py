"""Delivery: once, while consent lives, never blindly again, whatever fails."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
from joserfc import jwt
from support import lending
from support.lending import DELIVERER, Lost, Market, a_client, a_market

from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import GrantId
from consent import grants
from partners import delivery, handover, referrals
from partners.connectors import registry
from partners.connectors.contract import Standing, Unclear
from partners.connectors.signed_http import BODY_BYTES_MAX, SignedHttp
from partners.delivery import ATTEMPTS_MAX, BACKOFF_CAP_SECONDS
from partners.referrals import State

pytestmark = pytest.mark.usefixtures("ground")


async def deliver(market: Market, **changes: Any) -> int:
    return await delivery.deliver_due(
        DELIVERER, {market.bank.code: market.bank.connector(**changes)}, limit=5
    )


async def make_due(owner: asyncpg.Connection) -> None:
    await owner.execute(
        "update partners_referral set next_try_at = now() - interval '1 s', lease_until = null"
    )


async def standing(owner: asyncpg.Connection) -> tuple[str, str]:
    row = await owner.fetchrow("select state, delivery from partners_referral")
    assert row is not None
    return row["state"], row["delivery"]


async def kinds(owner: asyncpg.Connection, market: Market) -> list[str]:
    rows = await owner.fetch(
        "select kind from compliance_fact where partner = $1 order by seq", market.lender
    )
    return [r["kind"] for r in rows][4:]  # after: admitted, published, given, queued


async def withdraw(market: Market, grant: Any) -> None:
    async with open_act(market.person, None) as act:
        await grants.withdraw(act, GrantId(grant))


async def test_a_referral_is_delivered_once(owner):
    market = await a_market()
    await market.pick()
    assert await deliver(market) == 1
    assert await standing(owner) == ("acknowledged", "done")
    assert await kinds(owner, market) == ["referral_released", "referral_delivered", "referral_acknowledged"]
    steps = await owner.fetch("select state from partners_referral_step order by seq")
    assert [s["state"] for s in steps] == ["created", "delivered", "acknowledged"]
    assert await deliver(market) == 0
    assert market.bank.posted == 1


async def test_what_leaves_names_nobody(ground):
    market = await a_market()
    picked = await market.pick()
    row = picked.referral
    token = jwt.decode(handover.submission(row, row.made_at), ground.keyring.signing, algorithms=["ES256"])
    assert token.header["typ"] == "referral+jwt"
    assert token.claims["aud"] == ids.public("ptn", market.lender)
    assert token.claims["jti"] == token.claims["ref"] == ids.public("ref", row.id)
    assert set(token.claims) == {"iss", "aud", "sub", "ref", "terms", "iat", "exp", "jti", "wish"}
    assert set(token.claims["wish"]) == {
        "product",
        "amount_minor",
        "currency",
        "instalments",
        "terms_digest",
    }
    assert str(market.person.user) not in str(token.claims)


async def test_withdrawal_while_queued_stops_it(owner):
    market = await a_market()
    picked = await market.pick()
    await withdraw(market, picked.referral.grant_id)
    assert await standing(owner) == ("withdrawn", "stopped")
    assert await kinds(owner, market) == ["grant_withdrawn", "referral_withdrawn"]
    assert await deliver(market) == 0
    assert market.bank.calls == []


async def test_withdrawal_while_it_is_being_sent_wins_and_what_arrived_is_told(owner):
    market = await a_market()
    picked = await market.pick()

    async def meanwhile(_: httpx2.Request) -> None:
        await asyncio.create_task(withdraw(market, picked.referral.grant_id))
        assert await standing(owner) == ("withdrawn", "sending")  # not "stopped": it has left

    market.bank.plan = [meanwhile]
    assert await deliver(market) == 1
    assert await standing(owner) == ("withdrawn", "done")
    assert await kinds(owner, market) == [
        "referral_released",
        "grant_withdrawn",
        "referral_withdrawn",
        "delivery_overtaken",
    ]


@pytest.mark.parametrize(
    ("happened", "ends", "last"),
    [(Lost(), "done", "delivery_overtaken"), (503, "stopped", "delivery_stopped")],
)
async def test_withdrawal_while_it_is_unclear_is_found_out_by_asking(owner, happened, ends, last):
    """Asked by our reference alone; whether or not it arrived, nothing is sent any more."""
    market = await a_market()
    picked = await market.pick()
    market.bank.plan = [happened]
    await deliver(market)
    await withdraw(market, picked.referral.grant_id)
    assert await standing(owner) == ("withdrawn", "unknown")
    await make_due(owner)
    assert await deliver(market) == 1
    assert await standing(owner) == ("withdrawn", ends)
    assert [method for method, _ in market.bank.calls] == ["POST", "GET"]
    told = await kinds(owner, market)
    assert told[-1] == last
    assert told.count("referral_released") == 1
    await make_due(owner)
    assert await deliver(market) == 0


async def test_a_new_consent_does_not_send_what_was_withdrawn(owner):
    market = await a_market()
    picked = await market.pick()
    market.bank.plan = [503]
    await deliver(market)
    await withdraw(market, picked.referral.grant_id)
    await replace(market, made=await lending.apply(market.person)).pick()
    await owner.execute(
        "update partners_referral set next_try_at = now() + interval '1 h' where state = 'created'"
    )
    await owner.execute("update partners_referral set next_try_at = now() where state = 'withdrawn'")
    assert await deliver(market) == 1
    gone = await owner.fetchval("select delivery from partners_referral where state = 'withdrawn'")
    assert (gone, market.bank.posted) == ("stopped", 1)


async def test_an_expired_consent_stops_it(owner):
    market = await a_market()
    await market.pick()
    await owner.execute("update consent_grant set expires_at = now() where recipient = $1", market.lender)
    assert await deliver(market) == 1
    assert (await standing(owner))[1] == "stopped"
    assert (await kinds(owner, market))[-1] == "delivery_stopped"
    assert market.bank.calls == []


@pytest.mark.parametrize(
    ("held", "freed"),
    [
        (
            "update consent_grant set state = 'paused' where recipient = $1",
            "update consent_grant set state = 'active' where recipient = $1",
        ),
        (
            "update partners_partner set suspended_at = now() where id = $1",
            "update partners_partner set suspended_at = null where id = $1",
        ),
    ],
)
async def test_what_may_pass_is_waited_for(owner, held, freed):
    market = await a_market()
    await market.pick()
    await owner.execute(held, market.lender)
    assert await deliver(market) == 1
    assert await standing(owner) == ("created", "queued")
    assert market.bank.calls == []
    assert await owner.fetchval("select attempts from partners_referral") == 0
    assert await deliver(market) == 0  # not before an hour
    await owner.execute(freed, market.lender)
    await make_due(owner)
    await deliver(market)
    assert await standing(owner) == ("acknowledged", "done")


async def test_a_lender_without_a_door_is_waited_for(owner):
    market = await a_market()
    await market.pick()
    assert await delivery.deliver_due(DELIVERER, {}, limit=5) == 1
    assert await standing(owner) == ("created", "queued")


async def test_a_lost_answer_is_asked_for_and_not_sent_again(owner):
    market = await a_market()
    await market.pick()
    market.bank.plan = [Lost()]
    await deliver(market)
    assert await standing(owner) == ("created", "unknown")
    assert (await kinds(owner, market))[-1] == "delivery_unclear"
    await make_due(owner)
    await deliver(market)
    assert await standing(owner) == ("acknowledged", "done")
    assert [method for method, _ in market.bank.calls] == ["POST", "GET"]


async def test_a_slow_lender_is_unclear_in_bounded_time(owner):
    market = await a_market()
    await market.pick()

    async def hang(_: httpx2.Request) -> None:
        await asyncio.sleep(30)

    market.bank.plan = [hang]
    async with asyncio.timeout(2):
        await deliver(market, deadline_seconds=0.05)
    assert await standing(owner) == ("created", "unknown")


async def test_what_did_not_arrive_is_sent_again_only_after_asking(owner):
    market = await a_market()
    await market.pick()
    market.bank.plan = [503]
    await deliver(market)
    await make_due(owner)
    await deliver(market)
    assert await standing(owner) == ("acknowledged", "done")
    assert [method for method, _ in market.bank.calls] == ["POST", "GET", "POST"]


async def test_while_the_lender_cannot_say_nothing_is_sent(owner):
    market = await a_market()
    await market.pick()
    market.bank.plan = [503, 500, 500]
    for _ in range(3):
        await deliver(market)
        await make_due(owner)
    assert market.bank.posted == 1
    assert await standing(owner) == ("created", "unknown")


async def test_a_crash_between_sending_and_recording_is_found_out(owner):
    market = await a_market()
    await market.pick()

    class Crash(BaseException):
        pass

    async def crash(request: httpx2.Request) -> None:
        await market.bank.inner.handle_async_request(request)
        raise Crash

    market.bank.plan = [crash]
    with pytest.raises(Crash):
        await deliver(market)
    assert await standing(owner) == ("created", "sending")
    assert await deliver(market) == 0  # the lease still runs
    await make_due(owner)
    await deliver(market)
    assert await standing(owner) == ("acknowledged", "done")
    assert market.bank.posted == 1


async def test_attempts_end_and_wait_longer_and_longer(owner):
    market = await a_market()
    await market.pick()
    market.bank.plan = [503] + [500] * ATTEMPTS_MAX
    for attempt in range(1, ATTEMPTS_MAX + 1):
        before: datetime = await owner.fetchval("select now()")
        assert await deliver(market) == 1
        due: datetime = await owner.fetchval("select next_try_at from partners_referral")
        assert due <= before + timedelta(seconds=min(BACKOFF_CAP_SECONDS, 5 * 2**attempt) + 5)
        await make_due(owner)
    assert await standing(owner) == ("created", "dead")
    assert (await kinds(owner, market))[-1] == "delivery_failed"
    assert await deliver(market) == 0


@pytest.mark.parametrize("answer", [302, 400, 401, 422])
async def test_a_refusal_for_good_ends_it(owner, answer):
    market = await a_market()
    await market.pick()
    market.bank.plan = [answer]
    await deliver(market)
    assert await standing(owner) == ("created", "dead")
    assert len(market.bank.calls) == 1  # and no redirect is followed


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(202, json={"reference": "ref_of_another", "status": "received"}),
        httpx2.Response(202, json={"status": "received"}),
        httpx2.Response(202, content=b"<html>"),
        httpx2.Response(202, content=b"[" * 10_000),
        httpx2.Response(202, content=b'{"reference":"ref_x","status":"received"}' + b" " * BODY_BYTES_MAX),
        httpx2.Response(202, json={"reference": "", "status": "approved"}),
    ],
)
async def test_an_answer_that_cannot_be_read_is_unclear(answer):
    market = await a_market()
    market.bank.plan = [answer]
    with pytest.raises(Unclear):
        await market.bank.connector().submit("ref_x", "signed")


async def test_received_is_delivered_and_not_yet_acknowledged(owner):
    market = await a_market()
    reference = ids.public("ref", (await market.pick()).referral.id)
    market.bank.plan = [httpx2.Response(202, json={"reference": reference, "status": "received"})]
    await deliver(market)
    assert await standing(owner) == ("delivered", "done")


async def test_the_lenders_report_proves_that_it_arrived(owner):
    market = await a_market()
    picked = await market.pick()
    market.bank.plan = [Lost()]
    await deliver(market)
    async with open_act(a_client(market.lender), lending.PURPOSE) as act:
        await referrals.report(act, picked.referral.id, State.ACKNOWLEDGED)
    assert await standing(owner) == ("acknowledged", "done")
    await make_due(owner)
    assert await deliver(market) == 0


async def test_two_workers_do_not_send_the_same(owner):
    market = await a_market()
    await market.pick()
    for _ in range(3):
        await (
            replace(market, made=await lending.apply(person := await lending.a_person()), person=person)
        ).pick()
    tried = await asyncio.gather(*(asyncio.create_task(deliver(market)) for _ in range(3)))
    assert sum(tried) == 4
    assert market.bank.posted == 4
    assert await owner.fetchval("select count(*) from partners_referral where delivery = 'done'") == 4


async def test_a_referral_that_another_worker_is_claiming_is_passed_over(owner):
    market = await a_market()
    await market.pick()
    async with owner.transaction(), asyncio.timeout(5):
        await owner.execute("select 1 from partners_referral for update")
        assert await deliver(market) == 0


async def test_the_bank_counts_a_reference_once(ground):
    market = await a_market()
    row = (await market.pick()).referral
    door = market.bank.connector()
    reference, signed = ids.public("ref", row.id), handover.submission(row, row.made_at)
    assert await door.status(reference) is Standing.NOT_RECEIVED
    for _ in range(2):
        assert await door.submit(reference, signed) is Standing.ACKNOWLEDGED
    assert await door.status(reference) is Standing.ACKNOWLEDGED


async def test_the_landing_page_works_once():
    market = await a_market()
    address = (await market.pick()).redirect_to
    async with httpx2.AsyncClient(transport=market.bank.inner) as browser:
        first, again = await browser.get(address), await browser.get(address)
        forged = await browser.get(address[:-4] + "AAAA")
    assert (first.status_code, again.status_code, forged.status_code) == (200, 410, 401)
    assert "虚构" in first.text


@pytest.mark.parametrize(
    "entries",
    [
        '{"alpha": {"kind": "carrier_pigeon"}}',
        '{"alpha": {"address": "https://alpha.example"}}',
        '{"alpha": {"kind": "signed_http", "address": "https://alpha.example"}}',
        '{"alpha": {"kind": "signed_http", "address": "x", "landing": "x", "colour": "red"}}',
        '{"alpha": []}',
        "[",
    ],
)
def test_connectors_that_cannot_be_used_are_named(tmp_path, entries):
    (tmp_path / registry.FILE).write_text(entries)
    with pytest.raises(registry.ConnectorsUnusable):
        registry.read(tmp_path)


def test_connectors_are_read_by_the_partners_code(tmp_path):
    assert registry.read(tmp_path) == {}
    entry = '{"kind": "signed_http", "address": "https://a.example", "landing": "https://a.example/apply"}'
    (tmp_path / registry.FILE).write_text(f'{{"alpha": {entry}}}')
    expected = SignedHttp("https://a.example", "https://a.example/apply")
    assert registry.read(tmp_path) == {"alpha": expected}
