"""What no feature may be made of, by jurisdiction and source; where laws differ, the strictest of them counts."""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from compliance.refusals import Fault, Refusal
from compliance.vocabulary import Category, Language

FILE = Path(__file__).with_name("forbidden.toml")


class FeatureForbidden(Refusal):
    """A model was to use what the law or our own list forbids; each fault's pointer names the column."""

    status, code, title = 422, "feature_forbidden", "This must not become a feature"


@dataclass(frozen=True, slots=True)
class Ban:
    """What one law keeps out of features: names that fit a pattern, and perhaps a whole category.

    `source` names the law, `what` says in words what it keeps out.
    """

    jurisdiction: str
    source: Mapping[Language, str]
    what: Mapping[Language, str]
    pattern: re.Pattern[str]
    category: Category | None


@cache
def bans() -> tuple[Ban, ...]:
    """All that is forbidden anywhere."""
    listed = tomllib.loads(FILE.read_text("utf-8"))["ban"]
    return tuple(
        Ban(
            jurisdiction=each["jurisdiction"],
            source={language: each["source"][language] for language in Language},
            what={language: each["what"][language] for language in Language},
            pattern=re.compile(each["pattern"]),
            category=Category(each["category"]) if "category" in each else None,
        )
        for each in listed
    )


def ban_of(name: str) -> Ban | None:
    """Find what forbids a feature of this name, if anything does."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = re.sub(r"[\s.-]+", "_", words)
    return next((ban for ban in bans() if ban.pattern.search(words)), None)


def is_in(said: str) -> bool:
    """Whether a feature's name, or what it measures, is forbidden; the value after `=` does not count."""
    return ban_of(said.partition("=")[0]) is not None


def refuse(names: Sequence[str]) -> None:
    """Refuse features of which the name is forbidden, or of which two have the same.

    Of one value of a column (`column=value`) only the column's name is looked at.

    Raises:
        FeatureForbidden: with a fault for each.

    """
    times = Counter(names)
    faults = []
    for name in names:
        if ban := ban_of(name.partition("=")[0]):
            faults.append(Fault(f"/{name}", "forbidden", f"forbidden: {ban.source[Language.EN]}"))
        elif times[name] > 1:
            faults.append(Fault(f"/{name}", "name_taken", "another feature has this name"))
    if faults:
        raise FeatureForbidden("a profile column with the role feature must not be used in a model", *faults)
