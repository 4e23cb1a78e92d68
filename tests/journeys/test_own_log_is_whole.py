"""A person sees how many entries there are about them, takes the proof away, and is told when one was cut out."""

import json
import re

import pytest
from support import lending, web_site
from support.web_site import Site

from api import auditing, worker
from compliance import ids
from compliance.database import ground
from compliance.log import LogKey
from compliance.vocabulary import Language, StaffRole

CONSENTS = 3
CUT = """
with gone as (
    delete from compliance_log where person = $1 and person_seq = (
        select max(person_seq) from compliance_log join compliance_person_map on leaf_index < size where person = $1)
    returning fact)
delete from compliance_fact using gone where id = gone.fact
"""


@pytest.fixture
async def site(home, database):
    async with web_site.site(home, database) as made:
        yield made


async def counted(site: Site) -> None:
    """What the worker does on a day: sequence, sign, count, and sign again."""
    await web_site.log_everything()
    while await worker.map_people():
        pass
    await web_site.log_everything()


async def test_a_person_checks_that_nothing_was_left_out(site, owner, tmp_path):
    person = await lending.a_person()
    me = await site.person(person)
    await me.look("/me/log")
    assert "They have not been counted yet" in me.text
    assert (await me.look("/v1/me/log/completeness")).json()["state"] == "none"
    unavailable = await me.look("/me/log/proof")
    assert unavailable.status_code == 409

    for number in range(CONSENTS):
        await site.ask(await lending.a_lender(f"bank-{number}"), person)
    await counted(site)
    said = (await me.look("/v1/me/log/completeness")).json()
    assert said["state"] == "verified"
    assert said["counted"] == said["listed"] >= CONSENTS
    await me.look("/me/log")
    assert f": {said['counted']}. This list, with its older pages, shows every one" in me.text
    assert "Added after that" not in me.text
    await site.ask(await lending.a_lender("alpha"), person)
    await me.look("/me/log")
    assert "Added after that: 1." in me.text

    proof = await me.look("/me/log/proof")
    assert re.fullmatch(
        r'attachment; filename="xinqiao-log-\d{8}\.json"', proof.headers["content-disposition"]
    )
    file, key = tmp_path / "proof.json", tmp_path / "key.txt"
    file.write_bytes(proof.content)
    key.write_text((await me.look("/v1/log/key")).text)
    assert auditing.verify_person([file], key) == 0
    shown = {entry["fact"] for entry in json.loads(file.read_text())["entries"]}
    listed = set(re.findall(r"/me/facts/(fct_\w+)", (await me.look("/me/log")).text))
    assert shown < listed
    assert key.read_text().strip() == str(LogKey(ground().origin, ground().keyring.log_public_bytes()))


async def test_a_cut_entry_is_said_in_both_languages_and_staff_see_it(site, owner):
    lender, person = await lending.a_lender("alpha"), await lending.a_person()
    me = await site.person(person)
    await site.ask(lender, person)
    await counted(site)
    await owner.execute("set session_replication_role = replica")
    await owner.execute(CUT, person.user)
    told = {Language.EN: "may be missing or changed", Language.ZH_CN: "可能有记录缺失或被改动"}
    for language, words in told.items():
        await me.look("/me/log", language)
        assert words in me.text
        assert re.search(r'<p class="stop" role="alert">', me.page.text)
    assert (await me.look("/v1/me/log/completeness")).json()["state"] == "failed"
    officer = await site.staff(StaffRole.COMPLIANCE_OFFICER)
    await officer.look("/compliance?kind=own_log_incomplete")
    assert officer.text.count("A list of entries did not agree with the signed count") >= len(told) + 1
    assert str(person.user) not in officer.page.text
    assert ids.public("usr", person.user) not in officer.page.text
