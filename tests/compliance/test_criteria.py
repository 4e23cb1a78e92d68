"""Criteria are read strictly, mean the same on a row and on a column, and never match what is unknown."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance import criteria, criteria_json
from compliance.criteria import And, Attribute, Between, Compare, Criteria, In, IsNull, Not, Or, Scalar
from compliance.criteria_json import DEPTH_MAX, LIST_MAX, NODES_MAX, CriteriaUnacceptable

REGIONS = ("CN-BJ", "CN-GD", "CN-SH")
CATALOGUE = {
    attribute.name: attribute
    for attribute in (
        Attribute("age", "integer", low=0, high=150),
        Attribute("amount_minor", "integer", low=0, high=10**12),
        Attribute("region", "code", codes=frozenset(REGIONS)),
        Attribute("band", "code", codes=frozenset("ABCDE")),
        Attribute("is_student", "boolean"),
    )
}
INTEGERS = ("age", "amount_minor")


def prop(name: str) -> dict[str, str]:
    return {"property": name}


def op(name: str, *args: object) -> dict[str, object]:
    return {"op": name, "args": list(args)}


ADULT = op(">=", prop("age"), 18)


# --- random trees and rows ---


def values_of(name: str) -> st.SearchStrategy[Scalar]:
    attribute = CATALOGUE[name]
    if attribute.type == "integer":  # few values, so that equalities are met
        return st.integers(attribute.low, attribute.low + 8)
    return st.booleans() if attribute.type == "boolean" else st.sampled_from(sorted(attribute.codes))


@st.composite
def leaves(draw: st.DrawFn) -> Criteria:
    name = draw(st.sampled_from(sorted(CATALOGUE)))
    kind = draw(st.sampled_from(["compare", "between", "in", "null"]))
    if kind == "null":
        return IsNull(name)
    if kind == "in":
        return In(name, tuple(draw(st.lists(values_of(name), min_size=1, max_size=4))))
    if kind == "between" and name in INTEGERS:
        low, high = sorted(int(draw(values_of(name))) for _ in range(2))
        return Between(name, low, high)
    ops = criteria.COMPARISONS if name in INTEGERS else criteria.EQUALITY
    return Compare(name, draw(st.sampled_from(sorted(ops))), draw(values_of(name)))


TREES: st.SearchStrategy[Criteria] = st.recursive(
    leaves(),
    lambda parts: st.one_of(
        st.lists(parts, min_size=2, max_size=3).map(lambda p: And(tuple(p))),
        st.lists(parts, min_size=2, max_size=3).map(lambda p: Or(tuple(p))),
        parts.map(Not),
    ),
    max_leaves=10,
)
ROWS = st.fixed_dictionaries({name: st.none() | values_of(name) for name in CATALOGUE})
Row = dict[str, Scalar | None]


def columns_of(rows: list[Row], codes: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows as columns, with a wrong value of the right type where nothing is known."""
    dtypes = {"integer": np.int64, "code": codes, "boolean": np.bool_}
    fill: dict[str, Scalar] = {"integer": 3, "code": "A", "boolean": True}
    columns, known = {}, {}
    for name, attribute in CATALOGUE.items():
        cells = [fill[attribute.type] if row[name] is None else row[name] for row in rows]
        columns[name] = np.array(cells, dtype=dtypes[attribute.type])
        known[name] = np.array([row[name] is not None for row in rows], dtype=np.bool_)
    return columns, known


# --- meaning ---


@given(TREES, st.lists(ROWS, min_size=1, max_size=20), st.sampled_from(["U8", "O"]))
def test_a_mask_is_the_answers_row_by_row(tree: Criteria, rows: list[Row], codes: str) -> None:
    columns, known = columns_of(rows, codes)
    found = criteria.mask(tree, columns, known)
    assert found.dtype == np.bool_
    assert found.tolist() == [criteria.matches(tree, row) for row in rows]
    negated = criteria.mask(Not(tree), columns, known)
    assert negated.tolist() == [criteria.evaluate(tree, row) is False for row in rows]


