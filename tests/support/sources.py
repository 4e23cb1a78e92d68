"""The product's own Python, as text and as syntax trees."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import compliance

PACKAGES = ("compliance", "consent", "scoring", "partners", "api")
ROOT = Path(compliance.__file__).parents[1]


@cache
def trees() -> dict[str, ast.Module]:
    """Each file by its path from the root."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text("utf-8")) for file in files}


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call, by the last part of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func.value if isinstance(node.func, ast.Subscript) else node.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            yield name, node


def files_that_call(name: str) -> set[str]:
    """Where something of this name is called."""
    return {file for file, tree in trees().items() if any(name == found for found, _ in called(tree))}
