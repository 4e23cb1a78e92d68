"""The exact texts people are shown, each with its version and hash, in both languages."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

from compliance.act import Act
from compliance.canonical import Json
from compliance.vocabulary import Language, Purpose
from consent import notice_fields

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice in one language: `sha256` is over `raw`, the text as published, placeholders and all."""

    id: str
    version: int
    language: Language
    purpose: Purpose
    raw: str
    body: str
    relay_sentence: str
    sensitive_sentence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Filling:
    """What one request puts into a notice; lists are already written out in the notice's language."""

    operator: str
    contact: str
    recipient: str
    bureau: str | None
    categories: str
    sensitive_categories: str
    period_days: int
    data_life_days: int


def rendered(notice: Notice, filling: Filling) -> str:
    """The text as a person reads it; sentences about a bureau or about sensitive data stand only where they apply."""
    given = {name: str(value) for name, value in asdict(filling).items()}
    given["relay_sentence"] = _fill(notice.relay_sentence, given) if filling.bureau else ""
    given["sensitive_sentence"] = (
        _fill(notice.sensitive_sentence, given) if filling.sensitive_categories else ""
    )
    return _fill(notice.body, given)


def _fill(text: str, given: Mapping[str, str]) -> str:
    """Fill in each name once: what is filled in is never read for names again."""
    return PLACEHOLDER.sub(lambda found: given[found[1]], text)


@cache
def current(purpose: Purpose, language: Language) -> Notice:
    """The notice in force for a purpose; `NoticeIncomplete` where it leaves out what the law demands."""
    return read((files("consent") / "notices" / f"{purpose}.{language}.md").read_text(encoding="utf-8"))


def read(raw: str) -> Notice:
    """A notice as published; `NoticeIncomplete` where it leaves out what the law demands."""
    _, head, body = raw.split("---\n", 2)
    lines = (line.partition(":") for line in head.strip().splitlines())
    fields = {name: told.strip() for name, _, told in lines}
    notice = Notice(
        id=fields["id"],
        version=int(fields["version"]),
        language=Language(fields["language"]),
        purpose=Purpose(fields["purpose"]),
        raw=raw,
        body=body.strip(),
        relay_sentence=fields.get("relay_sentence", ""),
        sensitive_sentence=fields.get("sensitive_sentence", ""),
        sha256=hashlib.sha256(raw.encode()).hexdigest(),
    )
    sentences = {"sensitive_sentence": notice.sensitive_sentence}
    notice_fields.refuse_incomplete(f"{notice.id}.{notice.language}", notice.language, notice.body, sentences)
    return notice


def all_in_force() -> list[Notice]:
    """Every notice in force, each checked."""
    return [current(purpose, language) for purpose in Purpose for language in Language]


async def publish(act: Act) -> int:
    """Archive every notice in force, so that each grant's hash can be looked up for ever; records what is new."""
    published = 0
    for notice in all_in_force():
        rows = await act.db.execute_query_dict(
            """insert into consent_notice (id, version, language, purpose, sha256, body, published_at)
               values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning id""",
            [
                notice.id,
                notice.version,
                notice.language,
                notice.purpose,
                notice.sha256,
                notice.raw,
                act.now,
            ],
        )
        if rows:
            what: dict[str, Json] = {
                "notice": f"{notice.id}@{notice.version}",
                "language": notice.language,
                "sha256": notice.sha256,
            }
            act.record("notice_published", what)
            published += 1
    return published
