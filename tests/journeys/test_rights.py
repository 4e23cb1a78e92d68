"""A person disputes, asks for a human, objects; staff answer on their pages; the bank is told; all of it is recorded."""

import re
from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg
import pytest
from support import small_models, world
from support.world import ALL, LISTING, SCORING, Browser, Software, World, told

from api import worker
from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import Category, Person, StaffRole
from consent import copies, disputes, permits, statements
from scoring import population

NONE = {
    "dsp": f"dsp_{'0' * 26}",
    "rvw": f"rvw_{'0' * 26}",
    "scr": f"scr_{'0' * 26}",
    "fct": f"fct_{'0' * 26}",
}
WHY = "I never bought these things.\nSomebody used my phone."
REASON = "Answering the request of this person"
ANSWER = "We compared the orders with the shop's own records."


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        await world.put_model_in_use()
        await world.open_channel()
        yield opened


class Case:
    """A bank, a person with a consent, and a score that the bank was given."""

    def __init__(self, here: World, bank: Software, person: Person, me: Browser, user: str) -> None:
        self.here, self.bank, self.person, self.me, self.user = here, bank, person, me, user

    async def score(self, key: str | None = None, status: int = 201) -> dict:
        body = {"user": self.user, "purpose": "credit_assessment", "categories": sorted(ALL)}
        return told(await self.bank.call("POST", "/v1/scores", body, key=key), status)

    async def seen(self, score: dict, status: int = 200) -> dict:
        return told(await self.bank.call("GET", f"/v1/scores/{score['id']}"), status)

    async def dispute(self, status: int = 201, **body: str) -> dict:
        return told(await self.me.call("POST", "/v1/me/disputes", {"text": WHY} | body), status)

    async def review(self, status: int = 201, **body: str) -> dict:
        return told(await self.me.call("POST", "/v1/me/reviews", body), status)


@pytest.fixture
async def case(here) -> Case:
    bank = await here.software()
    (person,) = await world.persons(1)
    await world.granted(person, bank.client)
    user = await world.pseudonym_of(person, bank.client)
    return Case(here, bank, person, await here.browser(person), user)


async def answer(console: Browser, path: str, said: str, text: str = ANSWER) -> int:
    """Staff open one of a queue with a reason, and answer it."""
    opened = await console.send_form(path, reason=REASON)
    assert opened.status_code == 200, opened.text
    return (await console.send_form(f"{path}/answer", answer=said, text=text, reason=REASON)).status_code


async def data_come_in(person: Person, cut_off: timedelta) -> None:
    """Data come in for a person that were cut off so long from now."""
    matrix, _ = small_models.people()
    row = world.rich_rows()[0]
    async with open_act(world.STORY, None) as act:
        part = replace(
            matrix,
            users=(str(person.user),),
            cutoffs=(act.now + cut_off,),
            values=matrix.values[[row]],
            events={c: v[[row]] for c, v in matrix.events.items()},
            active_days={c: v[[row]] for c, v in matrix.active_days.items()},
        )
        await population.store(act, small_models.loaded(), part, (person.user,), (world.ORDINARY,))


async def renewed(person: Person) -> None:
    """What was found wrong is out of this person's features, and other data stand in its place."""
    async with open_act(world.STORY, None) as act:
        await disputes.note_renewed(act, await disputes.found_wrong(act, [person.user]))


