"""An income, from permit to stored row: released by the one gate, recorded, repeatable, silent about what was refused."""

import json
import subprocess
import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from support import small_incomes, small_models, world
from support.world import ALL, told

from api import auditing
from api.running import Standing
from api.settings import Settings
from api.v1 import incomes as wire
from compliance import database as databases
from compliance import facts, ids
from compliance.act import open_act
from compliance.vocabulary import OFFERED, Category, PartnerKind, Purpose
from consent import disputes, permits
from consent.permits import ConsentMissing, ConsentWithdrawn
from scoring import registry, training
from scoring.answers import corrections, given, incomes
from scoring.answers.income import IncomeModel
from scoring.registry import NoModel, NotPromotable
from scoring.release import NoLawfulChannel
from scoring.scorer import InsufficientEvidence
from scoring.showing import ScoreSetAside

INCOME = Purpose.INCOME_ESTIMATE
DEVICE = frozenset({Category.DEVICE_USAGE})
RANDOM = {"id", "grant_id", "issued_at", "valid_until", "fact_id", "fact_promise"}


@pytest.fixture
async def bank(ground):
    await world.put_model_in_use()
    await world.put_income_model_in_use()
    await world.open_channel()
    return await world.a_bank()


async def asked(bank, person, wanted=ALL, recipient=None):
    async with open_act(bank, INCOME) as act:
        released = await incomes.issue(act, person.user, wanted, recipient=recipient)
        return released.value.row, await wire.view(act, released)


async def test_it_is_what_the_model_says_of_what_was_shared(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, INCOME, categories=ALL - DEVICE)
    row, seen = await asked(bank, person)
    matrix, number = small_models.people()[0], world.rich_rows()[0]
    expected = small_incomes.loaded().evaluate(
        matrix.values[number], small_models.evidence(matrix, number), ALL - DEVICE
    )
    assert (seen.point.amount_minor, seen.point.currency) == (expected.point * 100, "CNY")
    assert (seen.low.amount_minor, seen.high.amount_minor) == (expected.low * 100, expected.high * 100)
    assert (seen.band, seen.confidence) == (expected.band, expected.confidence)
    assert (set(row.used), set(row.not_used)) == (ALL - DEVICE, DEVICE)


async def test_beside_each_accuracy_stands_the_constants(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, INCOME)
    _, seen = await asked(bank, person)
    assert {"within_20_percent", "exact_band", "within_one_band", "interval_held"} <= seen.accuracy.keys()
    for figures in seen.accuracy.values():
        assert 0 < float(figures.constant) < 1
        assert 0 < float(figures.model) < 1


async def test_it_is_recorded_with_all_that_it_rests_on(bank, owner, ground):
    (person,) = await world.persons(1)
    grant = await world.granted(person, bank, INCOME)
    row, _ = await asked(bank, person)
    fact = await owner.fetchrow("select * from compliance_fact where id = $1", row.fact)
    assert (fact["kind"], fact["person"], fact["grant_id"], fact["partner"]) == (
        "income_estimated",
        person.user,
        grant.id,
        bank.partner,
    )
    sealer = await ground.key_store.sealer(person.user)
    payload, salt = facts.open_sealed(fact["sealed"], fact["id"], sealer)
    what = facts.read_opening(payload, salt).payload["what"]
    assert what["answer"] == ids.public("ans", row.id)
    assert (what["told"], what["permit"], what["snapshot"]) == (row.told, row.permit_digest, row.snapshot)
    assert row.valid_until <= grant.expires_at


async def test_refusing_is_never_evidence(bank):
    refused, other = await world.persons(2, rows=(world.rich_rows()[0],))
    await world.granted(refused, bank, INCOME, categories=ALL - DEVICE)
    await world.granted(other, bank, INCOME)
    one, another = await asked(bank, refused), await asked(bank, other, ALL - DEVICE)
    seen = [
        {name: value for name, value in json.loads(msgspec.json.encode(view)).items() if name not in RANDOM}
        for _, view in (one, another)
    ]
    assert seen[0] == seen[1]


