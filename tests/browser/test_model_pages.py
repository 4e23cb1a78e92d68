"""A real browser: the card of a model and the figures of a day, on a desk and on a small phone, in both languages."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from support import altered_models, browsing, listed, monitored, small_incomes, small_models, web_site, world
from support.browsing import DESK, PHONE, served, window
from support.web_site import Site
from support.world import DEVELOPER, OFFICER, VALIDATOR

from api import sessions, worker
from api import staff as staff_of
from compliance.act import open_act
from compliance.database import Database
from compliance.vocabulary import Language, StaffRole
from scoring import registry, training

pytestmark = pytest.mark.browser


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    async with served(home, database) as made:
        yield made


def with_groups() -> training.Artifact:
    """The small model, whose set names groups."""
    one = {"group": "f", "rows": 210, "better": 90, "share": "0.4286", "evidence": "enough"}
    two = {"group": "m", "rows": 170, "better": 66, "share": "0.3882", "evidence": "enough"}
    few = {"group": "x", "rows": 16, "better": 3, "share": "0.1875", "evidence": "insufficient_evidence"}
    sexes = [
        one | {"ratio": "1.0000", "low": "1.0000", "high": "1.0000"},
        two | {"ratio": "0.9058", "low": "0.7093", "high": "1.1569"},
        few,
    ]
    return altered_models.with_card(small_models.trained(), lambda card: card.update(fairness={"sex": sexes}))


async def challenger() -> None:
    """A second model, in shadow."""
    artifact = with_groups()
    training.save(artifact, registry.folder("x").parent)
    async with open_act(DEVELOPER, None) as act:
        row = await registry.register(act, artifact.digest)
    async with open_act(VALIDATOR, None) as act:
        await registry.validate(act, row.id)
    async with open_act(OFFICER, None) as act:
        await registry.approve(act, row.id)
        await registry.shadow(act, row.id)


@pytest.mark.parametrize(
    ("size", "language"), [(DESK, Language.EN), (PHONE, Language.ZH_CN)], ids=["desk", "phone"]
)
async def test_models_and_their_figures(
    site: Site,
    tmp_path: Path,
    owner: "asyncpg.Connection[asyncpg.Record]",
    request: pytest.FixtureRequest,
    language: Language,
    size: dict[str, int],
) -> None:
    await world.put_model_in_use()
    await world.put_income_model_in_use()
    await world.open_channel()
    bank = await world.a_bank()
    await monitored.a_year(owner, bank, rows=300, days_ago=1)
    await challenger()
    await owner.execute("update scoring_model set shadowed_at = shadowed_at - interval '7 days'")
    await monitored.a_year(owner, await world.a_bank("beta"), rows=1_200, honest=False)
    while await worker.follow_in_shadow():
        pass
    await listed.an_application_upon_a_list(bank)
    (gone,) = await world.persons(1)
    await world.granted(gone, bank)
    await world.scored(bank, gone)
    await world.deleted(gone)
    await worker.watch_now()
    async with open_act(web_site.OPERATOR, None) as act:
        officer = await staff_of.admit(act, "Li", StaffRole.COMPLIANCE_OFFICER)
    link = await sessions.make_link(web_site.OPERATOR, site.settings, staff=officer.staff)
    async with window(site, browsing.pictures(tmp_path, request.node.name), size, language) as seen:
        page = seen.page
        await page.goto(f"{seen.issuer}/sign-in/{link}")
        await page.goto(f"{seen.issuer}/compliance/models")
        await seen.look("models")
        await page.goto(f"{seen.issuer}/compliance/models/{with_groups().digest}")
        assert await page.locator("main svg[role=img]").count() == 4
        await page.locator("summary").first.click()
        await seen.look("card")
        await page.goto(f"{seen.issuer}/compliance/models/{small_incomes.trained().digest}")
        await seen.look("income_card")
        await page.goto(f"{seen.issuer}/compliance/monitoring")
        await seen.look("monitoring")
        assert await page.locator("main svg[role=img]").count() == 3
