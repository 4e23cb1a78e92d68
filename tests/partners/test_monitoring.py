"""The day's figures of the model in use: what lenders reported against what was promised; alerts once per change."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from support import lending, monitored, small_models, world
from support.world import OFFICER

from api import worker
from compliance.act import open_act, open_upkeep, open_view
from compliance.vocabulary import Category, Worker
from partners import monitoring, outcomes
from partners.monitoring import Report, Reported
from partners.outcomes import About, Decision, Outcome
from scoring import registry
from scoring.monitoring import readings

TODAY = date(2026, 11, 28)


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.open_channel()
    return await world.a_bank()


async def alerts_recorded(owner) -> list[dict[str, Any]]:
    async with open_act(OFFICER, None) as act:
        act.record("score_replayed", {})
    return await owner.fetch("select * from compliance_fact where kind = 'monitoring_alert'")


async def test_figures_that_hold_raise_nothing(bank, owner):
    await monitored.a_year(owner, bank)
    made = await worker.watch_now()
    told: Any = made.figures
    assert told["scores"] == told["recent"] == 1_000
    assert told["ranking"]["rows"] == 800
    assert float(told["ranking"]["auc"]["low"]) > 0.5
    assert sum(each["rows"] for each in told["calibration"]) == 800
    assert {each["state"] for each in told["calibration"]} <= {"agrees", "insufficient_evidence"}
    assert told["stability"]["state"] == "stable"
    assert len(told["vintages"]) in (3, 4)
    assert sum(each["approved"] for each in told["vintages"]) == 800
    assert sum(each["decided"] for each in told["approvals"]) == 900
    assert {each["group"] for each in told["groups"]["age"]} == {"20_29", "30_39", "50_59"}
    assert [each["group"] for each in told["groups"]["region"]] == ["east"]
    assert len(told["inputs"]) == len(small_models.loaded().manifest.inputs)
    assert {each["state"] for each in told["inputs"]} == {"stable"}
    assert told["comparison"] is None
    assert made.alerts == {}
    assert await alerts_recorded(owner) == []


async def test_nothing_about_anybody_is_in_a_report(bank, owner):
    scores = await monitored.a_year(owner, bank, rows=300)
    await worker.watch_now()
    kept = await owner.fetchval("select report::text || alerts::text from partners_monitoring")
    users = await owner.fetch("select id::text from consent_person")
    assert not [u["id"] for u in users if u["id"] in kept]
    assert not [s for s in scores if str(s) in kept]


async def test_a_promise_that_was_not_kept_raises_an_alert_once(bank, owner):
    await monitored.a_year(owner, bank, honest=False)
    first = await worker.watch_now()
    assert any(alert.startswith("calibration_off:") for alert in first.alerts)
    assert "ranks_like_chance" in first.alerts
    recorded = await alerts_recorded(owner)
    assert len(recorded) == len(first.alerts)
    assert {row["person"] for row in recorded} == {None}
    assert (await worker.watch_now()).alerts == first.alerts
    assert len(await alerts_recorded(owner)) == len(first.alerts)
    await owner.execute("delete from partners_outcome")
    await owner.execute("delete from partners_seen_through")
    over = await worker.watch_now()
    assert not {"ranks_like_chance"} & set(over.alerts)
    assert len(await alerts_recorded(owner)) == 2 * len(first.alerts)


async def test_another_population_is_noticed(bank, owner):
    await monitored.a_year(owner, bank, rows=1_000, drifted=2.0)
    made = await worker.watch_now()
    assert "points_drifted" in made.alerts
    assert f"input_drifted:{small_models.loaded().manifest.inputs[0].name}" in made.alerts
    old = await owner.execute("update scoring_score set issued_at = issued_at - interval '100 days'")
    assert old
    later: Any = (await worker.watch_now()).figures
    assert (later["recent"], later["stability"]["state"]) == (0, "insufficient_evidence")
    assert later["inputs"] == []


async def test_people_who_share_less_are_no_other_population(bank, owner):
    await monitored.a_year(owner, bank, rows=1_000)
    await monitored.a_year(owner, bank, rows=2_000, shared=frozenset({Category.SHOPPING}))
    made = await worker.watch_now()
    told: Any = made.figures
    assert told["recent"] == 3_000
    assert told["stability"]["state"] == "stable"
    assert "points_drifted" not in made.alerts
    then, now = (sum(told["stability"][part]["counts"]) for part in ("then", "now"))
    assert 200 <= then < 700
    assert 200 <= now < 700


ENDED = "state = 'ended', ended_by = 'person', ended_code = 'withdrawn', ended_at = now()"


@pytest.mark.parametrize("written", [ENDED, "state = 'paused'", "expires_at = now() - interval '1 second'"])
async def test_of_an_ended_consent_nothing_is_read(bank, owner, written):
    scores = await monitored.a_year(owner, bank, rows=300)
    await owner.execute("update scoring_score set set_aside_at = now() where id = any($1)", scores[:100])
    told: Any = (await worker.watch_now()).figures
    assert told["scores"] == 200
    await owner.execute(f"update consent_grant set {written}")
    told = (await worker.watch_now()).figures
    assert (told["scores"], told["ranking"]["rows"], told["inputs"]) == (0, 0, [])
    assert told["groups"] == {"age": [], "region": []}


async def test_where_somebody_lives_is_read_only_where_they_shared_what_they_stated(bank, owner):
    await monitored.a_year(owner, bank, rows=300, shared=world.ALL - {Category.DECLARED})
    told: Any = (await worker.watch_now()).figures
    assert told["groups"]["region"] == []
    assert sum(each["rows"] for each in told["groups"]["age"]) == 300


async def test_too_young_a_book_says_nothing(bank, owner):
    await monitored.a_year(owner, bank, rows=300, matured=False)
    told: Any = (await worker.watch_now()).figures
    assert told["ranking"] == {"rows": 0, "defaults": 0, "evidence": "insufficient_evidence"}
    assert {each["state"] for each in told["calibration"]} == {"insufficient_evidence"}


async def test_however_many_scores_are_newer_what_is_seen_through_is_read(bank, owner, monkeypatch):
    await monitored.a_year(owner, bank, rows=500, days_ago=400)
    await monitored.a_year(owner, bank, rows=200, matured=False)
    monkeypatch.setattr(readings, "MOST_SCORES", 200)
    told: Any = (await worker.watch_now()).figures
    assert told["recent"] == 200
    assert told["ranking"]["rows"] == sum(each["rows"] for each in told["calibration"]) == 400
    assert await owner.fetchval("select sum(loans) from partners_seen_through") > 300


async def test_it_is_done_once_a_day_and_only_where_a_model_is_in_use(ground, owner):
    async def due() -> bool:
        async with open_upkeep(Worker("watchman")) as upkeep:
            return await monitoring.is_due(upkeep)

    assert not await due()
    with pytest.raises(registry.NoModel):
        await worker.watch_now()
    await world.put_model_in_use()
    assert await due()
    assert not await worker.watch_daily()
    assert not await due()
    assert await owner.fetchval("select count(*) from partners_monitoring") == 1
    await worker.watch_daily()
    assert await owner.fetchval("select count(*) from partners_monitoring") == 1
    await owner.execute("update partners_monitoring set made_at = made_at - interval '25 hours'")
    assert await due()


@pytest.mark.parametrize(("given", "kept"), [(600_000, 1), (600_001, 1), (599_999, 0)])
async def test_how_often_a_lender_kept_what_was_asked_for(ground, given, kept):
    await world.put_model_in_use()
    market = await lending.a_market()
    referral = (await market.pick()).referral.id
    today = datetime.now(UTC).date()
    for amount in (1, given):  # the last word counts
        told = Outcome(Decision.APPROVED, today, currency="CNY", approved_minor=amount)
        async with open_act(lending.a_client(market.lender), None) as act:
            await outcomes.report(act, told, About(referral=referral))
    figures: Any = (await worker.watch_now()).figures
    assert figures["honoured"] == {"approved": 1, "kept": kept, "evidence": "insufficient_evidence"}


async def test_the_newest_report_is_that_of_the_model_asked_for(bank, owner):
    await worker.watch_now()
    async with open_view(OFFICER) as view:
        newest = await monitoring.newest(view)
        assert isinstance(newest, Report)
        assert json.dumps(newest.figures)
        assert await monitoring.newest(view, "another") is None


APPROVED = Reported("approved", TODAY - timedelta(days=400), TODAY - timedelta(days=30), defaulted=False)


@pytest.mark.parametrize(
    ("changed", "matured"),
    [
        ({}, True),
        ({"defaulted": True, "observed_until": TODAY - timedelta(days=300)}, True),
        ({"observed_until": TODAY - timedelta(days=35)}, True),
        ({"observed_until": TODAY - timedelta(days=36)}, False),
        ({"observed_until": None}, False),
        ({"defaulted": None}, False),
        ({"decision": "declined"}, False),
        # A default that came early counts once its whole vintage is over, never before the good ones can.
        ({"decided_on": TODAY - timedelta(days=364), "defaulted": True}, False),
        ({"decided_on": TODAY - timedelta(days=365), "observed_until": TODAY}, True),
    ],
)
def test_what_is_seen_through(changed, matured):
    assert replace(APPROVED, **changed).matured(365, TODAY) is matured


# What stays when consents end


def shape(told: Any) -> Any:
    return told["calibration"], [
        {k: v for k, v in each.items() if k != "decided"} for each in told["vintages"]
    ]


async def test_what_was_seen_through_while_consents_were_alive_stays_counted_when_they_end(bank, owner):
    await monitored.a_year(owner, bank)
    first: Any = (await worker.watch_now()).figures
    assert first["left_out"]["uncounted"] == {"given": 900, "over": 0, "share": "0.0000"}
    assert await owner.fetchval("select sum(loans) from partners_seen_through") == 800
    again: Any = (await worker.watch_now()).figures
    assert shape(again) == shape(first)
    await owner.execute(
        f"update consent_grant set {ENDED} where user_id = (select min(user_id::text)::uuid from consent_grant)"
    )
    some: Any = (await worker.watch_now()).figures
    assert 0 < some["ranking"]["rows"] < 800
    assert some["calibration"] == first["calibration"]
    await owner.execute(f"update consent_grant set {ENDED} where state = 'active'")
    last: Any = (await worker.watch_now()).figures
    assert last["calibration"] == first["calibration"]
    matured = [(each["month"], each["matured"], each["defaults"]) for each in first["vintages"]]
    assert [(each["month"], each["matured"], each["defaults"]) for each in last["vintages"]] == matured
    assert last["ranking"]["rows"] == 0
    assert last["left_out"]["scores"] == {"given": 1_000, "over": 1_000, "share": "1.0000"}
    assert last["left_out"]["recent"] == {"given": 1_000, "over": 1_000, "share": "1.0000"}
    assert last["left_out"]["decided"] == {"given": 900, "over": 900, "share": "1.0000"}
    assert last["left_out"]["uncounted"] == {"given": 900, "over": 100, "share": "0.1111"}
    assert await owner.fetchval("select sum(loans) from partners_seen_through") == 800
    assert (await world.kinds(owner)).count("loans_counted") == 1


@pytest.mark.parametrize("written", [ENDED, "state = 'paused'", "expires_at = now() - interval '1 second'"])
async def test_whose_consent_was_over_before_is_never_counted(bank, owner, written):
    await monitored.a_year(owner, bank)
    await owner.execute(f"update consent_grant set {written}")
    told: Any = (await worker.watch_now()).figures
    assert await owner.fetchval("select count(*) from partners_seen_through") == 0
    assert {each["rows"] for each in told["calibration"]} == {0}
    assert told["left_out"]["uncounted"] == {"given": 900, "over": 900, "share": "1.0000"}


async def test_what_is_counted_says_nothing_of_anybody(bank, owner):
    await monitored.a_year(owner, bank)
    await worker.watch_now()
    rows = await owner.fetch("select * from partners_seen_through")
    assert set(rows[0].keys()) == {
        "id",
        "model",
        "month",
        "band",
        "loans",
        "defaults",
        "expected",
        "counted_at",
    }
    assert min(row["loans"] for row in rows) >= 10


async def test_scores_of_who_is_deleted_are_still_missing_in_the_figures(bank, owner):
    person, stays = await world.persons(2)
    for each in (person, stays):
        await world.granted(each, bank)
        await world.scored(bank, each)
    await world.deleted(person)
    told: Any = (await worker.watch_now()).figures
    assert told["scores"] == 1
    assert (
        told["left_out"]["scores"] == told["left_out"]["recent"] == {"given": 2, "over": 1, "share": "0.5000"}
    )
    (gone,) = await owner.fetch("select * from scoring_gone")
    assert set(gone.keys()) == {"model", "issued_on", "scores"}
