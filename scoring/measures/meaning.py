"""What a feature means, in words put together as its expression is, so that the two cannot say different things."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from compliance.vocabulary import Category, Language
from scoring import feature_terms
from scoring.feature_terms import Term

FILE = Path(__file__).with_name("words.toml")
COMPARED = {">": "above", ">=": "at_least", "<": "below"}
JOINED = {"/": "divided", "-": "less"}

Words = Mapping[str, Mapping[str, Mapping[str, str]]]


def meaning(expression: str, category: Category, language: Language) -> str:
    """Tell what an expression of a category measures; what has no word of ours is quoted as it is called."""
    read = feature_terms.parse(expression)
    told = [_term(term, category, language) for term in read.terms]
    if read.equals is not None:
        value = _say("joined", "quoted", language, read.equals)
        return _say("joined", "equals", language, told[0], value)
    return _say("joined", JOINED[read.between], language, *told) if read.between else told[0]


def unit(name: str, language: Language) -> str:
    """Name a unit."""
    return _say("unit", name, language)


def why(reason: str, language: Language) -> str:
    """Tell why a feature has no direction; it is declared in English."""
    return reason if language is Language.EN else _words()["why"][reason][language]


@cache
def _words() -> Words:
    return tomllib.loads(FILE.read_text("utf-8"))


def _say(section: str, key: str, language: Language, *values: str) -> str:
    return _words()[section][key][language].format(*values)


def _known(section: str, key: str, otherwise: str, language: Language) -> str:
    return _say(section, key if key in _words()[section] else otherwise, language)


def _term(term: Term, category: Category, language: Language) -> str:
    if term.how in {"profile", "asked"}:
        return _say("statistic", term.how, language, _part(term.event, term, language))
    events = _events(term.event, category, language)
    how = "count_beyond" if term.how == "count" and term.beyond else term.how
    told = _say("statistic", how, language, events, _taken(term, language))
    return _say("joined", "within", language, told, str(term.within)) if term.within else told


def _events(event: str, category: Category, language: Language) -> str:
    if event == feature_terms.ANY:
        return _known("all", category, "other", language)
    if event in _words()["events"]:
        return _say("events", event, language)
    return _say("joined", "called", language, event)


def _taken(term: Term, language: Language) -> str:
    if term.take is None:
        return ""
    if term.how in feature_terms.OF_KINDS:
        known = term.take in _words()["kinds"]
        return _say("kinds", term.take, language) if known else _quoted(term.take, language)
    parts = re.split(r" ([-/]) ", term.take)
    told = _part(parts[0], term, language)
    if len(parts) > 1:
        told = _say("joined", f"part_{JOINED[parts[1]]}", language, told, _part(parts[2], term, language))
    if term.beyond is None:
        return told
    compare, bound = term.beyond
    return _say("joined", COMPARED[compare], language, told, f"{bound:g}")


def _part(name: str, term: Term, language: Language) -> str:
    if name == "value":
        return _known("value", term.event, "other", language)
    owner, _, attribute = name.rpartition(".")
    told = (
        _say("part", attribute, language) if attribute in _words()["part"] else _quoted(attribute, language)
    )
    return _say("joined", "of_loan", language, told) if owner else told


def _quoted(name: str, language: Language) -> str:
    return _say("joined", "quoted", language, name)
