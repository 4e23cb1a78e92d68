"""What staff do with models from the command line and from the page, and lenders' files of outcomes."""

import json
import shutil
import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import altered_models, monitored, small_incomes, small_models, web_site, world
from support.listed import TODAY
from support.web_site import Site

from api import governing, web
from api.access import RoleMissing
from api.cli import _parser
from api.running import Standing
from api.settings import Settings
from compliance import ids
from compliance.refusals import NotFound, SamePerson, Unacceptable
from compliance.vocabulary import OFFERED, StaffRole
from partners import outcome_files
from partners.outcome_files import SetAside, Told
from partners.outcomes import About, Decision
from scoring import card, kinds, manifest, registry, training
from scoring.answers import income_card, income_manifest
from scoring.manifest import ModelAltered
from scoring.registry import NotPromotable

DIGEST = small_models.trained().digest
ROLES = {
    "dev": StaffRole.RISK_OFFICER,
    "val": StaffRole.RISK_OFFICER,
    "off": StaffRole.COMPLIANCE_OFFICER,
    "man": StaffRole.PARTNER_MANAGER,
}


@pytest.fixture
async def found(database, home) -> Standing:
    at = Standing(Settings(home, "development", world.ISSUER, None, OFFERED), database)
    for name, role in ROLES.items():
        await governing.admit(at, name, role)
    return at


@pytest.fixture
def told(capsys):
    """What was printed since it was last asked, a value for each line."""

    def read() -> list[Any]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


async def step(at: Standing, name: str, what: str, model: str = DIGEST) -> int:
    return await governing.take_step(at, what, model, name)


async def test_a_model_made_elsewhere_comes_in_is_approved_and_put_in_use(found, told, tmp_path):
    folder = training.save(small_models.trained(), tmp_path / "made elsewhere")
    await step(found, "dev", "register", str(folder))
    shutil.rmtree(folder)
    for name, what in (("val", "validate"), ("off", "approve"), ("val", "promote")):
        assert await step(found, name, what) == 0
    assert [line["state"] for line in told()] == [
        "candidate",
        "validated",
        "approved",
        "champion",
    ]
    await governing.list_models(found)
    (line,) = told()
    assert (line["digest"], line["state"], line["obstacles"]) == (DIGEST, "champion", [])
    assert len({line["registered_by"], line["validated_by"], line["approved_by"]}) == 3
    newer = altered_models.with_input(small_models.trained(), why="another")
    await step(found, "dev", "register", str(training.save(newer, tmp_path)))
    for name, what in (("val", "validate"), ("off", "approve"), ("off", "shadow"), ("off", "promote")):
        await step(found, name, what, newer.digest)
    await step(found, "off", "rollback")
    told()
    await governing.list_models(found)
    assert {line["digest"]: line["state"] for line in told()} == {DIGEST: "champion", newer.digest: "retired"}


BOTH = pytest.mark.parametrize(
    ("artifact", "product"), [(small_models.trained, kinds.SCORE), (small_incomes.trained, kinds.INCOME)]
)


@BOTH
async def test_a_model_of_either_kind_goes_its_whole_way(found, told, tmp_path, artifact, product):
    digest = artifact().digest
    await step(found, "dev", "register", str(training.save(artifact(), tmp_path)))
    steps = (
        ("val", "validate"),
        ("off", "approve"),
        ("off", "promote"),
        ("val", "retire"),
        ("off", "rollback"),
    )
    for name, what in steps:
        await step(found, name, what, digest)
    assert {(line["digest"], line["product"], line["name"]) for line in told()} == {(digest, product, None)}
    await governing.list_models(found)
    (line,) = told()
    assert (line["digest"], line["product"], line["state"], line["obstacles"]) == (
        digest,
        product,
        "champion",
        [],
    )


async def test_what_stands_against_a_model_is_listed_by_its_code(found, told, tmp_path):
    few = altered_models.with_card(
        small_models.trained(), lambda card: card["slices"]["all"].update(defaults=3)
    )
    named = altered_models.with_card(few, lambda card: card["about"].update(name="mine"))
    await step(found, "dev", "register", str(training.save(named, tmp_path)))
    told()
    await governing.list_models(found)
    (line,) = told()
    assert (line["name"], line["obstacles"]) == ("mine", ["insufficient_evidence"])
    (found.settings.home / "models" / named.digest / "model.json").write_bytes(b"{}")
    await governing.list_models(found)
    assert told()[0]["obstacles"] == ["model_altered"]