async def test_a_disputed_kind_of_data_is_marked_at_once_and_upheld(case: Case, owner) -> None:
    before = await case.score()
    assert "disputed" not in before
    raised = await case.dispute(category="declared")
    due = datetime.fromisoformat(raised["due_at"]) - datetime.fromisoformat(raised["raised_at"])
    assert (raised["state"], raised["about"], due) == ("open", "category", timedelta(days=20))
    assert (await case.seen(before))["disputed"] is True
    marked = await case.score()
    assert marked["disputed"] is True
    assert (await case.dispute(409, category="declared"))["code"] == "dispute_open"
    assert all(s["disputed"] for s in told(await case.me.call("GET", "/v1/me/scores"), 200)["items"])

    console = await case.here.console(StaffRole.COMPLIANCE_OFFICER)
    queue = (await console.call("GET", "/compliance/disputes")).text
    assert (raised["id"] in queue, "never bought" in queue) == (True, False)
    path = f"/compliance/disputes/{raised['id']}"
    assert (await console.send_form(path, reason="short")).status_code == 422
    assert WHY.split("\n", maxsplit=1)[0] in (await console.send_form(path, reason=REASON)).text
    assert await answer(console, path, "uphold") == 303

    mine = told(await case.me.call("GET", f"/v1/me/disputes/{raised['id']}"), 200)
    assert (mine["state"], mine["text"], mine["answer"]) == ("upheld", WHY, ANSWER)
    assert mine["correction"] == "ordered"
    for score in (before, marked):
        assert (await case.seen(score, 410))["code"] == "score_set_aside"
    without = await case.score()
    assert "disputed" not in without
    assert without["coverage"]["used"] == sorted(ALL - {Category.DECLARED})
    async with open_act(world.STORY, LISTING) as act:
        everybody = await permits.population_permit(act, SCORING, case.bank.client.partner, act.now)
    assert everybody.masks[case.person.user] == ALL - {Category.DECLARED}
    await data_come_in(case.person, timedelta(seconds=1))
    assert Category.DECLARED not in (await case.score())["coverage"]["used"]
    await renewed(case.person)
    assert (await case.score())["coverage"]["used"] == sorted(ALL)
    assert told(await case.me.call("GET", "/v1/me/disputes"), 200)["items"][0]["correction"] == "applied"
    kinds = await world.kinds(owner, person=case.person.user)
    for kind in ("dispute_opened", "staff_looked", "dispute_read", "dispute_upheld", "correction_ordered"):
        assert kind in kinds
    assert kinds.count("score_set_aside") == 2
    assert kinds.count("correction_applied") == 1


async def test_a_score_in_dispute_marks_what_that_bank_gets_and_no_other(case: Case) -> None:
    other = await case.here.software("beta")
    await world.granted(case.person, other.client)
    user = await world.pseudonym_of(case.person, other.client)
    score = await case.score()
    raised = await case.dispute(score=score["id"])
    assert (await case.score())["disputed"] is True
    body = {"user": user, "purpose": "credit_assessment", "categories": sorted(ALL)}
    assert "disputed" not in told(await other.call("POST", "/v1/scores", body), 201)
    console = await case.here.console(StaffRole.COMPLIANCE_OFFICER)
    path = f"/compliance/disputes/{raised['id']}"
    assert await answer(console, path, "reject", "short") == 422
    assert await answer(console, path, "maybe") == 422
    unreasoned = await console.send_form(f"{path}/answer", answer="reject", text=ANSWER)
    assert unreasoned.status_code == 422
    assert await answer(console, path, "reject") == 303
    assert await answer(console, path, "uphold") == 409
    assert "disputed" not in await case.seen(score)
    assert told(await case.me.call("GET", f"/v1/me/disputes/{raised['id']}"), 200)["state"] == "rejected"
    withdraw = f"/v1/me/disputes/{raised['id']}/withdraw"
    assert told(await case.me.call("POST", withdraw), 409)["code"] == "dispute_settled"


async def test_a_dispute_can_be_taken_back_and_raised_anew(case: Case, owner) -> None:
    score = await case.score()
    entry = await case.dispute(fact=score["fact_id"])
    assert (entry["about"], entry["fact"]) == ("fact", score["fact_id"])
    assert "disputed" not in await case.seen(score)
    for _ in range(2):
        back = told(await case.me.call("POST", f"/v1/me/disputes/{entry['id']}/withdraw"), 200)
        assert back["state"] == "withdrawn"
    assert (await case.dispute(fact=score["fact_id"]))["id"] != entry["id"]
    with pytest.raises(asyncpg.PostgresError, match="stays so"):
        await owner.execute(
            "update consent_dispute set state = 'open', closed_at = null where state = 'withdrawn'"
        )