@given(st.lists(TREES, min_size=2, max_size=4), ROWS)
def test_de_morgan_in_three_values(parts: list[Criteria], row: Row) -> None:
    every, some = And(tuple(parts)), Or(tuple(parts))
    none = tuple(Not(part) for part in parts)
    assert criteria.evaluate(Not(every), row) is criteria.evaluate(Or(none), row)
    assert criteria.evaluate(Not(some), row) is criteria.evaluate(And(none), row)
    assert criteria.evaluate(Not(Not(every)), row) is criteria.evaluate(every, row)


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (True, True, True, True),
        (True, False, False, True),
        (True, None, None, True),
        (False, False, False, False),
        (False, None, False, None),
        (None, None, None, None),
    ],
)
def test_kleene_tables(left: bool | None, right: bool | None, both: bool | None, either: bool | None) -> None:
    parts = (Compare("left", "=", True), Compare("right", "=", True))
    for row in ({"left": left, "right": right}, {"left": right, "right": left}):
        assert criteria.evaluate(And(parts), row) is both
        assert criteria.evaluate(Or(parts), row) is either


@given(leaves())
def test_nothing_known_is_never_matched_nor_its_negation(leaf: Criteria) -> None:
    if isinstance(leaf, IsNull):
        assert criteria.evaluate(leaf, {}) is True
        return
    assert criteria.evaluate(leaf, {}) is None
    assert not criteria.matches(leaf, {})
    assert not criteria.matches(Not(leaf), {})


@given(TREES, ROWS)
def test_learning_more_never_turns_an_answer_round(tree: Criteria, row: Row) -> None:
    """Without isNull, an answer given on partial knowledge holds on full knowledge."""
    if "isNull" in str(criteria.canonical(tree)):
        return
    found: Row = {"age": 1, "amount_minor": 1, "region": "CN-BJ", "band": "A", "is_student": True}
    full = {name: found[name] if value is None else value for name, value in row.items()}
    partial = criteria.evaluate(tree, row)
    assert partial is None or partial is criteria.evaluate(tree, full)


def test_a_long_code_is_not_cut_to_the_width_of_its_column() -> None:
    columns = {"band": np.array(["A", "B"], dtype="U1")}
    known = {"band": np.array([True, True])}
    assert criteria.mask(In("band", ("AX", "B")), columns, known).tolist() == [False, True]


def test_numbers_beyond_the_width_of_a_column() -> None:
    columns = {"age": np.array([3, 44], dtype=np.uint8)}
    known = {"age": np.array([True, True])}
    assert criteria.mask(Compare("age", "<", 300), columns, known).tolist() == [True, True]
    assert criteria.mask(In("age", (300, 259, 3)), columns, known).tolist() == [True, False]


def test_a_missing_column_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError):
        criteria.mask(Compare("age", "<", 30), {}, {})


@given(TREES)
def test_attributes_are_those_asked_about(tree: Criteria) -> None:
    written = str(criteria.canonical(tree))
    assert criteria.attributes(tree) == {name for name in CATALOGUE if f"'property': '{name}'" in written}


# --- one form ---


def shuffled(tree: Criteria, random: Any) -> Criteria:
    if isinstance(tree, And | Or):
        parts = [shuffled(part, random) for part in tree.parts]
        random.shuffle(parts)
        return type(tree)(tuple(parts))
    if isinstance(tree, Not):
        return Not(shuffled(tree.part, random))
    if isinstance(tree, In):
        return In(tree.attribute, tuple(random.sample(tree.values, len(tree.values))))
    return tree


@given(TREES, st.randoms(use_true_random=False))
def test_the_digest_does_not_see_order(tree: Criteria, random: Any) -> None:
    assert criteria.digest(shuffled(tree, random)) == criteria.digest(tree)


@given(TREES, TREES)
def test_different_criteria_have_different_digests(one: Criteria, other: Criteria) -> None:
    same = criteria.canonical(one) == criteria.canonical(other)
    assert (criteria.digest(one) == criteria.digest(other)) is same


def test_the_order_of_bounds_and_values_matters() -> None:
    assert criteria.digest(Compare("age", "<", 18)) != criteria.digest(Compare("age", ">", 18))
    assert criteria.digest(Between("age", 1, 2)) != criteria.digest(Between("age", 2, 2))
    assert criteria.digest(Compare("flag", "=", True)) != criteria.digest(Compare("flag", "=", 1))


def depth(tree: Criteria) -> int:
    if isinstance(tree, And | Or):
        return 1 + max(map(depth, tree.parts))
    return 1 + depth(tree.part) if isinstance(tree, Not) else 1


@given(TREES, ROWS)
def test_what_is_written_is_read_back(tree: Criteria, row: Row) -> None:
    if depth(tree) > DEPTH_MAX:
        return
    read = criteria_json.parse(criteria.canonical(tree), CATALOGUE)
    assert criteria.digest(read) == criteria.digest(tree)
    assert criteria.evaluate(read, row) is criteria.evaluate(tree, row)


