"""A person deletes everything about themselves: what is left says nothing about them, and the log still holds."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from support import canaries, seeds, world
from support.seeds import Seeds
from support.world import told

from api import auditing, worker
from api.running import Standing
from compliance import database as databases
from compliance import postgres, remains, sequencer
from compliance.database import Database, ground
from compliance.keys import KeyStore

MEANT = {"confirmation": "delete_everything_about_me"}


@pytest.fixture
async def here(database: Database, home: Path) -> Any:
    async with world.opened(database, home) as opened:
        yield opened


@pytest.fixture
def cluster_home() -> Iterator[Path]:
    """A folder that the database's user can enter, on a real disk."""
    home = Path(tempfile.mkdtemp(prefix="xinqiao-"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home)


async def signed_in_again(planted: Seeds) -> Seeds:
    """The sessions that canaries were put into are nobody's any more."""
    return replace(planted, browser=await planted.here.browser(planted.person))


def read(page: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))


async def gone(planted: Seeds) -> str:
    """The person deletes themselves on their page; the address that tells of it."""
    page = await planted.browser.call("GET", "/me/delete?lang=en")
    assert "This cannot be undone" in read(page)
    sent = await planted.browser.send_form("/me/delete", understood="yes")
    assert sent.status_code == 303
    return str(sent.headers["location"])


@pytest.mark.spec("PIPL", "47")
async def test_no_field_of_the_person_is_left_in_any_row(here: Any, owner: Any, home: Path) -> None:
    planted = await seeds.planted(here)
    await seeds.rest_of(planted)
    words = await canaries.plant(owner, planted.person.user)
    assert {name.split(".")[0] for name in words} >= {
        "consent_person",
        "consent_grant",
        "consent_receipt",
        "consent_extension",
        "scoring_feature",
        "scoring_score",
        "partners_application",
        "partners_offer",
        "partners_referral",
        "partners_referral_step",
        "partners_outcome",
        "api_session",
    }
    assert await canaries.in_rows(owner, list(words.values()))
    await gone(await signed_in_again(planted))
    # Sessions are over at once; their rows go with the next round of the worker.
    assert await canaries.in_rows(owner, list(words.values())) <= {"api_session", "api_link"}
    assert (await planted.browser.call("GET", "/v1/me/grants")).status_code == 401
    assert await worker.finish_deletions()
    assert await canaries.in_rows(owner, list(words.values())) == set()
    assert (
        await owner.fetchval("select born_on from consent_person where id = $1", planted.person.user) is None
    )
    assert not await ground().key_store.sealers([planted.person.user])


async def test_everybody_is_told_what_they_need_to_know(here: Any) -> None:
    planted = await seeds.planted(here)
    after = await gone(planted)
    number, named, bank = after.rsplit("/", maxsplit=1)[1], planted.named, planted.bank
    for path in (f"/v1/scores/{named['score_id']}",):
        assert told(await bank.call("GET", path), 410)["code"] == "erased"
    state = await bank.call("POST", f"/v1/referrals/{named['referral_id']}/status", {"state": "in_review"})
    assert told(state, 410)["code"] == "erased"
    asked = await bank.call("POST", "/v1/scores", planted.bodies()["POST /v1/scores"])
    assert told(asked, 403)["code"] == "consent_withdrawn"
    assert told(await planted.other_bank.call("GET", f"/v1/scores/{named['score_id']}"), 404)
    listed = told(await bank.call("GET", "/v1/withdrawals"), 200)["items"]
    assert named["grant_id"] in {item["grant_id"] for item in listed}
    recalled = told(await bank.call("GET", f"/v1/prescreens/{named['prescreen_id']}/recalls"), 200)
    assert [item["reason"] for item in recalled["items"]] == ["withdrawn"]
    signed = bank.attestation(named["grant_id"], outcome="purged")
    path = f"/v1/withdrawals/{named['grant_id']}/attestation"
    told(await bank.call("POST", path, {"outcome": "purged", "attestation": signed}), 200)
    for language, done in (("en", "your data are deleted"), ("zh-CN", "已签名确认删除您的数据")):
        page = await here.http.get(f"{after}?lang={language}")
        assert page.status_code == 200
        assert done in read(page)
    shown = told(await here.http.get(f"/v1/deletions/{number}"), 200)
    assert "purged" in {answer["state"] for answer in shown["recipients"]}
    assert "finished_at" not in shown
    await worker.finish_deletions()
    assert told(await here.http.get(f"/v1/deletions/{number}"), 200)["finished_at"]
    saved = await here.http.get(f"{after}/certificate")
    assert saved.text == shown["certificate"]


async def test_the_log_still_holds_and_a_replay_says_erased(here: Any, database: Database) -> None:
    planted = await seeds.planted(here)
    await gone(planted)
    await worker.finish_deletions()
    await sequencer.sequence()
    await sequencer.publish()
    report = await auditing.checked(Standing(replace(here.settings), database), None)
    assert report.whole, report.findings
    assert report.erased > 0


async def test_without_the_tick_nothing_is_deleted(here: Any, owner: Any) -> None:
    planted = await seeds.planted(here)
    sent = await planted.browser.send_form("/me/delete")
    assert sent.status_code == 422
    for body in ({}, {"confirmation": "yes"}, {"confirmation": True}, MEANT | {"more": 1}):
        assert (await planted.browser.call("POST", "/v1/me/deletion", body)).status_code == 422
    assert (
        await owner.fetchval("select count(*) from consent_deletion where user_id = $1", planted.person.user)
        == 0
    )