async def test_what_is_sealed_is_not_in_the_tables(case: Case, owner) -> None:
    score = await case.score()
    await case.dispute(category="declared")
    await case.review(score=score["id"], text=WHY)
    for table in ("consent_dispute", "scoring_review"):
        (row,) = await owner.fetch(f"select * from {table}")
        assert not any(b"never bought" in v for v in row.values() if isinstance(v, bytes))
        assert row["text_sealed"]


BAD = [
    ({"category": "declared", "text": ""}, 422),
    ({"category": "declared", "text": "  \n "}, 422),
    ({"category": "declared", "text": "x" * 1_001}, 422),
    ({"category": "declared", "text": "a\x00b"}, 422),
    ({"category": "declared", "text": "a\u202eb"}, 422),
    ({"category": "gossip", "text": WHY}, 422),
    ({"text": WHY}, 422),
    ({"text": WHY, "category": "declared", "fact": NONE["fct"]}, 422),
    ({"text": WHY, "fact": NONE["fct"]}, 404),
    ({"text": WHY, "score": NONE["scr"]}, 404),
    ({"text": WHY, "score": "gnt_x"}, 404),
    ({"text": WHY, "category": "declared", "state": "upheld"}, 422),
]


async def test_what_is_no_dispute_is_refused(case: Case, owner) -> None:
    for body, status in BAD:
        answer = await case.me.call("POST", "/v1/me/disputes", body)
        assert answer.status_code == status, (body, answer.text)
    assert await owner.fetchval("select count(*) from consent_dispute") == 0
    assert (await case.dispute(category="declared", text="字" * 1_000))["state"] == "open"


async def test_nobody_reaches_what_is_anothers(case: Case, owner) -> None:
    score = await case.score()
    raised, asked = await case.dispute(category="declared"), await case.review(score=score["id"])
    (stranger,) = await world.persons(1)
    them = await case.here.browser(stranger)
    gets = [
        f"/v1/me/disputes/{raised['id']}",
        f"/v1/me/reviews/{asked['id']}",
        f"/v1/me/scores/{score['id']}",
    ]
    for path in [*gets, *(path.removeprefix("/v1") for path in gets)]:
        assert (await them.call("GET", path)).status_code == 404, path
        assert (await case.me.call("GET", path)).status_code == 200, path
    bodies = [{"text": WHY, "score": score["id"]}, {"text": WHY, "fact": score["fact_id"]}]
    for body in bodies:
        told(await them.call("POST", "/v1/me/disputes", body), 404)
    told(await them.call("POST", "/v1/me/reviews", {"score": score["id"]}), 404)
    told(await them.call("POST", f"/v1/me/disputes/{raised['id']}/withdraw"), 404)
    assert told(await them.call("GET", "/v1/me/disputes"), 200) == {"items": []}
    assert told(await them.call("GET", "/v1/me/reviews"), 200) == {"items": []}


async def test_the_wrong_role_opens_no_queue(case: Case) -> None:
    score = await case.score()
    raised, asked = await case.dispute(category="declared"), await case.review(score=score["id"])
    right = {"disputes": StaffRole.COMPLIANCE_OFFICER, "reviews": StaffRole.RISK_OFFICER}
    for role in StaffRole:
        console = await case.here.console(role)
        for queue, one in (("disputes", raised), ("reviews", asked)):
            path = f"/compliance/{queue}"
            status = 200 if right[queue] is role else 403
            assert (await console.call("GET", path)).status_code == status
            assert (await console.call("GET", f"{path}/{one['id']}")).status_code == status
            if status == 403:
                assert (await console.send_form(f"{path}/{one['id']}", reason=REASON)).status_code == 403
                sent = await console.send_form(f"{path}/{one['id']}/answer", answer="uphold", text=ANSWER)
                assert sent.status_code == 403
    assert (await case.me.call("GET", "/compliance/disputes")).status_code in (401, 403)


