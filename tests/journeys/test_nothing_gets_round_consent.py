"""Ways round a person's word that must stay closed: races, replays, relays, floods, and the clock."""

import asyncio
from uuid import uuid4

import pytest
from support import world
from support.world import ALL, told

from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import PartnerKind, Purpose, Worker
from consent import grants, objections
from scoring import release


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        await world.put_model_in_use()
        await world.open_channel()
        yield opened


def wanted(user: str, **changes: object) -> dict[str, object]:
    return {"user": user, "purpose": "credit_assessment", "categories": sorted(ALL)} | changes


async def close_channel() -> None:
    async with open_act(world.OFFICER, None) as act:
        await release.remove_licence(act, "operator")


async def test_three_yeses_at_once_all_count(here):
    """Asks of one new bank for three purposes: one pseudonym, and nobody's yes is lost."""
    bank = await here.software()
    (person,) = await world.persons(1)
    browser = await here.browser(person)
    purposes = (Purpose.CREDIT_ASSESSMENT, Purpose.PRESCREEN, Purpose.INCOME_ESTIMATE)
    asked = [await world.asked(bank.client, purpose) for purpose in purposes]
    yes = {"categories": sorted(ALL), "language": "en"}
    answers = await asyncio.gather(
        *(browser.call("POST", f"/v1/me/grants/{ids.public('gnt', a.id)}/approve", yes) for a in asked)
    )
    assert [a.status_code for a in answers] == [200, 200, 200]


async def test_the_newest_yes_supersedes_also_when_both_come_at_once(here, owner):
    bank = await here.software()
    (person,) = await world.persons(1)
    browser = await here.browser(person)
    asked = [await world.asked(bank.client) for _ in range(3)]
    yes = {"categories": sorted(ALL), "language": "en"}
    answers = await asyncio.gather(
        *(browser.call("POST", f"/v1/me/grants/{ids.public('gnt', a.id)}/approve", yes) for a in asked)
    )
    assert [a.status_code for a in answers] == [200, 200, 200]
    states = [r["state"] for r in await owner.fetch("select state from consent_grant order by state")]
    assert states == ["active", "ended", "ended"]


async def test_a_no_with_a_key_is_kept_and_answered_again(here):
    bank = await here.software()
    (person,) = await world.persons(1)
    browser = await here.browser(person)
    asked = await world.asked(bank.client)
    path = f"/v1/me/grants/{ids.public('gnt', asked.id)}/reject"
    first = await browser.call("POST", path, key="no-1")
    again = await browser.call("POST", path, key="no-1")
    assert told(first, 200)["state"] == told(again, 200)["state"] == "rejected"
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_key_on_a_reading_call_changes_nothing(here):
    bank = await here.software()
    (person,) = await world.persons(1)
    await world.granted(person, bank.client)
    known = await world.pseudonym_of(person, bank.client)
    score = told(await bank.call("POST", "/v1/scores", wanted(known)), 201)
    for _ in range(2):
        told(await bank.call("GET", f"/v1/scores/{score['id']}", key="read"), 200)


async def test_a_bank_cannot_bury_a_live_consent_under_asks(here, owner):
    bank = await here.software()
    (person,) = await world.persons(1)
    await world.granted(person, bank.client)
    known = await world.pseudonym_of(person, bank.client)
    ask = {"purpose": "credit_assessment", "categories": sorted(ALL), "user": known}
    told(await bank.call("POST", "/v1/grants", ask), 201)
    assert told(await bank.call("POST", "/v1/grants", ask), 409)["code"] == "already_asked"
    await owner.execute(
        """insert into consent_grant (id, user_id, recipient, purpose, asked, categories, state, notice_id,
               notice_version, template, channel, period_days, data_life_days, requested_at)
           select gen_random_uuid(), user_id, recipient, purpose, asked, '{}', 'requested', notice_id, notice_version,
               template, channel, period_days, data_life_days, now() + interval '1 minute'
           from consent_grant, generate_series(1, 600) where state = 'active'"""
    )
    browser = await here.browser(person)
    mine = told(await browser.call("GET", "/v1/me/grants"), 200)["items"]
    assert mine[0]["state"] == "active"
    async with open_act(person, None) as act:
        assert await grants.withdraw_all(act) == 1
    assert told(await bank.call("POST", "/v1/scores", wanted(known)), 403)["code"] == "consent_withdrawn"


async def test_an_old_answer_is_not_given_again_once_the_gate_is_closed_or_the_person_is_no_adult(
    here, owner
):
    bank = await here.software()
    (person,) = await world.persons(1)
    await world.granted(person, bank.client)
    known = await world.pseudonym_of(person, bank.client)
    told(await bank.call("POST", "/v1/scores", wanted(known), key="k"), 201)
    await close_channel()
    assert (
        told(await bank.call("POST", "/v1/scores", wanted(known), key="k"), 403)["code"]
        == "no_lawful_channel"
    )
    await world.open_channel()
    await owner.execute("update consent_person set born_on = '2020-01-01'")
    refused = told(await bank.call("POST", "/v1/scores", wanted(known), key="k"), 403)
    assert refused["code"] == "age_not_established"


