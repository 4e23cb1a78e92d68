"""Which test proves which clause of which specification, written to docs/specs.md.

A test says it with `@pytest.mark.spec(specification, section, ...)`: one specification, one section or more. An item of
a numbered list is named by its section, a hyphen and its number (`5.3.2.1-8`; an item within an item `5.4.1-1.2`), a
note as `5.3.2.2 note 3`, and a module of the OpenID conformance suite by its name without the prefix of its plan
(`happy-flow`). The names may be text or constants of the same file. Checklists stand in tests/conformance/clauses.toml.

The marks are read from the syntax trees: nothing is imported, nothing is run. To write the page: `make specs`.
"""

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS, PAGE = ROOT / "tests", ROOT / "docs" / "specs.md"
CHECKLISTS = TESTS / "conformance" / "clauses.toml"
PREAMBLE = """# Specifications

What Xinqiao follows, clause by clause, and which tests prove it. First the checklists that are kept whole, then every
other clause that a test names. Written by `make specs` from the marks of the tests and from
[clauses.toml](../tests/conformance/clauses.toml): change those, not this page.
"""


class MarkUnreadable(Exception):
    """A mark is not of the one form that is understood."""


@dataclass(frozen=True, order=True)
class Mark:
    """A test says that it proves a section."""

    specification: str
    section: str
    test: str
    """File and name, as pytest writes them."""


@dataclass(frozen=True)
class Clause:
    """A clause of a checklist in our words; why it does not apply, or how we differ, if so."""

    words: str
    does_not_apply: str | None = None
    differs: str | None = None


Checklists = Mapping[str, Mapping[str, Clause]]


def checklists(file: Path = CHECKLISTS) -> Checklists:
    """All clauses by specification and section."""
    given = tomllib.loads(file.read_text("utf-8"))
    found = {name: {s: Clause(w) for s, w in clauses.items()} for name, clauses in given["clauses"].items()}
    for group in given["does_not_apply"]:
        for section, words in group["clauses"].items():
            found[group["specification"]][section] = Clause(words, does_not_apply=group["reason"])
    for group in given["differs"]:
        of = found[group["specification"]]
        of |= {section: replace(of[section], differs=group["how"]) for section in group["clauses"]}
    return found


def marks(folder: Path = TESTS) -> list[Mark]:
    """All marks below a folder; raises `MarkUnreadable`."""
    files = sorted(folder.rglob("test_*.py"))
    return sorted(mark for file in files for mark in _marks(file, file.relative_to(folder.parent).as_posix()))


def _marks(file: Path, name: str) -> Iterator[Mark]:
    tree = ast.parse(file.read_text("utf-8"))
    constants = dict(_constants(tree))
    left = {node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_mark(node)}
    for node in tree.body:
        for decorator in getattr(node, "decorator_list", ()):
            if isinstance(decorator, ast.Call) and decorator.func in left:
                left.remove(decorator.func)
                said = [_text(argument, constants) for argument in decorator.args]
                if len(said) < 2 or None in said or decorator.keywords or not _is_test(node):
                    raise MarkUnreadable(f"{name}:{decorator.lineno}")
                yield from (Mark(str(said[0]), str(section), f"{name}::{node.name}") for section in said[1:])
    if left:
        raise MarkUnreadable(f"{name}:{min(node.lineno for node in left)}")


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            (target,) = node.targets
            several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            names, values = (target.elts, node.value.elts) if several else ([target], [node.value])
            yield from ((n.id, v) for n, v in zip(names, values, strict=False) if isinstance(n, ast.Name))


def _is_mark(node: ast.Attribute) -> bool:
    return node.attr == "spec" and getattr(node.value, "attr", None) == "mark"


def _is_test(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")


def _text(node: ast.expr, constants: Mapping[str, ast.expr]) -> str | None:
    found = constants.get(node.id) if isinstance(node, ast.Name) else node
    return found.value if isinstance(found, ast.Constant) and isinstance(found.value, str) else None


def gaps(listed: Checklists, said: Iterable[Mark]) -> list[str]:
    """What is wrong: clauses that nothing proves or that are proven for nothing, marks of clauses that are not there."""
    proven = {(mark.specification, mark.section) for mark in said}
    found = []
    for name, clauses in listed.items():
        for section, clause in clauses.items():
            if clause.does_not_apply is None and (name, section) not in proven:
                found.append(f"{name} {section}: no test")
            if clause.does_not_apply is not None and (name, section) in proven:
                found.append(f"{name} {section}: has a test, and does not apply")
    unknown = {(n, s) for n, s in proven if n in listed and s not in listed[n]}
    return found + [f"{name} {section}: no such clause" for name, section in sorted(unknown)]


def page(listed: Checklists, said: Iterable[Mark]) -> str:
    """docs/specs.md."""
    tests: dict[str, dict[str, list[str]]] = {}
    for mark in said:
        tests.setdefault(mark.specification, {}).setdefault(mark.section, []).append(_linked(mark.test))
    parts = [PREAMBLE, _summary(listed)]
    parts += [_checklist(name, clauses, tests.get(name, {})) for name, clauses in listed.items()]
    parts.append("## Other specifications\n")
    parts += [_others(name, tests[name]) for name in sorted(tests, key=_natural) if name not in listed]
    return "\n".join(parts)


def _summary(listed: Checklists) -> str:
    rows = [
        "| checklist | clauses | proven | of these we differ in | do not apply |",
        "|---|---|---|---|---|",
    ]
    for name, clauses in listed.items():
        proven = sum(clause.does_not_apply is None for clause in clauses.values())
        differing = sum(clause.differs is not None for clause in clauses.values())
        rows.append(f"| {name} | {len(clauses)} | {proven} | {differing} | {len(clauses) - proven} |")
    return "\n".join(rows) + "\n"


def _checklist(name: str, clauses: Mapping[str, Clause], tests: Mapping[str, list[str]]) -> str:
    rows = [f"## {name}\n", "| clause | in words | proven by |", "|---|---|---|"]
    for section in sorted(clauses, key=_natural):
        clause = clauses[section]
        proof = "<br>".join(tests.get(section, ()))
        if clause.does_not_apply is not None:
            proof = f"*Does not apply.* {clause.does_not_apply}"
        if clause.differs is not None:
            proof += f"<br>*We differ.* {clause.differs}"
        rows.append(f"| {section} | {clause.words} | {proof} |")
    return "\n".join(rows) + "\n"


def _others(name: str, tests: Mapping[str, list[str]]) -> str:
    rows = [f"### {name}\n", "| section | proven by |", "|---|---|"]
    rows += [f"| {section} | {'<br>'.join(tests[section])} |" for section in sorted(tests, key=_natural)]
    return "\n".join(rows) + "\n"


def _linked(test: str) -> str:
    """No two files of tests have one name."""
    file = test.partition("::")[0]
    return f"[{test.rpartition('/')[2]}](../{file})"


def _natural(text: str) -> list[tuple[int, str]]:
    """An order in which item 9 comes before item 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]


if __name__ == "__main__":
    PAGE.write_text(page(checklists(), marks()), encoding="utf-8")