@BOTH
@pytest.mark.parametrize("name", ["../../stolen.json", "/etc/hostname", "notes.txt", "..", "manifest.json"])
async def test_a_model_names_no_file_that_is_not_one_of_a_models(found, tmp_path, artifact, product, name):
    stolen = altered_models.as_told(artifact(), **{name: manifest.sha256(b"stolen")})
    folder = training.save(stolen, tmp_path / "deep" / "down")
    (tmp_path / "deep" / "stolen.json").write_bytes(b"stolen")
    with pytest.raises(ModelAltered, match=r"none of a model.s"):
        await step(found, "dev", "register", str(folder))
    models = found.settings.home / "models"
    assert not models.exists() or not [*models.iterdir()]
    for read in (manifest.decode, income_manifest.decode):
        with pytest.raises((ModelAltered, KeyError)):
            read(stolen.files["manifest.json"])


@BOTH
@pytest.mark.parametrize("part", ["about", "slices", "rows"])
async def test_a_card_that_cannot_be_read_does_not_come_in(found, tmp_path, artifact, product, part):
    for change in (
        lambda card: card.pop(part),
        lambda card: card.update({part: {}}) if part != "about" else card.update(about=[]),
    ):
        folder = training.save(altered_models.as_told(artifact(), card=change), tmp_path)
        with pytest.raises(ModelAltered, match="is not a model"):
            await step(found, "dev", "register", str(folder))


@pytest.mark.parametrize(
    "written", [b"", b"[]", b"{}", b'{"target": "income"}', b'{"target": 1}', b"[" * 9_999]
)
async def test_a_manifest_that_is_none_does_not_come_in(found, tmp_path, written):
    folder = tmp_path / manifest.sha256(written)
    folder.mkdir()
    (folder / "manifest.json").write_bytes(written)
    with pytest.raises(ModelAltered):
        await step(found, "dev", "register", str(folder))


async def test_who_is_not_known_or_has_another_role_takes_no_step(found, tmp_path):
    folder = str(training.save(small_models.trained(), tmp_path))
    with pytest.raises(NotFound):
        await step(found, "nobody", "register", folder)
    for name in ("off", "man"):
        with pytest.raises(RoleMissing):
            await step(found, name, "register", folder)
    await step(found, "dev", "register", folder)
    with pytest.raises(SamePerson):
        await step(found, "dev", "validate")
    await step(found, "val", "validate")
    with pytest.raises(RoleMissing):
        await step(found, "val", "approve")
    with pytest.raises(NotFound):
        await step(found, "off", "approve", "0" * 64)
    with pytest.raises(NotPromotable):
        await step(found, "off", "promote")


async def test_a_model_of_which_a_byte_is_wrong_does_not_come_in(found, tmp_path):
    folder = training.save(small_models.trained(), tmp_path)
    (folder / "model.cbm").write_bytes(b"x")
    with pytest.raises(ModelAltered):
        await step(found, "dev", "register", str(folder))
    assert not (found.settings.home / "models" / DIGEST).exists()
    with pytest.raises(NotFound):
        await step(found, "dev", "register", "../nothing")


def test_the_command_line_knows_every_step():
    for what in ("register", "validate", "approve", "promote", "shadow", "retire", "rollback"):
        read = _parser().parse_args(["models", what, DIGEST, "--as", "dev"])
        assert (read.step, read.model, read.name) == (what, DIGEST, "dev")
    assert _parser().parse_args(["models", "list"]).run
    assert _parser().parse_args(["monitoring", "report", "--json"]).json
    assert _parser().parse_args(["outcomes", "load", "x.csv", "--partner", "alpha"]).file == Path("x.csv")
    assert _parser().parse_args(["staff", "add", "Li", "--role", "risk_officer"]).role == "risk_officer"


# On the page


@pytest.fixture
async def site(home, database):
    async with web_site.site(home, database) as made:
        yield made


