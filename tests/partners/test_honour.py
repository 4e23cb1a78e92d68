"""Whether lists keep what they promise: each end of an application, by the bank's own report, counted where it belongs."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from support import events, world
from support.listed import DAY, KEPT, LIMIT, RATE, READY_BEFORE, TODAY, an_entry, report

from api import worker
from compliance import ids
from compliance.act import open_act
from compliance.refusals import NotFound, Unacceptable
from consent import copies, permits
from consent.permits import BUSINESS_ZONE
from partners import honour, outcomes, prescreens
from partners.outcomes import About, Decision

DECLINED = replace(KEPT, decision=Decision.DECLINED, currency=None, approved_minor=None, daily_rate=None)
UNDECIDED = replace(DECLINED, decision=Decision.UNDECIDED, decided_on=None)


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return await world.a_bank()


async def counted() -> list[Any]:
    async with open_act(world.STORY, None) as act:
        act.record("score_replayed", {})
        return await honour.of_lists(act)


def ends(line: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in line.items() if count == 1 and name not in ("entries", "decided")}


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ([KEPT], "kept"),
        ([replace(KEPT, approved_minor=LIMIT + 1, daily_rate="0.0003")], "kept"),
        ([replace(KEPT, daily_rate="0.00040")], "kept"),
        ([replace(KEPT, approved_minor=LIMIT - 1)], "worse_terms"),
        ([replace(KEPT, daily_rate="0.0004000001")], "worse_terms"),
        ([replace(KEPT, currency="USD")], "worse_terms"),
        ([DECLINED], "declined"),
        ([UNDECIDED], "undecided"),
        ([replace(KEPT, applied_on=TODAY - 40 * DAY, decided_on=TODAY - 10 * DAY)], "kept"),
        ([replace(KEPT, applied_on=TODAY - 40 * DAY, decided_on=TODAY - 9 * DAY)], "undecided"),
        ([replace(DECLINED, decision=Decision.NOT_VERIFIED)], "not_verified"),
        ([replace(DECLINED, decision=Decision.WITHDRAWN)], "withdrawn"),
        ([replace(KEPT, applied_on=TODAY - 30 * DAY)], "waiting"),
        # The last word counts; the clock is that of the first day that was named.
        ([UNDECIDED, KEPT], "kept"),
        ([KEPT, replace(KEPT, approved_minor=LIMIT - 1)], "worse_terms"),
        ([UNDECIDED, replace(KEPT, applied_on=TODAY, decided_on=TODAY)], "undecided"),
    ],
)
async def test_each_application_ends_in_one_place(bank, told, end):
    entry = await an_entry(bank)
    await report(bank, entry, *told)
    whole, one = await counted()
    assert (whole["lender"], whole["prescreen"], one["prescreen"]) == (
        "alpha",
        None,
        ids.public("pre", entry.prescreen),
    )
    assert ends(whole) == ends(one) == {end: 1}
    assert one["decided"] == int(end in ("kept", "worse_terms", "declined"))
    assert one["entries"] == 1


async def test_the_day_after_the_entrys_validity_is_too_late(bank, owner):
    entry = await an_entry(bank)
    await report(bank, entry, KEPT)
    last = datetime.combine(KEPT.applied_on or TODAY, datetime.min.time(), BUSINESS_ZONE)
    await owner.execute("update partners_entry set valid_until = $1", last)
    assert ends((await counted())[0]) == {"kept": 1}
    await owner.execute("update partners_entry set valid_until = $1", last - timedelta(seconds=1))
    assert ends((await counted())[0]) == {"too_late": 1}


async def test_a_year_is_looked_back(bank):
    entry = await an_entry(bank, ready_before=400 * DAY)
    await report(bank, entry, replace(KEPT, applied_on=TODAY - 366 * DAY))
    assert await counted() == []


async def test_a_list_of_which_nothing_is_reported_stands_there_with_its_entries(bank, owner):
    silent = await an_entry(bank)
    await report(bank, await an_entry(bank), KEPT)
    whole, *lists = await counted()
    (other,) = [line for line in lists if line["prescreen"] == ids.public("pre", silent.prescreen)]
    assert (ends(whole), whole["entries"]) == ({"kept": 1}, sum(line["entries"] for line in lists))
    assert (ends(other), other["entries"] > 0) == ({}, True)
    long_ago = datetime.combine(TODAY - 366 * DAY, datetime.min.time(), BUSINESS_ZONE)
    await owner.execute("update partners_prescreen set ready_at = $1", long_ago)
    whole, one = await counted()
    assert (whole["entries"], ends(one)) == (one["entries"], {"kept": 1})


async def test_older_lists_stay_in_their_banks_sum(bank, monkeypatch):
    for told in (DECLINED, KEPT):
        await report(bank, await an_entry(bank), told)
    monkeypatch.setattr(honour, "MOST_LISTS", 1)
    whole, newest = await counted()
    assert (ends(whole), ends(newest)) == ({"kept": 1, "declined": 1}, {"kept": 1})
    assert whole["decided"] == 2


async def test_a_banks_sum_is_of_all_its_lists_however_many_there_are(bank, monkeypatch):
    await report(bank, await an_entry(bank), DECLINED)
    newer = await world.list_wanted(bank)
    await world.list_made()
    async with open_act(bank, world.LISTING) as act:
        (entry,) = await prescreens.entries(act, newer, after=None, limit=10)
    await report(bank, entry, replace(KEPT, applied_on=TODAY, decided_on=TODAY))
    monkeypatch.setattr(honour, "MOST_LISTS", 1)
    whole, one = await counted()
    assert (whole["prescreen"], whole["entries"]) == (None, 2)
    assert ends(whole) == {"waiting": 1, "declined": 1}
    assert one["prescreen"] == ids.public("pre", newer)
    assert ends(one) == {"waiting": 1}


def the_day(days_ago: int) -> date:
    return TODAY - days_ago * DAY


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        (replace(KEPT, applied_on=None), "/applied_on"),
        (replace(KEPT, applied_on=the_day(24)), "/applied_on"),
        (replace(UNDECIDED, applied_on=TODAY + DAY), "/applied_on"),
        (replace(KEPT, decided_on=None), "/decided_on"),
        (replace(UNDECIDED, decided_on=the_day(25)), "/decided_on"),
        (replace(KEPT, approved_minor=None), "/approved"),
        (replace(KEPT, daily_rate=None), "/daily_rate"),
        (replace(DECLINED, daily_rate=RATE), "/daily_rate"),
        (replace(UNDECIDED, approved_minor=1), "/decision"),
    ],
)
async def test_what_a_report_about_an_entry_must_say(bank, wrong, pointer):
    entry = await an_entry(bank)
    with pytest.raises(Unacceptable) as refused:
        await report(bank, entry, wrong)
    assert pointer in {fault.pointer for fault in refused.value.faults}


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        (replace(UNDECIDED, applied_on=None), "/decision"),
        (replace(DECLINED, decision=Decision.NOT_VERIFIED, applied_on=None), "/decision"),
        (DECLINED, "/applied_on"),
        (replace(KEPT, applied_on=None), "/daily_rate"),
    ],
)
async def test_what_is_said_of_lists_alone(bank, wrong, pointer):
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    score = (await world.scored(bank, person)).id
    with pytest.raises(Unacceptable) as refused:
        async with open_act(bank, None) as act:
            today = replace(wrong, decided_on=wrong.decided_on and TODAY)
            await outcomes.report(act, today, About(score=score))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


async def test_nobody_reports_about_another_banks_list_nor_about_two_things(bank):
    entry = await an_entry(bank)
    with pytest.raises(NotFound):
        await report(await world.a_bank("beta"), entry, KEPT)
    with pytest.raises(Unacceptable):
        async with open_act(bank, None) as act:
            await outcomes.report(act, KEPT, About(entry=entry.id, score=uuid4()))


async def test_with_a_day_before_its_list_no_bank_puts_an_answer_out_of_the_rate(bank):
    entry = await an_entry(bank)
    worse = replace(KEPT, approved_minor=1)
    await report(bank, entry, worse)
    for applied_on in (TODAY - READY_BEFORE - 2 * DAY, date.min):
        with pytest.raises(Unacceptable) as refused:
            await report(bank, entry, replace(worse, applied_on=applied_on))
        assert "/applied_on" in {fault.pointer for fault in refused.value.faults}
    assert ends((await counted())[0]) == {"worse_terms": 1}
    await report(bank, entry, replace(worse, applied_on=TODAY - READY_BEFORE - DAY))


async def test_a_person_finds_it_in_their_copy_under_the_entrys_own_name(bank):
    entry = await an_entry(bank)
    await report(bank, entry, KEPT)
    async with open_act(events.in_session(entry.user_id), None) as act:
        parts = (await copies.make(act, permits.own_permit(act))).parts
    assert parts["reported_outcomes"][0]["entry"] == parts["lists"][0]["id"] == ids.public("ent", entry.id)


COPY = """
insert into partners_entry (id, prescreen, partner, user_id, grant_id, limit_minor, currency, daily_rate, valid_until)
select $1::uuid, prescreen, partner, $1::uuid, grant_id, limit_minor, currency, daily_rate, valid_until
from partners_entry where id = $2
"""
OUTCOME = """
insert into partners_outcome (id, partner, entry, user_id, grant_id, report, reported_at)
select $1::uuid, partner, id, user_id, grant_id, $2, now() from partners_entry where id = $1
"""


async def test_from_a_hundred_on_a_rate_is_told_with_its_interval_and_kept_with_the_days_figures(bank, owner):
    entry = await an_entry(bank)
    await report(bank, entry, KEPT)
    said = json.loads(await owner.fetchval("select report from partners_outcome"))
    for n in range(98):
        another = uuid4()
        await owner.execute(COPY, another, entry.id)
        await owner.execute(OUTCOME, another, json.dumps(said | ({"approved_minor": 1} if n < 24 else {})))
    assert (await counted())[0]["evidence"] == "insufficient_evidence"
    another = uuid4()
    await owner.execute(COPY, another, entry.id)
    await owner.execute(OUTCOME, another, json.dumps(said | {"approved_minor": 1}))
    told: Any = (await worker.watch_now()).figures
    line = told["lists"][0]
    assert (line["kept"], line["worse_terms"], line["decided"]) == (75, 25, 100)
    assert (line["evidence"], line["share"], line["low"], line["high"]) == (
        "enough",
        "0.7500",
        "0.6570",
        "0.8245",
    )


async def test_a_bank_reports_over_http(database, home, owner):
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        await world.open_channel()
        bank = await here.software()
        entry = await an_entry(bank.client)
        said = {
            "entry": ids.public("ent", entry.id),
            "applied_on": str(KEPT.applied_on),
            "decision": "approved",
            "decided_on": str(KEPT.decided_on),
            "approved": {"amount_minor": LIMIT, "currency": "CNY"},
            "daily_rate": RATE,
        }
        assert (await bank.call("POST", "/v1/outcomes", said | {"daily_rate": "4e-4"})).status_code == 422
        assert (await bank.call("POST", "/v1/outcomes", said)).status_code == 201
        assert ends((await counted())[0]) == {"kept": 1}
    fact = await owner.fetchrow("select * from compliance_fact where kind = 'outcome_reported'")
    assert (fact["person"], fact["partner"]) == (entry.user_id, entry.partner)