async def test_a_closed_gate_says_nothing_about_the_person(here):
    """Rich and thin data are refused alike: nothing is read before the channel is open."""
    bank = await here.software()
    rich, *_ = await world.persons(1)
    (thin,) = await world.persons(1, rows=[0])
    await close_channel()
    for person in (rich, thin):
        await world.granted(person, bank.client)
        known = await world.pseudonym_of(person, bank.client)
        assert told(await bank.call("POST", "/v1/scores", wanted(known)), 403)["code"] == "no_lawful_channel"


async def test_a_suspended_or_unlicensed_lender_gets_nothing_through_a_bureau(here, owner):
    bank, bureau = await here.software(), await here.software("bureau", PartnerKind.CREDIT_BUREAU)
    await world.open_channel(bureau.client.partner, bank.client.partner)
    (person,) = await world.persons(1)
    await world.granted(person, bureau.client, recipient=bank.client.partner, bureau=bureau.client.partner)
    known = await world.pseudonym_of(person, bureau.client)
    body = wanted(known, recipient=ids.public("ptn", bank.client.partner))
    told(await bureau.call("POST", "/v1/scores", body), 201)
    for change in ("suspended_at = now()", "suspended_at = null, licence_until = '2021-01-01'"):
        await owner.execute(f"update partners_partner set {change} where id = $1", bank.client.partner)
        assert told(await bureau.call("POST", "/v1/scores", body), 403)["code"] == "not_a_relay"


async def test_expiry_takes_back_what_was_handed_out(here, owner):
    bank = await here.software()
    for person in await world.persons(2):
        await world.granted(person, bank.client, Purpose.PRESCREEN)
    made = await world.list_wanted(bank.client)
    await world.list_made()
    await owner.execute("update consent_grant set expires_at = now() - interval '1 second'")
    async with open_act(Worker("tests"), None) as act:
        assert await grants.end_expired(act, 10) == 2
    recalls = told(await bank.call("GET", f"/v1/prescreens/{ids.public('pre', made)}/recalls"), 200)["items"]
    assert [r["reason"] for r in recalls] == ["expired", "expired"]


async def test_objecting_takes_the_person_off_the_lists_they_are_on(here):
    bank = await here.software()
    (person,) = await world.persons(1)
    await world.granted(person, bank.client, Purpose.PRESCREEN)
    made = await world.list_wanted(bank.client)
    await world.list_made()
    async with open_act(person, None) as act:
        await objections.object_to_lists(act, objects=True)
        assert (await objections.held(act)).lists
    recalls = told(await bank.call("GET", f"/v1/prescreens/{ids.public('pre', made)}/recalls"), 200)["items"]
    assert [r["reason"] for r in recalls] == ["objected"]
    async with open_act(person, None) as act:
        await objections.object_to_lists(act, objects=False)
        assert not (await objections.held(act)).lists


async def test_the_times_of_facts_agree_with_their_order(here, owner):
    """A withdrawal that waited for a score is recorded at a later time, not at the time it began to wait."""
    bank = await here.software()
    (person,) = await world.persons(1)
    grant = await world.granted(person, bank.client)
    known = await world.pseudonym_of(person, bank.client)

    async def scoring() -> None:
        for _ in range(10):
            await bank.call("POST", "/v1/scores", wanted(known), key=str(uuid4()))

    async def withdrawing() -> None:
        await asyncio.sleep(0.05)
        await world.withdrawn(person, grant.id)

    await asyncio.gather(scoring(), scoring(), withdrawing())
    facts = await owner.fetch(
        "select kind, recorded_at from compliance_fact where grant_id = $1 and kind in ('score_issued', 'grant_withdrawn') order by seq",
        grant.id,
    )
    assert facts[-1]["kind"] == "grant_withdrawn"
    assert [f["recorded_at"] for f in facts] == sorted(f["recorded_at"] for f in facts)


async def test_a_partners_own_rights_cannot_touch_what_a_person_decided(here, database):
    """The second wall: SQL with a partner's rights can neither give, nor change, nor revive a grant."""
    bank = await here.software()
    person, other = await world.persons(2)
    grant = await world.granted(person, bank.client)
    await world.withdrawn(person, grant.id)
    await world.granted(other, bank.client)
    for sql in (
        "update consent_grant set data_life_days = 9",
        "update consent_grant set state = 'active', ended_code = null",
        "update consent_grant set state = 'paused' where state = 'active'",
        """update consent_grant set state = 'ended', ended_by = 'person', ended_code = 'withdrawn', ended_at = now()
           where state = 'active'""",
        "update consent_grant set categories = asked",
        "update consent_grant set expires_at = expires_at + interval '1 year'",
        """insert into consent_grant select gen_random_uuid(), user_id, recipient, bureau, purpose, asked, asked,
           'active', null, null, null, notice_id, notice_version, notice_sha256, language, template, channel,
           period_days, data_life_days, calls_per_month, now(), now(), now() + interval '1 day', evidence, false
           from consent_grant""",
    ):
        with pytest.raises(Exception, match=r"row-level security|permission denied|stays so"):
            async with open_act(bank.client, None) as act:
                act.record("forged", {})
                await act.db.execute_query(sql)