async def test_a_model_is_validated_and_approved_on_its_page(site: Site, owner):
    training.save(small_models.trained(), site.settings.home / "models")
    async with governing.open_act(world.DEVELOPER, None) as act:
        await governing.registry.register(act, DIGEST)
    officer = await site.staff(StaffRole.COMPLIANCE_OFFICER)
    await officer.look("/compliance/models")
    assert "Candidate" in officer.text
    await officer.look(f"/compliance/models/{DIGEST}")
    assert "Nothing on the card stands against its use." in officer.text
    assert "Approve " not in officer.text
    answer = await officer.send(f"/compliance/models/{DIGEST}/validate")
    assert answer.status_code == 200
    assert "Validated" in officer.text
    answer = await officer.send(f"/compliance/models/{DIGEST}/approve")
    assert answer.status_code == 409
    assert await owner.fetchval("select state from scoring_model") == "validated"
    await officer.look(f"/compliance/models/{DIGEST}")
    assert (await officer.send(f"/compliance/models/{DIGEST}/nonsense")).status_code == 404
    assert (await officer.look(f"/compliance/models/{'0' * 64}")).status_code == 404
    assert (await officer.look("/compliance/models/%00")).status_code == 404


@BOTH
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_the_page_of_either_kind_at_every_step(site: Site, owner, artifact, product, language):
    digest = artifact().digest
    training.save(artifact(), site.settings.home / "models")
    async with governing.open_act(world.DEVELOPER, None) as act:
        await governing.registry.register(act, digest)
    officer = await site.staff(StaffRole.COMPLIANCE_OFFICER)
    words = {
        (kinds.SCORE, "en"): "How well it ranks",
        (kinds.SCORE, "zh-CN"): "排序能力",
        (kinds.INCOME, "en"): "Inside the 80 % interval",
        (kinds.INCOME, "zh-CN"): "落在80% 区间内",
    }[product, language]
    for state in registry.State:
        await owner.execute("update scoring_model set state = $1", state)
        assert (await officer.look(f"/compliance/models/{digest}", language)).status_code == 200
        assert words in officer.text
        assert (await officer.look("/compliance/models", language)).status_code == 200
        assert {
            "en": {kinds.SCORE: "Score", kinds.INCOME: "Income"},
            "zh-CN": {kinds.SCORE: "评分", kinds.INCOME: "收入"},
        }[language][product] in officer.text


ON_FIRST = {"en": "which a first model never saw", "zh-CN": "第一个模型没有见过"}
ON_ITSELF = {"en": "rows that this model never saw", "zh-CN": "用该模型没有见过的样本计算"}


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_a_page_says_on_which_rows_the_figures_were_measured(site: Site, language):
    served = altered_models.with_card(
        small_models.trained(), lambda card: card["about"].update(measured_on="first_70_30")
    )
    other = altered_models.with_card(
        small_models.trained(), lambda card: card["about"].update(measured_on="x")
    )
    pages = {}
    auditor = await site.staff(StaffRole.AUDITOR)
    for made in (served, small_models.trained(), other):
        training.save(made, site.settings.home / "models")
        async with governing.open_act(world.DEVELOPER, None) as act:
            await governing.registry.register(act, made.digest)
        await auditor.look(f"/compliance/models/{made.digest}", language)
        pages[made.digest] = (ON_FIRST[language] in auditor.text, ON_ITSELF[language] in auditor.text)
    assert [*pages.values()] == [(True, False), (False, True), (False, False)]


def codes() -> set[str]:
    """Every code that either kind of card can show, and that of files that are not the digest's."""
    unknown = {"value": "unknown", "low": "unknown", "high": "unknown"}
    figures = ("auc", "observed_over_expected", "calibration_slope", "calibration_intercept", "ece")
    tried = {"defaults": 0, "rows": 0, "base_rate": "unknown"} | dict.fromkeys(figures, unknown)
    red = [{"evidence": "enough", "high": "0.1"}]
    score = {"slices": {"all": tried}, "largest_feature": {"share": "1.0"}, "fairness": {"sex": red}}
    named = replace(small_models.loaded().manifest.inputs[0], name="sex", window_days=366)
    losses = {each: {"gain_low": "unknown"} for each in income_card.MUST_BEAT}
    income = {"rows": 999, "interval_held": {"low": "0.1", "high": "0.2"}} | losses
    shown = {*card.obstacles(score, [named]), *income_card.obstacles({"slices": {"all": income}}, [named])}
    few = income_card.obstacles({"slices": {"all": {"rows": 1}}}, [named])
    return {*shown, *few, ModelAltered.code}


async def test_what_stands_against_a_model_has_its_words_in_both_languages(site: Site):
    assert len(codes()) == 11
    texts = {language: known_texts(language)["obstacle"] for language in ("en", "zh-CN")}
    assert {language: set(words) for language, words in texts.items()} == dict.fromkeys(texts, codes())
    few = altered_models.with_card(
        small_models.trained(), lambda card: card["slices"]["all"].update(defaults=3)
    )
    training.save(few, site.settings.home / "models")
    async with governing.open_act(world.DEVELOPER, None) as act:
        await governing.registry.register(act, few.digest)
    auditor = await site.staff(StaffRole.AUDITOR)
    for language, words in texts.items():
        await auditor.look(f"/compliance/models/{few.digest}", language)
        assert words["insufficient_evidence"] in auditor.text
        assert "the model card shows" not in auditor.text