async def test_a_score_that_a_person_set_aside_is_gone_for_the_bank(case: Case, owner) -> None:
    score = await case.score(key="first")
    asked = await case.review(score=score["id"], text=WHY)
    due = datetime.fromisoformat(asked["due_at"]) - datetime.fromisoformat(asked["asked_at"])
    assert (asked["state"], due) == ("open", timedelta(days=15))
    assert (await case.review(409, score=score["id"]))["code"] == "review_exists"
    console = await case.here.console(StaffRole.RISK_OFFICER)
    path = f"/compliance/reviews/{asked['id']}"
    assert asked["id"] in (await console.call("GET", "/compliance/reviews")).text
    opened = await console.send_form(path, reason=REASON)
    assert str(score["points"]) in opened.text
    assert WHY.split("\n", maxsplit=1)[0] in opened.text
    assert await answer(console, path, "set_aside") == 303
    assert await answer(console, path, "confirm") == 409

    assert (await case.seen(score, 410))["code"] == "score_set_aside"
    assert (await case.score("first", 410))["code"] == "score_set_aside"
    mine = told(await case.me.call("GET", f"/v1/me/reviews/{asked['id']}"), 200)
    assert (mine["state"], mine["answer"], mine["text"]) == ("set_aside", ANSWER, WHY)
    own = told(await case.me.call("GET", f"/v1/me/scores/{score['id']}?lang=en"), 200)
    assert own["set_aside_at"]
    assert own["review_id"] == asked["id"]
    assert (await case.review(409, score=score["id"]))["code"] == "review_exists"
    assert (await case.score())["points"] == score["points"]
    kinds = await world.kinds(owner, person=case.person.user)
    steps = ["review_requested", "staff_looked", "review_read", "review_set_aside", "score_set_aside"]
    assert [kind for kind in dict.fromkeys(kinds) if kind in steps] == steps


async def test_a_confirmed_score_stands(case: Case) -> None:
    score = await case.score()
    asked = await case.review(score=score["id"])
    console = await case.here.console(StaffRole.RISK_OFFICER)
    assert await answer(console, f"/compliance/reviews/{asked['id']}", "confirm") == 303
    assert await case.seen(score) == score
    assert told(await case.me.call("GET", "/v1/me/reviews"), 200)["items"][0]["state"] == "confirmed"


async def test_an_earlier_answer_is_repeated_only_while_it_tells_the_whole(case: Case) -> None:
    first = await case.score("one")
    assert await case.score("one") == first
    raised = await case.dispute(category="declared")
    assert (await case.score("one", 409))["code"] == "answer_outdated"
    told(await case.me.call("POST", f"/v1/me/disputes/{raised['id']}/withdraw"), 200)
    assert await case.score("one") == first
    told(await case.me.call("POST", "/v1/me/objections", {"automated_decisions": True}), 200)
    assert (await case.score("one", 409))["code"] == "answer_outdated"