async def test_a_consent_to_a_score_is_none_to_an_income(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank)
    with pytest.raises(ConsentMissing):
        await asked(bank, person)


async def test_without_a_model_a_channel_or_data_there_is_none(ground, owner):
    await world.put_model_in_use()
    bank = await world.a_bank()
    (person,) = await world.persons(1)
    await world.granted(person, bank, INCOME)
    with pytest.raises(NoModel):
        await asked(bank, person)
    await world.put_income_model_in_use()
    with pytest.raises(NoLawfulChannel):
        await asked(bank, person)
    await world.open_channel()
    await owner.execute("update scoring_feature set events = '{0,0,0,0}'")
    with pytest.raises(InsufficientEvidence):
        await asked(bank, person)
    assert await owner.fetchval("select count(*) from scoring_answer") == 0


async def test_a_relay_needs_the_lenders_consent_that_names_it(bank):
    (person,) = await world.persons(1)
    bureau = await world.a_bank("bureau", PartnerKind.CREDIT_BUREAU)
    await world.granted(person, bureau, INCOME, recipient=bank.partner, bureau=bureau.partner)
    with pytest.raises(NoLawfulChannel):
        await asked(bureau, person, recipient=bank.partner)
    await world.open_channel(bureau.partner, bank.partner)
    row, seen = await asked(bureau, person, recipient=bank.partner)
    assert (row.partner, row.relay, seen.channel) == (bank.partner, bureau.partner, "licensed_bureau_relay")


async def test_shown_again_only_while_the_consent_lives(bank, owner):
    (person,) = await world.persons(1)
    grant = await world.granted(person, bank, INCOME)
    row, first = await asked(bank, person)
    async with open_act(bank, INCOME) as act:
        again = await wire.view(act, await given.show(act, row.id, incomes.KIND))
    assert again == first
    assert (await world.kinds(owner, grant_id=grant.id))[-1] == "answer_shown"
    await world.withdrawn(person, grant.id)
    with pytest.raises(ConsentWithdrawn):
        async with open_act(bank, INCOME) as act:
            await given.show(act, row.id, incomes.KIND)


async def test_what_rests_on_data_found_wrong_is_never_shown_again(bank, owner):
    (person,) = await world.persons(1)
    await world.granted(person, bank, INCOME)
    row, _ = await asked(bank, person)
    async with open_act(person, None) as act:
        dispute = await disputes.raise_category(act, permits.own_permit(act), Category.SHOPPING, "Not mine.")
    async with open_act(world.OFFICER, None) as act:
        looks = permits.staff_permit(act, "the person disputes it")
        await corrections.answer_dispute(act, looks, dispute.id, upheld=True, text="You are right.")
    assert "answer_set_aside" in await world.kinds(owner, person=person.user)
    with pytest.raises(ScoreSetAside):
        async with open_act(bank, INCOME) as act:
            await given.show(act, row.id, incomes.KIND)