def known_texts(language: str) -> dict[str, Any]:
    return tomllib.loads((Path(web.__file__).parent / "locale" / f"{language}.toml").read_text("utf-8"))


async def test_other_roles_see_neither_models_nor_figures(site: Site):
    manager = await site.staff(StaffRole.PARTNER_MANAGER)
    for path in ("/compliance/models", f"/compliance/models/{DIGEST}", "/compliance/monitoring"):
        assert (await manager.look(path)).status_code == 403


async def test_the_figures_of_a_day_stand_on_their_page(site: Site, owner):
    auditor = await site.staff(StaffRole.AUDITOR)
    assert (await auditor.look("/compliance/monitoring")).status_code == 200
    assert "No figures yet." in auditor.text
    await world.put_model_in_use()
    await world.open_channel()
    await governing.worker.watch_now()
    await auditor.look("/compliance/monitoring")
    assert "Too little evidence" in auditor.text
    await monitored.a_year(owner, await world.a_bank(), honest=False)
    await governing.worker.watch_now()
    await auditor.look("/compliance/monitoring")
    assert "More or fewer default in a band than was expected" in auditor.text
    for language in ("en", "zh-CN"):
        assert (await auditor.look("/compliance/monitoring", language)).status_code == 200
        assert (await auditor.look(f"/compliance/models/{DIGEST}", language)).status_code == 200


# Files of outcomes

HEADER = "score,decision,decided_on,observed_until,defaulted,approved_minor,currency\n"


async def test_a_file_is_loaded_once_and_bad_lines_are_set_aside(found, told, tmp_path, owner):
    async with governing.databases.opened(found.database, found.settings.home, found.settings.origin):
        await world.put_model_in_use()
        await world.open_channel()
        bank, (person,) = await world.a_bank(), await world.persons(1)
        other = await world.a_bank("beta")
        await world.granted(person, bank)
        await world.granted(person, other)
        mine, theirs = [ids.public("scr", (await world.scored(b, person)).id) for b in (bank, other)]
    await owner.execute("update scoring_score set issued_at = '2026-01-02'")
    file = tmp_path / "november.csv"
    file.write_text(
        HEADER
        + f"{mine},approved,2026-01-05,2026-06-01,false,600000,CNY\n"
        + f"{theirs},approved,2026-01-05,2026-06-01,false,600000,CNY\n"
        + f"{mine},approved,2026-01-05,,true,,\n"
        + f"{mine},maybe,2026-01-05,,,,\n"
        + f"{mine},declined,2026-13-05,,,,\n"
        + "scr_1,declined,2026-01-05,,,,\n"
        + f"{mine},declined\n"
    )
    told()
    assert await governing.load_outcomes(found, file, "alpha") == 1
    (line,) = told()
    assert (line["kept"], line["known_already"], line["set_aside"]) == (1, 0, 6)
    aside = [json.loads(text) for text in Path(line["quarantine"]).read_text().splitlines()]
    assert aside == [
        {"line": 3, "column": "", "reason": "not_found"},
        {"line": 4, "column": "observed_until", "reason": "unacceptable"},
        {"line": 5, "column": "decision", "reason": "unreadable"},
        {"line": 6, "column": "decided_on", "reason": "unreadable"},
        {"line": 7, "column": "score", "reason": "no_such_id"},
        {"line": 8, "column": "", "reason": "wrong_number_of_cells"},
    ]
    assert await governing.load_outcomes(found, file, "alpha") == 1
    assert told()[0]["known_already"] == 1
    rows = await owner.fetch("select partner, score from partners_outcome")
    assert [(row["partner"], ids.public("scr", row["score"])) for row in rows] == [(bank.partner, mine)]
    facts = await owner.fetch("select partner, person from compliance_fact where kind = 'outcome_reported'")
    assert [tuple(row) for row in facts] == [(bank.partner, person.user)]
    with pytest.raises(Unacceptable):
        await governing.load_outcomes(found, file, "gamma")