async def test_an_objection_to_automated_decisions_is_told_and_takes_off_lists(case: Case, owner) -> None:
    score = await case.score()
    await world.granted(case.person, case.bank.client, LISTING)
    await world.list_wanted(case.bank.client)
    await world.list_made()
    assert await owner.fetchval("select count(*) from partners_entry where recalled_at is null") == 1
    said = told(await case.me.call("POST", "/v1/me/objections", {"automated_decisions": True}), 200)
    assert said == {"lists": False, "automated_decisions": True}
    assert (await case.seen(score))["automated_decision"] == "objected"
    marked = await case.score()
    assert marked["automated_decision"] == "objected"
    assert "objected" in (await case.me.call("GET", f"/me/facts/{marked['fact_id']}")).text
    assert await owner.fetchval("select recall_reason from partners_entry") == "objected"
    async with open_act(world.STORY, LISTING) as act:
        everybody = await permits.population_permit(act, LISTING, case.bank.client.partner, act.now)
    assert everybody.grants == {}
    await world.list_wanted(case.bank.client)
    await world.list_made()
    assert await owner.fetchval("select count(*) from partners_entry where recalled_at is null") == 0
    back = told(await case.me.call("POST", "/v1/me/objections", {"automated_decisions": False}), 200)
    assert back == told(await case.me.call("GET", "/v1/me/objections"), 200)
    assert "automated_decision" not in await case.seen(score)
    await world.list_wanted(case.bank.client)
    await world.list_made()
    assert await owner.fetchval("select count(*) from partners_entry where recalled_at is null") == 1
    told(await case.me.call("POST", "/v1/me/objections", {}), 422)


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_another_officer_lifts_what_was_upheld_in_error_and_the_person_reads_why(
    case: Case, owner: asyncpg.Connection, language: str
) -> None:
    raised = await case.dispute(category="shopping")
    path, lang = f"/compliance/disputes/{raised['id']}", f"?lang={language}"
    console = await case.here.console(StaffRole.COMPLIANCE_OFFICER)
    assert await answer(console, path, "uphold") == 303
    held = (await console.call("GET", f"/compliance/disputes{lang}")).text
    assert path in held
    opened = await console.send_form(path + lang, reason=REASON)
    assert f'action="{path}/lift"' in opened.text
    why = "The shop showed us the signed receipt."
    assert (await console.send_form(f"{path}/lift", text=why, reason=REASON)).status_code == 409
    colleague = await case.here.console(StaffRole.COMPLIANCE_OFFICER, "Zhao")
    assert (await colleague.send_form(f"{path}/lift", text="short", reason=REASON)).status_code == 422
    assert (await colleague.send_form(f"{path}/lift", text=why, reason="")).status_code == 422
    assert (await colleague.send_form(f"{path}/lift", text=why, reason=REASON)).status_code == 303
    assert (await colleague.send_form(f"{path}/lift", text=why, reason=REASON)).status_code == 409
    assert path not in (await colleague.call("GET", f"/compliance/disputes{lang}")).text
    assert why in (await colleague.send_form(path + lang, reason=REASON)).text
    mine = told(await case.me.call("GET", f"/v1/me/disputes/{raised['id']}"), 200)
    assert (mine["state"], mine["correction"], mine["lifted"]) == ("upheld", "lifted", why)
    page = await case.me.call("GET", f"/me/disputes/{raised['id']}{lang}")
    assert why in page.text
    assert "Zhao" not in page.text
    async with open_act(case.person, None) as act:
        copy = await copies.make(act, permits.own_permit(act))
    assert copy.parts["disputes"][0]["lifted_by"] == StaffRole.COMPLIANCE_OFFICER
    assert "stf_" not in copy.as_json().decode()
    assert "hold_lifted" in await world.kinds(owner, person=case.person.user)
    assert (await case.me.call("GET", f"/me/log{lang}")).status_code == 200
    for other in (StaffRole.RISK_OFFICER, StaffRole.AUDITOR):
        stranger = await case.here.console(other)
        assert (await stranger.send_form(f"{path}/lift", text=why, reason=REASON)).status_code == 403


async def test_a_late_answer_is_recorded_once(case: Case, owner) -> None:
    score = await case.score()
    raised, asked = await case.dispute(category="declared"), await case.review(score=score["id"])
    assert not await worker.note_late_answers()
    for table in ("consent_dispute", "scoring_review"):
        await owner.execute(f"update {table} set due_at = now() - interval '1 minute'")
    assert await worker.note_late_answers()
    assert not await worker.note_late_answers()
    kinds = await world.kinds(owner, person=case.person.user)
    assert (kinds.count("dispute_overdue"), kinds.count("review_overdue")) == (1, 1)
    assert told(await case.me.call("GET", f"/v1/me/disputes/{raised['id']}"), 200)["overdue"] is True
    assert told(await case.me.call("GET", f"/v1/me/reviews/{asked['id']}"), 200)["overdue"] is True
    page = await case.me.call("GET", "/me/rights?lang=en")
    assert page.text.count("Answer overdue") == 2
    console = await case.here.console(StaffRole.COMPLIANCE_OFFICER)
    assert "Answer overdue" in (await console.call("GET", "/compliance/disputes?lang=en")).text


