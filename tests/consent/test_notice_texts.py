"""Every purpose has a notice in every language that says what the law asks for and promises nothing else."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from support import inducing_words, readability

from compliance.vocabulary import Language, Purpose
from consent import notice_fields, notices
from consent.notice_fields import Field, NoticeIncomplete
from consent.notices import Filling

FOLDER = Path(__file__).parents[2] / "consent" / "notices"
NAMES = frozenset(
    {
        "operator",
        "contact",
        "recipient",
        "relay_sentence",
        "categories",
        "sensitive_sentence",
        "period_days",
        "data_life_days",
    }
)
OF_THE_OPERATOR_ALONE = frozenset({Purpose.MODEL_DEVELOPMENT, Purpose.SELF_VIEW})
"""No partner receives anything, so no bureau can stand in between."""
HEADINGS = {language: list(notice_fields.headings(language).values()) for language in Language}
every_notice = pytest.mark.parametrize(("purpose", "language"), [(p, g) for p in Purpose for g in Language])


def read(purpose: Purpose, language: Language) -> tuple[dict[str, str], str]:
    """The front matter and the body of one notice."""
    raw = (FOLDER / f"{purpose}.{language}.md").read_text(encoding="utf-8")
    before, head, body = raw.split("---\n", 2)
    assert before == ""
    return dict(line.split(": ", 1) for line in head.strip().splitlines()), body.strip()


def declared(fields: dict[str, str]) -> set[str]:
    return set(fields["placeholders"].split(", "))


def used(text: str) -> set[str]:
    return set(re.findall(r"\{([^}]*)\}", text))


def sections(body: str) -> dict[str, str]:
    """The text under each heading."""
    parts = re.split(r"^## (.+)$", body, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_there_are_no_other_notices() -> None:
    expected = {f"{purpose}.{language}.md" for purpose in Purpose for language in Language}
    assert {file.name for file in FOLDER.iterdir()} == expected


@every_notice
def test_the_front_matter_names_the_notice(purpose: Purpose, language: Language) -> None:
    fields, _ = read(purpose, language)
    assert fields["id"] == fields["purpose"] == purpose
    assert fields["language"] == language
    assert int(fields["version"]) >= 1


@every_notice
def test_the_placeholders_are_known_declared_and_used(purpose: Purpose, language: Language) -> None:
    fields, body = read(purpose, language)
    assert used(body) == declared(fields) <= NAMES
    assert declared(fields) >= NAMES - {"relay_sentence"}


@every_notice
def test_a_sentence_that_is_filled_in_is_written_beside_the_notice(
    purpose: Purpose, language: Language
) -> None:
    fields, _ = read(purpose, language)
    assert used(fields["sensitive_sentence"]) == {"sensitive_categories"}
    relayed = purpose not in OF_THE_OPERATOR_ALONE
    assert ("relay_sentence" in fields) is ("relay_sentence" in declared(fields)) is relayed
    if relayed:
        assert used(fields["relay_sentence"]) == {"bureau"}


@pytest.mark.parametrize("purpose", Purpose)
def test_both_languages_say_the_same_things(purpose: Purpose) -> None:
    (chinese, chinese_body), (english, english_body) = (read(purpose, language) for language in Language)
    assert chinese.keys() == english.keys()
    assert chinese["version"] == english["version"]
    assert declared(chinese) == declared(english)
    of_chinese, of_english = sections(chinese_body), sections(english_body)
    for heading, english_heading in zip(HEADINGS[Language.ZH_CN], HEADINGS[Language.EN], strict=True):
        both = used(of_chinese[heading]) ^ used(of_english[english_heading])
        assert both <= {"recipient"}, heading


@every_notice
@pytest.mark.spec("PIPL", "17, 23, 24, 30")
def test_every_heading_has_its_text(purpose: Purpose, language: Language) -> None:
    _, body = read(purpose, language)
    assert body.startswith("# ")
    found = sections(body)
    assert list(found) == HEADINGS[language]
    assert all(text.strip() for text in found.values())
    who, what, data, how_long = (found[HEADINGS[language][place]] for place in (1, 2, 3, 4))
    assert used(who) >= {"operator", "contact", "recipient"}
    assert what.strip() not in {text.strip() for text in _methods(language, purpose)}
    assert used(data) == {"categories", "sensitive_sentence"}
    assert used(how_long) >= {"period_days", "data_life_days"}


def _methods(language: Language, but: Purpose) -> list[str]:
    """How the other purposes use the data: no two notices may say the same."""
    others = (read(purpose, language)[1] for purpose in Purpose if purpose != but)
    return [sections(body)[HEADINGS[language][2]] for body in others]


@pytest.mark.parametrize("purpose", Purpose)
def test_a_notice_is_short_enough_to_be_read(purpose: Purpose) -> None:
    texts = sections(read(purpose, Language.EN)[1]).values()
    assert 150 <= sum(len(text.split()) for text in texts) <= 350
    chinese = "".join(sections(read(purpose, Language.ZH_CN)[1]).values())
    assert 300 <= len(re.sub(r"\s", "", chinese)) <= 950


@every_notice
def test_no_notice_talks_anybody_into_a_loan(purpose: Purpose, language: Language) -> None:
    fields, body = read(purpose, language)
    assert inducing_words.found(" ".join([*fields.values(), body])) == []


@pytest.mark.parametrize("purpose", Purpose)
def test_chinese_is_set_in_full_width_punctuation(purpose: Purpose) -> None:
    fields, body = read(purpose, Language.ZH_CN)
    text = body + fields["sensitive_sentence"] + fields.get("relay_sentence", "")
    for before, mark in pairwise(text):
        assert not ("\u4e00" <= before <= "\u9fff" and mark in ",;:!?()")


FIELDS = notice_fields.demanded("CN")


def without(raw: str, field: Field, language: Language, name: str | None) -> str:
    """A notice from which one field was taken: one name that is filled in, or all that it says."""
    if field.under in notice_fields.headings(language):
        heading = notice_fields.headings(language)[field.under]
        place = re.compile(rf"(?<=^## {re.escape(heading)}\n)(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    else:
        place = re.compile(rf"(?<=^{field.under}: )(.+)$", re.MULTILINE)
    assert len(place.findall(raw)) == 1
    return place.sub(lambda found: found[1].replace(f"{{{name}}}", "it") if name else "", raw)


@every_notice
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@pytest.mark.spec("PIPL", "14, 15, 16, 17, 23, 24, 29, 30")
def test_a_notice_without_what_the_law_demands_is_refused(
    purpose: Purpose, language: Language, field: Field
) -> None:
    raw = notices.current(purpose, language).raw
    assert notices.read(raw).raw == raw
    for name in (None, *field.names):
        with pytest.raises(NoticeIncomplete, match=rf"{purpose}.*{field.name} \("):
            notices.read(without(raw, field, language, name))


def test_fields_name_headings_and_sentences_that_exist() -> None:
    places = {"sensitive_sentence", *notice_fields.headings(Language.EN)}
    assert {field.under for field in FIELDS} <= places
    assert all(field.law.startswith("PIPL Art ") for field in FIELDS)


@every_notice
def test_a_fourteen_year_old_can_read_a_notice(purpose: Purpose, language: Language) -> None:
    names = {
        Language.EN: ("Xinqiao", "Bank Alpha", "Bureau Beta", "your shopping; what you tell us", "loans"),
        Language.ZH_CN: ("信桥", "甲银行", "乙征信", "购物、本人陈述", "借款和还款"),
    }
    operator, bank, bureau, some, sensitive = names[language]
    filled = Filling(operator, "x", bank, bureau, some, sensitive, 90, 90)
    text = notices.rendered(notices.current(purpose, language), filled)
    readability.refuse_hard(language, re.sub(r"^#.*$", "", text, flags=re.MULTILINE))
