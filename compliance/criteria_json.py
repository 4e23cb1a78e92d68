"""Criteria as partners write them: CQL2-JSON is read, or refused with every fault at once."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from compliance.criteria import (
    COMPARISONS,
    EQUALITY,
    ORDER,
    And,
    Attribute,
    Between,
    Catalogue,
    Compare,
    Criteria,
    In,
    IsNull,
    Not,
    Or,
    Scalar,
)
from compliance.refusals import Fault, Refusal

DEPTH_MAX = 6
NODES_MAX = 50
LIST_MAX = 200
CONNECTIVES = ("and", "or", "not")
ARITY = {**dict.fromkeys(COMPARISONS, 2), "in": 2, "between": 3, "isNull": 1}
T = TypeVar("T")


class CriteriaUnacceptable(Refusal):
    """The criteria cannot be read; `faults` name every place."""

    status, code, title = 422, "criteria_unacceptable", "The criteria cannot be accepted"


def parse(given: object, catalogue: Catalogue) -> Criteria:
    """Read criteria from plain JSON. Raises `CriteriaUnacceptable` with every fault and its JSON pointer."""
    _bound(given)
    return _node(given, "", catalogue)


def schema(catalogue: Catalogue, reference: str = "#/components/schemas/Criteria") -> dict[str, Any]:
    """Make the JSON Schema (2020-12) of criteria over a catalogue; `reference` is where it will stand."""
    part = {"$ref": reference}
    connectives = [
        _node_schema(["and", "or"], {"type": "array", "items": part, "minItems": 2, "maxItems": NODES_MAX}),
        _node_schema(["not"], {"type": "array", "items": part, "minItems": 1, "maxItems": 1}),
    ]
    leaves = [leaf for attribute in catalogue.values() for leaf in _leaf_schemas(attribute)]
    return {
        "description": f"At most {DEPTH_MAX} levels and {NODES_MAX} nodes. What is unknown is never matched.",
        "oneOf": [*connectives, *leaves],
    }


def _bound(given: object) -> None:
    """Refuse what is too large before anything is read."""
    pending, nodes = [(given, 1)], 0
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if nodes > NODES_MAX or depth > DEPTH_MAX:
            raise _refusal("", "too_large", f"at most {NODES_MAX} nodes and {DEPTH_MAX} levels")
        if isinstance(node, dict) and node.get("op") in CONNECTIVES and isinstance(node.get("args"), list):
            pending.extend((part, depth + 1) for part in node["args"][:NODES_MAX])


def _node(given: object, pointer: str, catalogue: Catalogue) -> Criteria:
    if not isinstance(given, dict) or given.keys() != {"op", "args"}:
        raise _refusal(pointer, "not_a_node", 'an object with "op" and "args" and nothing else')
    op, args = given["op"], given["args"]
    if not isinstance(args, list):
        raise _refusal(f"{pointer}/args", "not_a_list", "a list")
    if op in CONNECTIVES:
        return _connective(op, args, f"{pointer}/args", catalogue)
    if not isinstance(op, str) or op not in ARITY:
        raise _refusal(f"{pointer}/op", "op_unknown", f"one of {', '.join([*CONNECTIVES, *ARITY])}")
    if len(args) != ARITY[op]:
        raise _refusal(f"{pointer}/args", "wrong_length", f"{ARITY[op]} for {op}")
    return _leaf(op, _attribute(args[0], f"{pointer}/args/0", catalogue), args[1:], f"{pointer}/args")


def _connective(op: str, args: list[object], pointer: str, catalogue: Catalogue) -> Criteria:
    if (len(args) != 1) if op == "not" else (len(args) < 2):
        raise _refusal(pointer, "wrong_length", f"{'1' if op == 'not' else '2 or more'} for {op}")
    parts = _gather(partial(_node, arg, f"{pointer}/{n}", catalogue) for n, arg in enumerate(args))
    if op == "not":
        return Not(parts[0])
    return And(tuple(parts)) if op == "and" else Or(tuple(parts))


def _leaf(op: str, attribute: Attribute, args: list[object], pointer: str) -> Criteria:
    if op == "isNull":
        return IsNull(attribute.name)
    if op == "in":
        return In(
            attribute.name, tuple(_values(attribute, _listed(args[0], f"{pointer}/1"), f"{pointer}/1", 0))
        )
    if (op in ORDER or op == "between") and attribute.type != "integer":
        raise _refusal(pointer, "not_ordered", f"{attribute.name} can be equal or unequal only")
    values = _values(attribute, args, pointer, 1)
    if op != "between":
        return Compare(attribute.name, op, values[0])
    low, high = int(values[0]), int(values[1])
    if low > high:
        raise _refusal(f"{pointer}/2", "range_empty", f"{low} or more")
    return Between(attribute.name, low, high)


def _attribute(given: object, pointer: str, catalogue: Catalogue) -> Attribute:
    if not isinstance(given, dict) or given.keys() != {"property"}:
        raise _refusal(pointer, "not_a_property", 'an object with "property" and nothing else')
    name = given["property"]
    if not isinstance(name, str) or name not in catalogue:
        raise _refusal(f"{pointer}/property", "attribute_unknown", f"one of {', '.join(sorted(catalogue))}")
    return catalogue[name]


def _listed(given: object, pointer: str) -> list[object]:
    if not isinstance(given, list) or not 1 <= len(given) <= LIST_MAX:
        raise _refusal(pointer, "wrong_length", f"a list of 1 to {LIST_MAX} values")
    return given


def _values(attribute: Attribute, given: list[object], pointer: str, first: int) -> list[Scalar]:
    return _gather(partial(_value, attribute, item, f"{pointer}/{n}") for n, item in enumerate(given, first))


def _value(attribute: Attribute, given: object, pointer: str) -> Scalar:
    # JSON's true is Python's True, which equals 1: hence the exact types.
    if attribute.type == "integer":
        if type(given) is int and attribute.low <= given <= attribute.high:
            return given
        detail = f"a whole number from {attribute.low} to {attribute.high}"
        raise _refusal(pointer, "not_in_range", detail)
    if attribute.type == "boolean":
        if type(given) is bool:
            return given
        raise _refusal(pointer, "not_a_boolean", "true or false")
    if type(given) is str and given in attribute.codes:
        return given
    raise _refusal(pointer, "code_unknown", f"a code of {attribute.name}")


def _gather(readings: Iterable[Callable[[], T]]) -> list[T]:
    """Read all of them, then refuse with the faults of all."""
    read: list[T] = []
    faults: list[Fault] = []
    for reading in readings:
        try:
            read.append(reading())
        except CriteriaUnacceptable as refusal:
            faults.extend(refusal.faults)
    if faults:
        raise CriteriaUnacceptable("the criteria cannot be read", *faults)
    return read


def _refusal(pointer: str, code: str, detail: str) -> CriteriaUnacceptable:
    return CriteriaUnacceptable("the criteria cannot be read", Fault(pointer, code, detail))


def _node_schema(ops: Iterable[str], args: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"op": {"enum": list(ops)}, "args": args},
        "required": ["op", "args"],
        "additionalProperties": False,
    }


def _leaf_schemas(attribute: Attribute) -> list[dict[str, Any]]:
    value = _value_schema(attribute)
    listed = {"type": "array", "items": value, "minItems": 1, "maxItems": LIST_MAX}
    ordered = attribute.type == "integer"
    leaves = [
        _node_schema(COMPARISONS if ordered else EQUALITY, _args_schema(attribute, value)),
        _node_schema(["in"], _args_schema(attribute, listed)),
        _node_schema(["isNull"], _args_schema(attribute)),
    ]
    return [*leaves, _node_schema(["between"], _args_schema(attribute, value, value))] if ordered else leaves


def _args_schema(attribute: Attribute, *values: dict[str, Any]) -> dict[str, Any]:
    named = {
        "type": "object",
        "properties": {"property": {"const": attribute.name}},
        "required": ["property"],
        "additionalProperties": False,
    }
    length = 1 + len(values)
    return {"type": "array", "prefixItems": [named, *values], "minItems": length, "maxItems": length}


def _value_schema(attribute: Attribute) -> dict[str, Any]:
    if attribute.type == "integer":
        return {"type": "integer", "minimum": attribute.low, "maximum": attribute.high}
    if attribute.type == "boolean":
        return {"type": "boolean"}
    return {"type": "string", "enum": sorted(attribute.codes)}
