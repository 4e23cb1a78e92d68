"""A copy shows everything that is held about a person, opened, and nothing of anybody else."""

import csv
import io
import json
import zipfile

import pytest
from support import canaries, seeds, world

from compliance.act import open_act
from consent import copies, holdings, permits

OF_NO_PART = {
    "compliance_log": "places of the facts, which are shown",
    "compliance_reply": "repeats of answers, forgotten after a day",
    "consent_deletion": "there is none of somebody who can ask",
    "api_authorization": "what a client's software sent; the consent that came of it is shown",
    "api_session": "the evidence of each consent says how one was signed in",
    "scoring_behaviour": "the events that wait, shown with those in files",
    "scoring_prepared": "a note that the features, which are shown, were computed for a consent",
    "scoring_contact_left": "the end of a consent, which is shown, until contacts that count it are hidden",
    "scoring_departure": "the end of a consent, which is shown, until the files of lists follow it",
    "api_link": "likewise",
    "api_password": "likewise; a hash of it is shown to nobody",
}


async def copied(person):
    async with open_act(person, None) as act:
        return await copies.make(act, permits.own_permit(act))


@pytest.fixture
async def planted(database, home):
    async with world.opened(database, home) as here:
        yield await seeds.planted(here)


def test_every_table_about_people_is_a_part_or_says_why_not():
    assert {held.table for held in holdings.declared() if held.part is None} == set(OF_NO_PART)
    parts = [held.part for held in holdings.declared() if held.part]
    assert len(parts) == len(set(parts))


async def test_every_word_that_is_held_is_in_the_copy(planted, owner):
    await seeds.rest_of(planted)
    sealed = ("reference_sealed", "token_hash", "vector", "text_sealed", "answer_sealed")
    words = await canaries.plant(owner, planted.person.user, but=sealed, kept=True)
    shown = {held.table: held.part for held in holdings.declared() if held.part}
    assert {name.split(".")[0] for name in words} >= set(shown) - {
        "compliance_fact",  # sealed, and only added to: read below
        "consent_pseudonym",  # a random id, no words
        "consent_use",  # numbers and days
        "consent_effect",  # states and times, until its recipient has answered
        "scoring_disclosure",  # one of few words, numbers and times
        "scoring_preview",  # needs a consent to look at oneself: see test_previews
        "scoring_review",  # sealed: read below
        "scoring_shadow",  # numbers, where there is a challenger: see test_shadow
    }
    whole = (await copied(planted.person)).as_json().decode()
    hidden = {
        name.split(".")[1]
        for name, word in words.items()
        if name.split(".")[0] in shown and word not in whole
    }
    assert hidden <= copies.HIDDEN


async def test_nobody_of_the_staff_is_named(planted, owner):
    await seeds.rest_of(planted)
    whole = (await copied(planted.person)).as_json().decode()
    assert "stf_" not in whole


async def test_sealed_and_packed_things_are_opened(planted):
    parts = (await copied(planted.person)).parts
    assert parts["who_you_are"][0]["operator_reference"]
    assert {"feature", "category", "unit", "value"} == set(parts["behaviour"][0]["vector"][0])
    assert parts["scores"][0]["vector"]
    assert {row["name"] for row in parts["events"]} == {"filed", "waits"}
    given = [fact for fact in parts["log"] if fact["kind"] == "grant_given"]
    assert given
    assert all(fact["what"]["purpose"] for fact in given)
    assert {name for name, rows in parts.items() if not rows} <= {
        "extensions",
        "reported_outcomes",
        "previews",
        "shadow_scores",
        "population_scores",  # in files, once everybody was scored: see test_population_command
    }


async def test_ids_are_those_that_the_outside_uses(planted):
    copy = await copied(planted.person)
    assert planted.named["grant_id"] in {row["id"] for row in copy.parts["consents"]}
    assert planted.named["score_id"] in {row["id"] for row in copy.parts["scores"]}
    assert planted.named["user"] in {row["id"] for row in copy.parts["names_at_recipients"]}
    assert str(planted.person.user) not in copy.as_json().decode()


async def test_nobody_else_is_in_it(planted):
    [stranger] = await world.persons(1)
    parts = (await copied(stranger)).parts
    assert {name for name, rows in parts.items() if rows} == {"who_you_are", "behaviour"}


async def test_the_tables_hold_the_same_and_run_nothing(planted, owner):
    await owner.execute("set session_replication_role = replica")
    await owner.execute("update partners_application set metric = '=cmd()'")
    copy = await copied(planted.person)
    with zipfile.ZipFile(io.BytesIO(copy.as_tables())) as files:
        read = {name: files.read(name).decode("utf-8-sig") for name in files.namelist()}
    assert set(read) == {f"{part}.csv" for part in copy.parts}
    for part, rows in copy.parts.items():
        assert len(list(csv.DictReader(io.StringIO(read[f"{part}.csv"])))) == len(rows)
    [first, *_] = csv.DictReader(io.StringIO(read["loan_searches.csv"]))
    assert first["metric"] == "'=cmd()"
    assert json.loads(first["wish"])


async def test_a_copy_is_recorded(planted, owner):
    await copied(planted.person)
    assert (await world.kinds(owner, person=planted.person.user))[-1] == "copy_made"


async def test_too_many_rows_are_not_cut_silently(planted, monkeypatch):
    monkeypatch.setattr(copies, "ROWS_MAX", 1)
    with pytest.raises(copies.CopyTooLarge):
        await copied(planted.person)


async def test_the_page_tells_what_is_held_and_gives_it_as_files(planted):
    for language, word in (("en", "Take a copy"), ("zh-CN", "获取一份副本")):
        page = await planted.browser.call("GET", f"/me/data?lang={language}")
        assert page.status_code == 200
        assert word in page.text
    for form, kind in (("json", "application/json"), ("zip", "application/zip")):
        sent = await planted.browser.send_form(f"/me/data/copy/{form}")
        assert sent.status_code == 200
        assert sent.headers["content-type"].startswith(kind)
        assert sent.headers["content-disposition"].startswith("attachment")
        assert sent.headers["cache-control"] == "no-store"
    assert (await planted.browser.send_form("/me/data/copy/exe")).status_code == 404
    told = world.told(await planted.browser.call("GET", "/v1/me/copy"), 200)
    assert set(told["parts"]) == set(copies.parts())