async def test_one_person_has_twenty_open_disputes_at_most(case: Case, owner) -> None:
    facts = await owner.fetch("select id from compliance_fact where person = $1", case.person.user)
    for _ in range(disputes.OPEN_MAX - len(facts)):
        await case.score()
    facts = await owner.fetch("select id from compliance_fact where person = $1", case.person.user)
    for row in facts[: disputes.OPEN_MAX]:
        await case.dispute(fact=ids.public("fct", row["id"]))
    assert (await case.dispute(409, category="declared"))["code"] == "too_many_disputes"


async def test_a_partner_reads_no_words_and_nothing_of_others(case: Case) -> None:
    other = await case.here.software("beta")
    await case.dispute(category="declared")
    read = "select category, state from consent_dispute"
    async with open_act(case.bank.client, None) as act:
        assert len(await act.db.execute_query_dict(read)) == 1
        act.record("probe", {})
    async with open_act(other.client, None) as act:
        assert await act.db.execute_query_dict(read) == []
        act.record("probe", {})
    with pytest.raises(Exception, match="permission denied"):
        async with open_act(case.bank.client, None) as act:
            await act.db.execute_query_dict("select text_sealed from consent_dispute")


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_the_pages_lead_through_each_right(case: Case, language: str) -> None:
    score = await case.score()
    lang = f"?lang={language}"
    rights = (await case.me.call("GET", f"/me/rights{lang}")).text
    for link in ("/me/log", "/me/data", "/me/scores", "/me/disputes/new", "/me/delete", "/me"):
        assert f'href="{link}"' in rights
    assert 'href="/me/rights"' in (await case.me.call("GET", f"/me{lang}")).text
    new = (await case.me.call("GET", f"/me/disputes/new{lang}")).text
    assert new.count("<option") == len(Category) + 1
    entry = await case.me.call("GET", f"/me/disputes/new{lang}&fact={score['fact_id']}")
    assert score["fact_id"] in entry.text

    sent = await case.me.send_form("/me/disputes", category="declared", text="甲\r\n乙")
    assert sent.status_code == 303
    page = await case.me.call("GET", sent.headers["location"] + lang)
    assert "甲\n乙" in page.text
    assert (await case.me.send_form("/me/disputes", category="declared", text=WHY)).status_code == 409
    for bad in ("", "x" * 1_001, "a\x00b"):
        assert (await case.me.send_form("/me/disputes", category="shopping", text=bad)).status_code == 422
    one = (await case.me.call("GET", f"/me/scores/{score['id']}{lang}")).text
    assert f'href="/me/disputes/new?score={score["id"]}"' in one
    asked = await case.me.send_form(f"/me/scores/{score['id']}/review", text="")
    assert asked.status_code == 303
    assert (await case.me.call("GET", asked.headers["location"] + lang)).status_code == 200
    for to in ("lists", "automation"):
        assert (await case.me.send_form("/me/objections", to=to, answer="object")).status_code == 303
    assert (await case.me.send_form("/me/objections", to="all", answer="object")).status_code == 422
    after = (await case.me.call("GET", f"/me/rights{lang}")).text
    assert after.count('value="clear"') == 2
    ids_seen = re.findall(r'href="/me/(?:disputes|reviews)/((?:dsp|rvw)_\w+)"', after)
    assert len(ids_seen) == 2


def test_a_statement_is_plain_text_of_a_bounded_length() -> None:
    assert statements.checked(" 甲\r\n乙 ") == "甲\n乙"
    assert statements.checked("x" * statements.LENGTH_MAX)
    for bad in ("", " ", "x" * (statements.LENGTH_MAX + 1), "a\ud800", "a\tb\x00", "\u202eabc"):
        with pytest.raises(statements.Unacceptable):
            statements.checked(bad)