# --- reading ---


def test_every_form_is_read() -> None:
    given_json = op(
        "and",
        ADULT,
        op("between", prop("amount_minor"), 10_000, 20_000),
        op("in", prop("region"), ["CN-BJ", "CN-SH"]),
        op("or", op("isNull", prop("band")), op("<>", prop("band"), "E")),
        op("not", op("=", prop("is_student"), True)),
    )
    assert criteria_json.parse(given_json, CATALOGUE) == And(
        (
            Compare("age", ">=", 18),
            Between("amount_minor", 10_000, 20_000),
            In("region", ("CN-BJ", "CN-SH")),
            Or((IsNull("band"), Compare("band", "<>", "E"))),
            Not(Compare("is_student", "=", True)),
        )
    )


def faults(given_json: object) -> list[tuple[str, str]]:
    with pytest.raises(CriteriaUnacceptable) as refused:
        criteria_json.parse(given_json, CATALOGUE)
    assert (refused.value.status, refused.value.code) == (422, "criteria_unacceptable")
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


REFUSED: list[tuple[object, str, str]] = [
    (None, "", "not_a_node"),
    ([], "", "not_a_node"),
    ({"op": "and"}, "", "not_a_node"),
    ({**ADULT, "sql": "1=1"}, "", "not_a_node"),
    ({"op": "=", "args": {}}, "/args", "not_a_list"),
    (op("exec", prop("age"), 1), "/op", "op_unknown"),
    ({"op": ["and"], "args": []}, "/op", "op_unknown"),
    (op("AND", ADULT, ADULT), "/op", "op_unknown"),
    (op("and", ADULT), "/args", "wrong_length"),
    (op("or"), "/args", "wrong_length"),
    (op("not", ADULT, ADULT), "/args", "wrong_length"),
    (op("=", prop("age")), "/args", "wrong_length"),
    (op("between", prop("age"), 1), "/args", "wrong_length"),
    (op("isNull", prop("age"), 1), "/args", "wrong_length"),
    (op("=", "age", 1), "/args/0", "not_a_property"),
    (op("=", {"property": "age", "x": 1}, 1), "/args/0", "not_a_property"),
    (op("=", prop("sex"), 1), "/args/0/property", "attribute_unknown"),
    (op("=", {"property": 1}, 1), "/args/0/property", "attribute_unknown"),
    (op("=", prop("age"), True), "/args/1", "not_in_range"),
    (op("=", prop("age"), 18.0), "/args/1", "not_in_range"),
    (op("=", prop("age"), float("nan")), "/args/1", "not_in_range"),
    (op("=", prop("age"), None), "/args/1", "not_in_range"),
    (op("=", prop("age"), "18"), "/args/1", "not_in_range"),
    (op("=", prop("age"), 151), "/args/1", "not_in_range"),
    (op("=", prop("age"), -1), "/args/1", "not_in_range"),
    (op("=", prop("age"), 10**400), "/args/1", "not_in_range"),
    (op("=", prop("is_student"), 1), "/args/1", "not_a_boolean"),
    (op("=", prop("band"), "F"), "/args/1", "code_unknown"),
    (op("=", prop("band"), "A" * 10_000), "/args/1", "code_unknown"),
    (op("=", prop("band"), ["A"]), "/args/1", "code_unknown"),
    (op("<", prop("band"), "B"), "/args", "not_ordered"),
    (op("between", prop("is_student"), False, True), "/args", "not_ordered"),
    (op("between", prop("age"), 30, 20), "/args/2", "range_empty"),
    (op("in", prop("age"), 18), "/args/1", "wrong_length"),
    (op("in", prop("age"), []), "/args/1", "wrong_length"),
    (op("in", prop("age"), [1] * (LIST_MAX + 1)), "/args/1", "wrong_length"),
    (op("in", prop("age"), [1, True]), "/args/1/1", "not_in_range"),
]


@pytest.mark.parametrize(("given_json", "pointer", "code"), REFUSED)
def test_what_cannot_be_read_is_refused(given_json: object, pointer: str, code: str) -> None:
    assert faults(given_json) == [(pointer, code)]


