"""The data dictionary: whole, in both languages, the same for people and for machines, and open to anybody."""

import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
from support import web_site
from support.web_site import Browser, Site

from compliance.database import Database
from compliance.vocabulary import OFFERED, Category, Language
from scoring import feature_catalogue, feature_dictionary
from scoring.measures import meaning

ENTRIES = feature_dictionary.entries(OFFERED)


@pytest.fixture
async def site(home: Path, database: Database) -> AsyncIterator[Site]:
    async with web_site.site(home, database) as found:
        yield found


async def test_anybody_reads_every_measure_on_the_page_and_as_json(site: Site) -> None:
    browser = Browser(site)
    told = (await browser.http.get("/v1/features", headers={"Accept": "application/json"})).json()
    assert [each["name"] for each in told["features"]] == [entry.of.name for entry in ENTRIES]
    assert {each["name"] for each in told["features"]} >= {d.name for d in feature_catalogue.DEFINITIONS}
    for language in Language:
        text = unescape((await browser.look("/features", language)).text)
        for each in told["features"]:
            said = each["texts"][language]
            assert f'id="{each["name"]}"' in text
            assert said["meaning"][1:] in text, each["name"]
            assert said["raises"] in text
            assert said["why"] in text
        for ban in told["forbidden"]:
            assert ban["source"][language] in text
            assert ban["what"][language] in text


async def test_what_is_not_offered_says_so(site: Site) -> None:
    text = (await Browser(site).look("/features")).text
    sections = dict(re.findall(r'<section class="card" id="(\w+)">(.*?)</section>', text, re.DOTALL))
    for category in Category:
        said = "does not ask anybody" in sections[category]
        assert said == (category not in OFFERED), category


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.of.name)
def test_a_measure_says_what_it_means_and_why_it_has_no_direction(entry: feature_dictionary.Entry) -> None:
    for language in Language:
        told = entry.told(language)
        quoted = "“" in told.meaning
        assert told.meaning
        assert not quoted, told
        assert bool(told.why) == (entry.of.monotone == 0)
        assert bool(re.search("[\u4e00-\u9fff]", told.meaning)) == (language is Language.ZH_CN)


def test_two_measures_never_mean_the_same() -> None:
    for language in Language:
        told = [(entry.of.category, entry.told(language).meaning) for entry in ENTRIES if entry.of.windows]
        assert len(told) == len(set(told))


def test_names_of_others_are_quoted() -> None:
    told = meaning.meaning('mean("x 1".speed)', Category.FITNESS, Language.EN)
    assert told == "the mean of “speed” over the events called “x 1”"
    assert meaning.meaning('profile(job) = "cook"', Category.DECLARED, Language.EN).endswith(
        "“job” is “cook”"
    )