async def test_what_is_said_again_after_something_else_is_news(found, told, tmp_path, owner):
    async with governing.databases.opened(found.database, found.settings.home, found.settings.origin):
        await world.put_model_in_use()
        await world.open_channel()
        bank, (person,) = await world.a_bank(), await world.persons(1)
        await world.granted(person, bank)
        score = ids.public("scr", (await world.scored(bank, person)).id)
    told()
    file = tmp_path / "december.csv"
    for decision, kept in (("declined", 1), ("withdrawn", 1), ("declined", 1), ("declined", 0)):
        file.write_text(f"score,decision,decided_on\n{score},{decision},{TODAY}\n")
        assert await governing.load_outcomes(found, file, "alpha") == 0
        assert told()[0]["kept"] == kept
    last = "select report from partners_outcome order by reported_at desc, id desc"
    assert json.loads(await owner.fetchval(last))["decision"] == "declined"


async def test_bad_lines_are_kept_as_they_come_and_apart(found, told, tmp_path):
    async with governing.databases.opened(found.database, found.settings.home, found.settings.origin):
        banks = [await world.a_bank(code) for code in ("alpha", "beta")]
    file = tmp_path / "november.csv"
    file.write_text(HEADER + "scr_1,declined,2026-01-05,,,,\n" + 'scr_1,"declined')
    for code in ("alpha", "beta", "beta"):
        with pytest.raises(Unacceptable):
            await governing.load_outcomes(found, file, code)
    aside = sorted((found.settings.home / "quarantine" / "outcomes").iterdir())
    assert [json.loads(each.read_text())["line"] for each in aside] == [2, 2, 2]
    of = [ids.public("ptn", bank.partner) for bank in banks]
    assert sorted(each.name.partition("-")[0] for each in aside) == sorted([of[0], of[1], of[1]])


SCORE = ids.public("scr", ids.ordered_id())


def test_both_forms_mean_the_same(tmp_path):
    table, lines = tmp_path / "a.csv", tmp_path / "a.ndjson"
    table.write_text(f"{HEADER}{SCORE},approved,2026-01-05,2026-06-01,true,600000,CNY\n")
    lines.write_text(
        json.dumps(
            {
                "score": SCORE,
                "decision": "approved",
                "decided_on": "2026-01-05",
                "observed_until": "2026-06-01",
            }
            | {"defaulted": True, "approved_minor": 600_000, "currency": "CNY"}
        )
        + "\n"
    )
    (one,), (other,) = outcome_files.read(table), outcome_files.read(lines)
    assert isinstance(one, Told)
    assert isinstance(other, Told)
    assert one.outcome == other.outcome
    assert (one.outcome.decision, one.outcome.decided_on) == (Decision.APPROVED, date(2026, 1, 5))
    assert (one.line, other.line) == (2, 1)


def test_a_line_may_be_about_an_entry_of_a_list(tmp_path):
    file, entry = tmp_path / "a.csv", ids.random_id()
    named = ids.public("ent", entry)
    file.write_text(
        "entry,decision,applied_on,decided_on,approved_minor,currency,daily_rate\n"
        f"{named},approved,2026-01-05,2026-01-06,600000,CNY,0.0004\n"
        f"{named},undecided,2026-01-05,,,,\n"
        f"{named},approved,2026-01-05,2026-01-06,600000,CNY,4e-4\n"
        f"{SCORE},undecided,2026-01-05,,,,\n"
    )
    kept, undecided, *aside = outcome_files.read(file)
    assert isinstance(kept, Told)
    assert (kept.about, kept.outcome.daily_rate) == (About(entry=entry), "0.0004")
    assert isinstance(undecided, Told)
    assert (undecided.outcome.decision, undecided.outcome.decided_on) == (Decision.UNDECIDED, None)
    assert aside == [SetAside(4, "daily_rate", "unreadable"), SetAside(5, "entry", "no_such_id")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", ""),
        ("a.csv", "score,colour\n"),
        ("a.csv", 'score,decision\n"x'),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_as_a_whole(tmp_path, name, content):
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(Unacceptable):
        list(outcome_files.read(file))


@given(content=st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)), csv=st.booleans())
@settings(max_examples=200)
def test_no_content_of_a_file_breaks_the_reader(tmp_path_factory, content, csv):
    file = tmp_path_factory.getbasetemp() / ("f.csv" if csv else "f.ndjson")
    file.write_bytes((HEADER.encode() if csv else b"") + content)
    try:
        for each in outcome_files.read(file):
            assert isinstance(each, Told | SetAside)
    except Unacceptable:
        pass
