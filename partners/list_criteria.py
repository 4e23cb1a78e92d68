"""What a bank may ask a list by, and who is known to meet it: coarse attributes, each only where its source is shared."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compliance import criteria, criteria_json
from compliance.criteria import And, Attribute, Criteria, IsNull, Not, Or
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Category
from consent.people import age_on
from consent.permits import PopulationPermit
from scoring.population import Everybody

BANDS = ("A", "B", "C", "D", "E")
AGE_BANDS = {"18_24": (18, 24), "25_34": (25, 34), "35_44": (35, 44), "45_54": (45, 54), "55_plus": (55, 150)}
CATALOGUE = {
    a.name: a
    for a in (
        Attribute("band", "code", codes=frozenset(BANDS)),
        Attribute("age_band", "code", codes=frozenset(AGE_BANDS)),
        Attribute("region", "code", codes=frozenset({"east", "central", "west", "northeast"})),
        Attribute(
            "income_band",
            "code",
            codes=frozenset({"below_3000", "3000_4499", "4500_7999", "8000_19999", "from_20000"}),
        ),
    )
}
"""All that a list can be asked by: coarse and closed. Sex and marital status are not in it, and cannot be."""
SOURCES: Mapping[str, Category] = dict.fromkeys(("age_band", "region", "income_band"), Category.DECLARED)
"""The category an attribute comes from. A band has none of its own: the score rests on what is shared, and no more."""

Column = NDArray[Any]
Mask = NDArray[np.bool_]


def read(given: object) -> Criteria:
    """Read a bank's criteria. Raises `CriteriaUnacceptable`, and `Unacceptable` where it asks who is not known.

    What a person keeps to themselves must never be what puts them on a list.
    """
    tree = criteria_json.parse(given, CATALOGUE)
    if _asks_for_unknown(tree):
        fault = Fault("/criteria", "is_null_not_allowed", "ask by what is known of a person")
        raise Unacceptable("nobody is listed for what is not known of them", fault)
    return tree


def met(
    tree: Criteria, everybody: Everybody, bands: list[str], permitted: PopulationPermit, day: date
) -> Mask:
    """Who is known to meet the criteria, row by row; `bands` is empty text where there is no answer.

    What no bank can ask away protects people and needs no category: students, and who may be one, are never met.
    """
    told: dict[str, list[str]] = {
        "band": bands,
        "age_band": [_age_band(age_on(permitted.born_on[u], day)) for u in everybody.users],
        "region": [str(a.get("region") or "") for a in everybody.attributes],
        "income_band": [str(a.get("income_band") or "") for a in everybody.attributes],
    }
    columns: dict[str, Column] = {name: np.array(values, dtype="U64") for name, values in told.items()}
    known = {
        name: (column != "") & _shared(everybody, permitted, SOURCES.get(name))
        for name, column in columns.items()
    }
    no_student = np.array([a.get("is_student") is False for a in everybody.attributes])
    found: Mask = criteria.mask(tree, columns, known) & no_student
    return found


def _shared(everybody: Everybody, permitted: PopulationPermit, source: Category | None) -> Mask:
    return np.array([source is None or source in permitted.masks[u] for u in everybody.users])


def _asks_for_unknown(tree: Criteria) -> bool:
    match tree:
        case IsNull():
            return True
        case Not(part):
            return _asks_for_unknown(part)
        case And(parts) | Or(parts):
            return any(_asks_for_unknown(part) for part in parts)
    return False


def _age_band(age: int) -> str:
    return next((name for name, (low, high) in AGE_BANDS.items() if low <= age <= high), "")
