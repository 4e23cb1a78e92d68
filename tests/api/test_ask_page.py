"""The ask page says everything before the answer, and stopping takes no more steps than agreeing."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from pathlib import Path

import asyncpg
import httpx2
import pytest
from support import lending, page_forms, web_site, world
from support.page_forms import FormOnPage
from support.web_site import Browser, Site

from api.web.texts import Words
from compliance import ids
from compliance.act import open_act, open_view
from compliance.database import Database
from compliance.vocabulary import (
    OFFERED,
    OPERATOR,
    SENSITIVE,
    Categories,
    Category,
    Language,
    PartnerId,
    Person,
    Purpose,
)
from consent import grants
from consent.grants import Ask
from scoring import previews

every_language = pytest.mark.parametrize("language", Language)
ON_ITS_OWN_PAGE = Purpose.SELF_VIEW
ASKED = [purpose for purpose in Purpose if purpose is not ON_ITS_OWN_PAGE]
LINKS_MAX = 3
"""Nobody looks further than this for a way."""


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    async with web_site.site(home, database) as made:
        yield made


@pytest.fixture
async def lender(site: Site) -> PartnerId:
    return await lending.a_lender("alpha")


async def asked(site: Site, person: Person, lender: PartnerId, purpose: Purpose) -> str:
    """A request of the lender's, or where no partner may ask, of the operator's."""
    if purpose in grants.PARTNERS_ASK_FOR:
        return await site.ask(lender, person, purpose)
    wanted = Ask(OPERATOR, None, person.user, purpose, OFFERED, 90, 90, 30, "portal")
    async with open_act(web_site.OPERATOR, purpose) as act:
        return ids.public("gnt", (await grants.ask(act, wanted, offered=OFFERED)).id)


def words(site: Site, language: Language) -> Words:
    return Words(language, site.settings.operator[language], site.settings.contact)


def in_main(page: httpx2.Response) -> str:
    """What can be read below the heading."""
    return readable(page.text.partition("</h1>")[2])


def readable(body: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))).strip()


@every_language
@pytest.mark.parametrize("purpose", ASKED)
@pytest.mark.spec("PIPL", "14, 16, 17, 23, 29, 30")
async def test_everything_is_said_before_the_answer(
    site: Site, lender: PartnerId, purpose: Purpose, language: Language
) -> None:
    person = await lending.a_person()
    me, said = await site.person(person), words(site, language)
    grant = await asked(site, person, lender, purpose)
    async with open_view(person) as view:
        until = said.day(view.now + timedelta(days=90))
    page = await me.look(f"/ask/{grant}", language)
    text, heading = in_main(page), page.text.partition("<h1>")[2].partition("</h1>")[0]
    partner = {Language.EN: "Bank alpha", Language.ZH_CN: "alpha银行"}[language]
    recipient = partner if purpose in grants.PARTNERS_ASK_FOR else said.operator
    before = readable(page.text.partition("</h1>")[2].partition('value="yes"')[0])
    assert recipient in heading
    assert text.startswith(said.t("ask.credit_record"))  # what people fear is answered first
    for part in (
        said.t(f"purpose.{purpose}.what", recipient=recipient),
        until,
        said.t("ask.data_life_days", days=90),
        said.t("ask.no_means"),
        said.t("ask.not_ticked"),
        said.t("ask.withdraw_any_time"),
        *(said.t(f"category.{c}.{part}") for c in OFFERED for part in ("name", "why", "example")),
    ):
        assert part in before, part
    apart = text.index(said.t("ask.sensitive_heading"))
    for category in OFFERED:
        assert (text.index(said.t(f"category.{category}.why")) > apart) is (category in SENSITIVE)
    form = answer_form(page.text, f"/ask/{grant}")
    assert form.ticked == []
    assert {value for _, value in form.boxes} == OFFERED
    yes, no = form.button("yes"), form.button("no")
    assert yes | {"value": ""} == no | {"value": ""}


@every_language
@pytest.mark.spec("PIPL", "14, 16, 17, 29, 30")
async def test_ones_own_page_says_everything_before_the_answer(site: Site, language: Language) -> None:
    person, said = (await with_a_score())[0], words(site, language)
    page = await (await site.person(person)).look("/me/self-view", language)
    before = readable(page.text.partition("</h1>")[2].partition('value="yes"')[0])
    async with open_view(person) as view:
        until = said.day(view.now + timedelta(days=previews.PERIOD_DAYS))
    assert before.startswith(said.t("ask.credit_record"))
    for part in (
        said.t("me.operator_itself", operator=said.operator),
        said.t("self_view.only_you"),
        said.t("purpose.self_view.what"),
        until,
        said.t("ask.data_life_days", days=previews.PERIOD_DAYS),
        said.t("self_view.no_means"),
        said.t("self_view.two_choices"),
        said.t("ask.withdraw_any_time"),
        *(said.t(f"category.{c}.{part}") for c in OFFERED for part in ("name", "why", "example")),
    ):
        assert part in before, part
    form = answer_form(page.text, "/me/self-view")
    assert (form.ticked, {value for _, value in form.boxes}) == ([], OFFERED)


def answer_form(html: str, action: str) -> FormOnPage:
    (form,) = [each for each in page_forms.read(html)[1] if each.action.split("?")[0] == action]
    return form


@dataclass(frozen=True)
class Way:
    """How a person gets to a form: the links they follow from their home page."""

    links: tuple[str, ...]
    form: FormOnPage


async def way(me: Browser, action: str) -> Way:
    """The shortest way from the home page to the form that leads there, found by following links."""
    waiting: list[tuple[str, ...]] = [()]
    known = {"/me"}
    while waiting:
        links = waiting.pop(0)
        page = await me.look(links[-1] if links else "/me")
        found, forms = page_forms.read(page.text)
        for form in forms:
            if form.action == action:
                return Way(links, form)
        fresh = [
            link for link in dict.fromkeys(found) if link not in known and link.startswith(("/me", "/ask"))
        ]
        known.update(fresh)
        waiting += [(*links, link) for link in fresh if len(links) < LINKS_MAX]
    raise AssertionError(f"no way to {action}")


async def press(me: Browser, form: FormOnPage, value: str, *boxes: tuple[str, str]) -> None:
    fields: dict[str, list[str]] = {}
    for name, sent in form.sent(form.button(value), *boxes):
        fields.setdefault(name, []).append(sent)
    answer = await me.http.post(
        form.action, data=fields, headers={"Accept-Language": "en", "Origin": web_site.ISSUER}
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.spec("PIPL", "15, 16")
async def test_stopping_takes_no_more_steps_than_agreeing(
    site: Site, lender: PartnerId, purpose: Purpose, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    person = (await with_a_score())[0]
    me = await site.person(person)
    if purpose is ON_ITS_OWN_PAGE:
        give = await way(me, "/me/self-view")
    else:
        give = await way(me, f"/ask/{await asked(site, person, lender, purpose)}")
    await press(me, give.form, "yes", give.form.boxes[0])
    given = await owner.fetchrow("select id, state, categories from consent_grant")
    assert given
    assert (given["state"], given["categories"]) == ("active", [give.form.boxes[0][1]])
    stop = await way(me, f"/me/grants/{ids.public('gnt', given['id'])}/withdraw")
    await press(me, stop.form, "")
    assert await owner.fetchval("select state from consent_grant") == "ended"
    to_give, to_stop = len(give.links) + 1 + 1, len(stop.links) + 1  # a link each; a tick; a press
    assert len(stop.links) <= len(give.links)
    assert to_stop <= to_give
    assert stop.form.boxes == []


async def with_a_score() -> list[Person]:
    """People with data, a model in use and a channel."""
    await world.put_model_in_use()
    await world.open_channel()
    return await world.persons(2)


@every_language
@pytest.mark.parametrize("purpose", ASKED)
async def test_what_sharing_changes_is_shown_on_a_made_up_person(
    site: Site, lender: PartnerId, purpose: Purpose, language: Language
) -> None:
    person, said = await lending.a_person(), words(site, language)
    me, grant = await site.person(person), await asked(site, person, lender, purpose)
    await me.look(f"/ask/{grant}", language)
    assert said.t("changes.example") not in me.text  # no model is in use
    await world.put_model_in_use()
    await me.look(f"/ask/{grant}", language)
    scored = purpose in previews.SCORED
    assert (said.t("changes.example") in me.text) is scored
    assert (said.t("changes.never_against_you") in me.text) is scored
    if scored:
        async with open_view(person) as view:
            lines = await previews.on_example(view, OFFERED)
        rows = re.findall(
            r"<tr><th scope=\"row\">(.*?)</th>\s*<td>(.)</td><td class=\"number\">(\d+)</td>", me.page.text
        )
        names = [
            said.category_name(line.left_off) if line.left_off else said.t("changes.nothing")
            for line in lines
        ]
        assert rows == [(name, line.band, str(line.points)) for name, line in zip(names, lines, strict=True)]


@every_language
async def test_on_ones_own_data_after_a_yes_of_its_own(
    site: Site, lender: PartnerId, language: Language, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    person, said = (await with_a_score())[0], words(site, language)
    some: Categories = frozenset({Category.SHOPPING, Category.DEVICE_USAGE})
    grant = await site.ask(lender, person, categories=some)
    me = await site.person(person)
    me.http.cookies.set("language", language)
    await me.look(f"/ask/{grant}", language)
    assert f'href="/me/self-view?ask={grant}"' in me.page.text
    path = f"/me/self-view?ask={grant}"
    page = await me.look(path, language)
    assert said.t("self_view.work_out") not in me.text
    form = answer_form(page.text, "/me/self-view")
    assert (form.action, form.ticked) == (path, [])
    await me.send(path, answer="no")
    assert me.page.url.path == f"/ask/{grant}"
    assert await owner.fetchval("select count(*) from consent_grant where purpose = 'self_view'") == 0
    await me.look(path, language)
    await me.send(path, answer="yes", categories=sorted(world.ALL))
    assert str(me.page.url).endswith(path)
    await me.send(f"/me/self-view/result?ask={grant}")
    rows = re.findall(r'<th scope="row">(.*?)</th>', me.page.text)
    assert rows == [
        said.t("changes.nothing"),
        *(said.category_name(category) for category in sorted(world.ALL)),
    ]
    await web_site.log_everything()
    await me.look("/me/log", language)
    assert said.fact_name("preview_made") in me.text
    await me.look(path, language)
    stop = next(f for f in page_forms.read(me.page.text)[1] if f.action.endswith("/withdraw"))
    await press(me, stop, "")
    assert await owner.fetchval("select count(*) from scoring_preview") == 0
    await me.look(path, language)
    assert said.t("self_view.work_out") not in me.text


async def test_nobody_is_asked_to_agree_to_what_cannot_be_worked_out(site: Site, lender: PartnerId) -> None:
    person = await lending.a_person()
    grant, me = await site.ask(lender, person), await site.person(person)
    await me.look(f"/ask/{grant}")
    assert "/me/self-view" not in me.page.text
    page = await me.look("/me/self-view")
    assert words(site, Language.EN).t("self_view.not_possible") in me.text
    assert all(form.action == "/sign-out" for form in page_forms.read(page.text)[1])


@pytest.mark.parametrize(
    "fields", [{}, {"answer": "perhaps"}, {"answer": "yes"}, {"answer": "yes", "categories": "x"}]
)
async def test_an_answer_that_is_none_gives_nothing(
    site: Site, fields: dict[str, str], owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    me = await site.person((await with_a_score())[0])
    await me.look("/me/self-view")
    assert (await me.send("/me/self-view", **fields)).status_code == 422
    assert (await me.send("/me/self-view/result", _csrf_token="0" * 64)).status_code == 403
    assert await owner.fetchval("select count(*) from consent_grant") == 0


async def test_a_request_that_is_not_ones_own_is_none(site: Site, lender: PartnerId) -> None:
    mine, other = await with_a_score()
    grant = await site.ask(lender, other)
    me = await site.person(mine)
    for ask in (grant, web_site.unknown("gnt"), "x", "gnt_1"):
        assert (await me.look(f"/me/self-view?ask={ask}")).status_code == 404, ask
