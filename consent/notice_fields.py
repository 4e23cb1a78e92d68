"""What the law of a jurisdiction demands of a notice, as data, and whether a notice says it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from compliance.vocabulary import Language

JURISDICTIONS: Final = ("CN",)
"""Those whose fields every notice has."""
NAME = re.compile(r"\{([a-z_]+)\}")


class NoticeIncomplete(ValueError):
    """A notice lacks what the law demands: nobody may be asked with it."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a notice says: `under` is a heading's key, or the name of a sentence of the front matter."""

    name: str
    law: str
    under: str
    names: tuple[str, ...]


@cache
def _declared() -> Mapping[str, Any]:
    return tomllib.loads((files("consent") / "notice_fields.toml").read_text("utf-8"))


def headings(language: Language) -> Mapping[str, str]:
    """The headings of every notice in their order: what stands in the notice, by its key."""
    return {key: texts[language] for key, texts in _declared()["headings"].items()}


def demanded(jurisdiction: str) -> tuple[Field, ...]:
    """What a jurisdiction demands."""
    return tuple(
        Field(name, told["law"], told["under"], tuple(told["names"]))
        for name, told in _declared()[jurisdiction].items()
    )


def refuse_incomplete(title: str, language: Language, body: str, sentences: Mapping[str, str]) -> None:
    """Refuse a notice that leaves out a field; a text that is nothing but names to fill in says nothing."""
    parts = re.split(r"^## (.+)$", body, flags=re.MULTILINE)
    by_heading = dict(zip(parts[1::2], parts[2::2], strict=True))
    texts = {key: by_heading.get(heading, "") for key, heading in headings(language).items()}
    texts.update(sentences)
    lacking = [
        f"{field.name} ({field.law})"
        for jurisdiction in JURISDICTIONS
        for field in demanded(jurisdiction)
        if not _says(texts[field.under], field.names)
    ]
    if lacking:
        raise NoticeIncomplete(f"{title} lacks {', '.join(lacking)}")


def _says(text: str, names: tuple[str, ...]) -> bool:
    return set(names) <= set(NAME.findall(text)) and re.search(r"\w", NAME.sub("", text)) is not None