async def test_a_stolen_session_deletes_and_copies_nothing(here: Any, owner: Any) -> None:
    """Both need a sign-in of the last five minutes, and say so before anything else."""
    planted = await seeds.planted(here)
    await owner.execute("update api_session set signed_in_at = now() - interval '6 minutes'")
    refused = await planted.browser.call("POST", "/v1/me/deletion", MEANT)
    assert told(refused, 403)["code"] == "sign_in_again"
    assert told(await planted.browser.call("GET", "/v1/me/copy"), 403)["code"] == "sign_in_again"
    for path in ("/me/delete", "/me/data/copy/json"):
        sent = await planted.browser.send_form(path, understood="yes")
        assert sent.status_code == 403
    assert told(await planted.browser.call("GET", "/v1/me/grants"), 200)["items"]


async def test_every_session_ends_and_a_second_deletion_finds_nobody(here: Any) -> None:
    planted = await seeds.planted(here)
    phone = await here.browser(planted.person)
    answer = told(await planted.browser.call("POST", "/v1/me/deletion", MEANT), 200)
    assert answer["id"].startswith("del_")
    for browser in (phone, planted.browser):
        assert (await browser.call("POST", "/v1/me/deletion", MEANT)).status_code == 401
    another = answer["id"][:-1] + ("x" if answer["id"][-1] != "x" else "y")
    assert (await here.http.get(f"/deleted/{another}")).status_code == 404


async def test_pressed_twice_at_once_both_lead_to_the_same_page(here: Any) -> None:
    planted = await seeds.planted(here)
    sent = await asyncio.gather(
        *(planted.browser.send_form("/me/delete", understood="yes") for _ in range(2))
    )
    assert [answer.status_code for answer in sent] == [303, 303]
    assert sent[0].headers["location"] == sent[1].headers["location"]


async def test_what_cannot_be_finished_at_once_is_no_failure(here: Any, monkeypatch: Any) -> None:
    planted = await seeds.planted(here)

    async def fails(_: Any, __: Any) -> None:
        raise OSError("the key store is down")

    with monkeypatch.context() as down:
        down.setattr(KeyStore, "erase", fails)
        assert (await gone(planted)).startswith("/deleted/del_")
        assert await ground().key_store.sealers([planted.person.user])
    await worker.finish_deletions()
    assert not await ground().key_store.sealers([planted.person.user])


async def test_an_owner_who_is_no_superuser_does_as_well(database: Database, owner: Any, home: Path) -> None:
    """All that the owner of the database needs is to make roles and databases; forced walls hold it too."""
    name = f"xinqiao_plain_{os.getpid()}"
    plain = replace(database, name=name, owner=name, owner_password="plain", key_store_name=f"{name}_keys")
    await owner.execute(f"create role {name} login createrole createdb password 'plain'")
    try:
        await databases.prepare(plain)
        async with world.opened(plain, home) as there:
            planted = await seeds.planted(there)
            after = await gone(planted)
            assert (await there.http.get(after)).status_code == 200
            size = (await there.http.get("/v1/log/checkpoint")).text.splitlines()[1]
            leaves = await planted.console.call("GET", f"/v1/log/tile/entries/000.p/{size}")
            assert (leaves.status_code, b"commitment" in leaves.content) == (200, True)
            count = told(await planted.other_browser.call("GET", "/v1/me/log/completeness"), 200)
            assert count["state"] == "none"
    finally:
        admin = await asyncpg.connect(**database.as_owner("postgres"))
        for made in (name, f"{name}_keys"):
            await admin.execute(f"drop database if exists {made} with (force)")
        await admin.execute(f"drop role {name}")
        await admin.close()


@pytest.mark.check
async def test_nothing_is_left_on_the_disk(cluster_home: Path) -> None:
    """In the files of a database that keeps everything: rows, indexes, statistics, write-ahead log, wrapped keys."""
    home = cluster_home
    with postgres.running(home) as sockets:
        database = databases.embedded(sockets)
        await databases.prepare(database)
        async with world.opened(database, home) as here:
            planted = await seeds.planted(here)
            await seeds.rest_of(planted)
            await seeds.behaved(planted.person, "canarybehaved77")
            owner = await asyncpg.connect(**database.as_owner())
            store = await asyncpg.connect(**database.as_owner(database.key_store_name))
            person = planted.person.user
            wrapped = await store.fetchval("select wrapped from person_key where person = $1", person)
            words = await canaries.plant(owner, person)
            secret = [*(word.encode() for word in words.values()), b"canarybehaved77", wrapped]
            await owner.execute("analyze")
            await owner.execute("checkpoint")
            assert canaries.in_files(home / "data", secret[:-1])
            assert canaries.in_files(home / "data", secret[-1:])
            assert canaries.in_files(home / "behaviour", secret)
            await gone(await signed_in_again(planted))
            await worker.finish_deletions()
            await owner.close()
            await store.close()
        steps = [step async for step in remains.rewrite(database)]
        assert all(done for _, done in steps), steps
        assert canaries.in_files(home, secret) == set()