def test_every_fault_is_told_at_once() -> None:
    nested = op("or", op("in", prop("band"), ["A", "X", 1]), op("between", prop("age"), -1, 151))
    assert faults(op("and", op("=", prop("sex"), 1), nested, ADULT, op("not", {}))) == [
        ("/args/0/args/0/property", "attribute_unknown"),
        ("/args/1/args/0/args/1/1", "code_unknown"),
        ("/args/1/args/0/args/1/2", "code_unknown"),
        ("/args/1/args/1/args/1", "not_in_range"),
        ("/args/1/args/1/args/2", "not_in_range"),
        ("/args/3/args/0", "not_a_node"),
    ]


def nest(levels: int) -> object:
    tree: object = ADULT
    for _ in range(levels - 1):
        tree = op("not", tree)
    return tree


def test_the_bounds_are_exact() -> None:
    criteria_json.parse(nest(DEPTH_MAX), CATALOGUE)
    assert faults(nest(DEPTH_MAX + 1)) == [("", "too_large")]
    assert faults(nest(100_000)) == [("", "too_large")]
    criteria_json.parse(op("and", *[ADULT] * (NODES_MAX - 1)), CATALOGUE)
    assert faults(op("and", *[ADULT] * NODES_MAX)) == [("", "too_large")]
    assert faults(op("and", *[{}] * 1_000_000)) == [("", "too_large")]
    criteria_json.parse(op("in", prop("age"), [1] * LIST_MAX), CATALOGUE)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*CATALOGUE]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.fixed_dictionaries(
            {"op": st.sampled_from([*criteria_json.ARITY, "and", "or", "not"]), "args": inner}
        )
        | st.fixed_dictionaries({"property": inner})
    ),
    max_leaves=12,
)


@given(JSON)
def test_anything_is_either_read_or_refused_with_a_place(given_json: object) -> None:
    try:
        criteria_json.parse(given_json, CATALOGUE)
    except CriteriaUnacceptable as refusal:
        told = refusal.faults
    else:
        return
    assert told
    assert all(fault.detail for fault in told)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "age", "type": "integer", "low": 2, "high": 1},
        {"name": "age", "type": "integer", "low": 0, "high": 2**64},
        {"name": "band", "type": "code"},
        {"name": "band", "type": "code", "codes": frozenset({"A" * 65})},
    ],
)
def test_an_attribute_is_closed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=wrong["name"]):
        Attribute(**wrong)


# --- schema ---

REFERENCE = "#/components/schemas/Criteria"


def fits(value: Any, wanted: dict[str, Any], root: dict[str, Any]) -> bool:
    """As much of JSON Schema 2020-12 as the criteria's schema uses."""
    if "$ref" in wanted:
        return fits(value, root, root)
    if "oneOf" in wanted:
        return sum(fits(value, option, root) for option in wanted["oneOf"]) == 1
    if "const" in wanted:
        return bool(value == wanted["const"])
    if "enum" in wanted and wanted.get("type") != "object":
        return isinstance(value, str) and value in wanted["enum"]
    kind = wanted["type"]
    if kind == "object":
        return (
            isinstance(value, dict)
            and value.keys() == set(wanted["required"])
            and all(fits(value[name], inner, root) for name, inner in wanted["properties"].items())
        )
    if kind == "array":
        if not isinstance(value, list) or not wanted["minItems"] <= len(value) <= wanted["maxItems"]:
            return False
        schemas = wanted.get("prefixItems") or [wanted["items"]] * len(value)
        return all(fits(item, inner, root) for item, inner in zip(value, schemas, strict=True))
    if kind == "integer":
        return type(value) is int and wanted["minimum"] <= value <= wanted["maximum"]
    return type(value) is bool


SCHEMA = criteria_json.schema(CATALOGUE, REFERENCE)


@given(TREES)
def test_the_schema_admits_what_is_read(tree: Criteria) -> None:
    assert fits(criteria.canonical(tree), SCHEMA, SCHEMA)


@pytest.mark.parametrize(("given_json", "code"), [(row[0], row[2]) for row in REFUSED])
def test_the_schema_refuses_what_is_refused(given_json: object, code: str) -> None:
    assert fits(given_json, SCHEMA, SCHEMA) is (code == "range_empty")  # two bounds are beyond a schema


@given(JSON)
def test_the_schema_admits_nothing_else(given_json: object) -> None:
    """Depth, count and the order of a range are beyond a schema; these inputs are small."""
    try:
        criteria_json.parse(given_json, CATALOGUE)
        readable = True
    except CriteriaUnacceptable as refusal:
        readable = bool({fault.code for fault in refusal.faults} <= {"too_large", "range_empty"})
    assert readable or not fits(given_json, SCHEMA, SCHEMA)
