"""The exact texts people are shown, each with its version and hash, in both languages."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from compliance.act import Act
from compliance.canonical import Json
from compliance.vocabulary import Language, Purpose


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice in one language: `sha256` is over the text as published, placeholders and all."""

    id: str
    version: int
    language: Language
    purpose: Purpose
    body: str
    sha256: str

    def shown(self, **values: str) -> str:
        """The text as a person reads it, with the names, days and categories of one request filled in."""
        text = self.body
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text


@cache
def current(purpose: Purpose, language: Language) -> Notice:
    """The notice in force for a purpose."""
    raw = (files("consent") / "notices" / f"{purpose}.{language}.md").read_text(encoding="utf-8")
    _, head, body = raw.split("---\n", 2)
    fields = dict(line.split(": ", 1) for line in head.strip().splitlines())
    return Notice(
        id=fields["id"],
        version=int(fields["version"]),
        language=Language(fields["language"]),
        purpose=Purpose(fields["purpose"]),
        body=body.strip(),
        sha256=hashlib.sha256(raw.encode()).hexdigest(),
    )


async def publish(act: Act) -> int:
    """Archive every notice in force, so that each grant's hash can be looked up for ever; records what is new."""
    published = 0
    for purpose in Purpose:
        for language in Language:
            notice = current(purpose, language)
            rows = await act.db.execute_query_dict(
                """insert into consent_notice (id, version, language, purpose, sha256, body, published_at)
                   values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing returning id""",
                [notice.id, notice.version, language, purpose, notice.sha256, notice.body, act.now],
            )
            if rows:
                what: dict[str, Json] = {
                    "notice": f"{notice.id}@{notice.version}",
                    "language": language,
                    "sha256": notice.sha256,
                }
                act.record("notice_published", what)
                published += 1
    return published