async def test_a_fresh_process_works_out_the_same(bank):
    (person,) = await world.persons(1)
    await world.granted(person, bank, INCOME, categories=ALL - DEVICE)
    row, _ = await asked(bank, person)
    async with open_act(world.VALIDATOR, None) as act:
        again = await incomes.replay(act, row.id)
    assert (again.then, again.now, again.same) == (row.told["point"], row.told["point"], True)
    program = (
        "import sys, json; from pathlib import Path; from scoring.answers.income import IncomeModel;"
        "from scoring.scorer import Evidence, unpack; model = IncomeModel.load(Path(sys.argv[1]));"
        "events, days = json.loads(sys.argv[3]);"
        "got = model.evaluate(unpack(bytes.fromhex(sys.argv[2])), Evidence(dict(zip(model.categories, events)),"
        " dict(zip(model.categories, days))), frozenset(model.categories)); print(got.low, got.point, got.high)"
    )
    folder = str(registry.folder(small_incomes.trained().digest))
    evidence = json.dumps([row.events, row.active_days])
    ran = subprocess.run(
        [sys.executable, "-c", program, folder, bytes(row.vector).hex(), evidence],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == [str(row.told[name]) for name in ("low", "point", "high")]


async def test_the_command_line_computes_it_again(database, home, capsys):
    found = Standing(Settings(home, "production", world.ISSUER, None, OFFERED), database)
    async with databases.opened(database, home, found.settings.origin):
        await world.put_model_in_use()
        await world.put_income_model_in_use()
        await world.open_channel()
        (person,) = await world.persons(1)
        bank = await world.a_bank()
        await world.granted(person, bank, INCOME)
        row, _ = await asked(bank, person)
    name, point = ids.public("ans", row.id), row.told["point"]
    assert await auditing.replay(found, name, None) == auditing.WHOLE
    assert (
        f"{name}: {point} a month then, {point} a month now; the whole answer the same"
        in capsys.readouterr().out
    )


async def test_a_model_that_reads_other_features_is_not_fed_with_gaps(bank, monkeypatch):
    (person,) = await world.persons(1)
    await world.granted(person, bank, INCOME)
    known = small_incomes.loaded()
    first, *rest = known.manifest.inputs
    stated = replace(known.manifest, inputs=(replace(first, name="never_stored"), *rest))
    monkeypatch.setattr(incomes, "model", lambda _: IncomeModel("odd", stated, known.trees))
    with pytest.raises(NoModel, match="not stored"):
        await asked(bank, person)


async def test_a_model_no_better_than_a_constant_is_not_promoted(ground):
    nothing = np.random.default_rng(9).permutation(small_incomes.incomes())
    artifact = small_incomes.train(nothing)
    training.save(artifact, ground.home / "models")
    async with open_act(world.DEVELOPER, Purpose.MODEL_DEVELOPMENT) as act:
        row = await registry.register(act, artifact.digest)
    with pytest.raises(NotPromotable, match="no_better_than_a_constant"):
        async with open_act(world.VALIDATOR, Purpose.MODEL_DEVELOPMENT) as act:
            await registry.validate(act, row.id)


async def test_over_http(database, home):
    async with world.opened(database, home) as here:
        await world.put_model_in_use()
        await world.put_income_model_in_use()
        await world.open_channel()
        software, rival = await here.software(), await here.software("beta")
        (person,) = await world.persons(1)
        await world.granted(person, software.client, INCOME)
        body = {
            "user": await world.pseudonym_of(person, software.client),
            "purpose": "income_estimate",
            "categories": sorted(ALL),
        }
        made = await software.call("POST", "/v1/incomes", body, key="one")
        income = told(made, 201)
        assert made.headers["Location"] == f"/v1/incomes/{income['id']}"
        assert told(await software.call("GET", made.headers["Location"]), 200) == income
        assert told(await software.call("POST", "/v1/incomes", body, key="one"), 201) == income
        told(await rival.call("GET", made.headers["Location"]), 404)
        browser = await here.browser(person)
        mine = told(await browser.call("GET", "/v1/me/answers"), 200)["items"]
        assert [(each["id"], each["kind"]) for each in mine] == [(income["id"], "income")]
        assert mine[0]["income"] == {
            name: income[name] for name in ("point", "low", "high", "band", "confidence")
        }
        disputed = {"text": "Not mine.", "category": "shopping"}
        told(await browser.call("POST", "/v1/me/disputes", disputed), 201)
        outdated = told(await software.call("POST", "/v1/incomes", body, key="one"), 409)
        assert outdated["code"] == "answer_outdated"
        assert told(await software.call("GET", made.headers["Location"]), 200)["disputed"] is True
