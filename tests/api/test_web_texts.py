"""What pages say and load: the same in both languages, honest, complete, and nothing from another site."""

import hashlib
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from support import inducing_words, readability

from compliance.vocabulary import Category, Language, Purpose
from partners.referrals import Delivery, State
from partners.routing import LeftOutCode
from partners.wishes import UseOfFunds

WEB = Path(__file__).parents[2] / "api" / "web"
STATIC = WEB / "static"
every_language = pytest.mark.parametrize("language", Language)


def messages(language: Language) -> dict[str, str]:
    """All messages of one language under their dotted keys."""
    return dict(_flat(tomllib.loads((WEB / "locale" / f"{language}.toml").read_text(encoding="utf-8"))))


def _flat(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def names(text: str) -> set[str]:
    return set(re.findall(r"\{([^}]*)\}", text))


def test_both_languages_have_the_same_messages() -> None:
    chinese, english = messages(Language.ZH_CN), messages(Language.EN)
    assert chinese.keys() == english.keys()
    assert {key for key in english if names(chinese[key]) != names(english[key])} == set()


@every_language
def test_every_message_is_a_plain_text(language: Language) -> None:
    for key, text in messages(language).items():
        assert re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", key), key
        assert text.strip() == text != "", key
        assert not set("<>") & set(text), key
        assert inducing_words.found(text) == [], key


TO_BE_READ = (
    *("ask", "category", "changes", "extend", "fault", "grant", "me", "problem", "proof", "purpose", "score"),
    *("self_view", "withdrawn"),
)
"""What people read who are asked, agree, look, stop, or want their rights."""


@every_language
@pytest.mark.parametrize("section", TO_BE_READ)
def test_a_fourteen_year_old_can_read_the_pages(section: str, language: Language) -> None:
    name = {Language.EN: "Bank", Language.ZH_CN: "银行"}[language]
    sentences = [
        re.sub(r"\{\w+\}", name, text)
        for key, text in messages(language).items()
        if key.startswith(f"{section}.") and text.endswith((".", "?", "!", "。", "？", "！"))
    ]
    readability.refuse_hard(language, "\n".join(sentences))


@every_language
def test_what_is_hard_to_read_is_told_from_what_is_easy(language: Language) -> None:
    easy = {Language.EN: "You can stop at once. Nobody else is told.", Language.ZH_CN: "您随时可以停止。"}
    hard = {
        Language.EN: [
            "Notwithstanding anatomical considerations, institutional beneficiaries categorically reiterate it.",
            "It is so " + "and so " * 12 + "on.",
        ],
        Language.ZH_CN: [
            "您随时可以" + "再一次" * 20 + "停止。",
            "本授权之效力及于数据处理者所委托之全部受托方。" * 2,
            "请缴纳滞纳金，否则予以羁押。",
        ],
    }
    readability.refuse_hard(language, easy[language])
    for text in hard[language]:
        with pytest.raises(AssertionError):
            readability.refuse_hard(language, text)


@pytest.mark.parametrize(
    ("word", "count"),
    {"agree": 2, "asked": 1, "deleted": 3, "made": 1, "people": 2, "permission": 3, "regulator": 4}.items(),
)
def test_syllables_are_counted(word: str, count: int) -> None:
    assert readability.syllables(word) == count


@every_language
def test_every_category_and_purpose_is_named(language: Language) -> None:
    known = messages(language)
    wanted = {f"category.{category}.{part}" for category in Category for part in ("name", "why", "example")}
    wanted |= {f"purpose.{purpose}.{part}" for purpose in Purpose for part in ("name", "what")}
    assert wanted <= known.keys()
    named = {key for key in known if key.startswith(("category.", "purpose."))}
    assert named == wanted


@every_language
def test_every_code_that_a_person_meets_has_its_words(language: Language) -> None:
    known = messages(language)
    wanted = {f"left_out.{code}" for code in LeftOutCode}
    wanted |= {f"use_of_funds.{use}" for use in UseOfFunds}
    wanted |= {f"state.referral.{state}" for state in State}
    wanted |= {f"state.delivery.{delivery}" for delivery in Delivery}
    assert wanted - known.keys() == set()


def vendored() -> list[dict[str, str]]:
    return tomllib.loads((STATIC / "vendor.toml").read_text(encoding="utf-8"))["vendored"]


def test_what_others_wrote_is_listed_and_unchanged() -> None:
    listed = set()
    for entry in vendored():
        listed |= {entry[key] for key in ("file", "licence_file", "notice_file") if key in entry}
        assert hashlib.sha256((STATIC / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert (STATIC / entry["licence_file"]).stat().st_size > 0
    assert {f"vendor/{file.name}" for file in (STATIC / "vendor").iterdir()} == listed


@pytest.mark.parametrize("file", [*sorted(STATIC.glob("**/*.css")), *sorted(WEB.glob("templates/*.html"))])
def test_nothing_is_loaded_from_another_site(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"""url\(\s*["']?(?:https?:)?//|@import|(?:src|href)=["'](?:https?:)?//""", text) == []


@pytest.mark.parametrize("file", sorted(WEB.glob("templates/*.html")))
def test_no_template_has_inline_script_or_style(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|hx-on", text) == []


def pages(language: Language, *, csrf: str | None = None) -> Environment:
    """Templates with the functions that pages have; an unknown message is an error."""
    known = messages(language)
    environment = Environment(
        loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined
    )
    environment.globals.update(
        t=lambda key, **values: known[key].format(**values),
        lang=str(language),
        csrf=csrf,
        money=lambda minor, currency: f"{currency} {minor / 100:.2f}",
        when=lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
        day=lambda on: f"{on:%Y-%m-%d}",
        category_name=lambda category: known[f"category.{category}.name"],
        purpose_name=lambda purpose: known[f"purpose.{purpose}.name"],
    )
    return environment


@every_language
def test_the_base_page_says_its_language_and_links_to_the_other(language: Language) -> None:
    page = pages(language).from_string(
        '{% extends "base.html" %}{% block title %}A & B{% endblock %}'
        '{% block width %}wide{% endblock %}{% block content %}<h1>{{ "<b>" }}</h1>{% endblock %}'
    )
    html = page.render()
    other = "en" if language == Language.ZH_CN else "zh-CN"
    assert f'<html lang="{language}">' in html
    assert f'href="?lang={other}"' in html
    assert html.index('href="#content"') < html.index("<header")
    assert html.count('class="page wide"') == 3
    assert "&lt;b&gt;" in html
    assert set(re.findall(r'(?:src|href)="(/[^"]+)"', html)) == {
        "/static/vendor/pico.min.css",
        "/static/xinqiao.css",
    }


MACROS = """{% from "macros.html" import csrf_field, badge, details, amount, moment, date, proof_mark, choice,
    category_box, pager, bar_chart with context %}"""


@every_language
def test_every_badge_says_its_state_in_a_word(language: Language) -> None:
    for key, text in messages(language).items():
        if not key.startswith("state."):
            continue
        _, kind, state = key.split(".")
        html = pages(language).from_string(MACROS + "{{ badge(kind, state) }}").render(kind=kind, state=state)
        assert f">{text}</span>" in html


def test_yes_and_no_look_the_same() -> None:
    html = pages(Language.EN).from_string(MACROS + "{{ choice('Yes', 'No') }}").render()
    yes, no = re.findall(r"<button[^>]*>", html)
    assert yes.replace("yes", "") == no.replace("no", "")


@every_language
@pytest.mark.parametrize("category", Category)
def test_no_box_is_ticked_beforehand(language: Language, category: Category) -> None:
    html = pages(language).from_string(MACROS + "{{ category_box(category) }}").render(category=category)
    assert f'value="{category}"' in html
    assert "checked" not in html
    assert messages(language)[f"category.{category}.why"] in html


@pytest.mark.parametrize(("csrf", "fields"), [(None, 0), ("a1", 1)])
def test_a_form_carries_its_token_where_there_is_one(csrf: str | None, fields: int) -> None:
    html = pages(Language.EN, csrf=csrf).from_string(MACROS + "{{ csrf_field() }}").render()
    assert html.count("<input") == fields
    assert (csrf or "") in html


def test_values_are_escaped_and_times_can_be_read_by_machines() -> None:
    html = (
        pages(Language.EN)
        .from_string(
            MACROS
            + "{{ details([('A', '<i>'), ('B', amount(12345, 'CNY'))]) }}{{ moment(at) }}{{ date(on) }}"
            + "{{ proof_mark('/facts/1', 'verified') }}{{ pager(none, '/older', '2 of 9') }}"
        )
        .render(at=datetime(2026, 11, 22, 1, 31, 7, tzinfo=UTC), on=date(2026, 12, 1))
    )
    assert "&lt;i&gt;" in html
    assert '<span class="money">CNY 123.45</span>' in html
    assert '<time class="digits" datetime="2026-11-22T01:31:07+00:00">' in html
    assert '<time class="digits" datetime="2026-12-01">' in html
    assert 'href="/facts/1"' in html
    assert 'rel="next"' in html
    assert 'rel="prev"' not in html


@pytest.mark.parametrize("bars", [[], [("A", 0, "0")], [("A", 3, "3 %"), ("<B>", 6, "6 %")]])
def test_a_chart_starts_at_zero_and_repeats_its_numbers_in_a_table(bars: list[tuple[str, int, str]]) -> None:
    call = "{{ bar_chart('c', 'Title', 'What it shows', bars, 'Band', 'Share') }}"
    html = pages(Language.EN).from_string(MACROS + call).render(bars=bars)
    figure = ET.fromstring(html)
    assert [figure.findtext("svg/title"), figure.findtext("svg/desc")] == ["Title", "What it shows"]
    drawn = [rect.attrib for rect in figure.iter("rect")]
    most = max((value for _, value, _ in bars), default=0) or 1
    assert [float(rect["width"]) for rect in drawn] == [150 * value / most for _, value, _ in bars]
    axis = figure.find("svg/line")
    assert axis is not None
    assert {rect["x"] for rect in drawn} <= {axis.attrib["x1"]}
    rows = figure.findall(".//tbody/tr")
    assert [(row.findtext("th"), row.findtext("td")) for row in rows] == [(a, text) for a, _, text in bars]


PAIRS = [
    ("pico-primary", "page"),
    ("pico-primary-inverse", "pico-primary-background"),
    ("state-good", "page"),
    ("state-wait", "page"),
    ("state-stop", "page"),
    ("state-rest", "surface"),
    ("pico-primary", "surface"),
]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("front", "back"), PAIRS)
@pytest.mark.spec("WCAG 2.2", "1.4.3")
def test_text_stands_out_from_what_is_behind_it(front: str, back: str, *, dark: bool) -> None:
    css = (STATIC / "xinqiao.css").read_text(encoding="utf-8")
    light_part, dark_part = css.split("@media screen and (prefers-color-scheme: dark)", 1)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", dark_part if dark else light_part))
    colours.setdefault("page", "#13171f" if dark else "#ffffff")  # what Pico paints the page with
    lighter, darker = sorted((_luminance(colours[front]), _luminance(colours[back])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2, definition) of `#rrggbb`."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("word", ["回执", "推荐名单", "移出", "人工复核"])
def test_one_thing_has_one_name_in_chinese(word: str) -> None:
    """The glossary has another word for each of these."""
    assert [key for key, text in messages(Language.ZH_CN).items() if word in text] == []
