"""Some values are proof, some functions are power: each is made, or used, only where the check is."""

import ast

import pytest
from support import sources

MAKERS = {
    "Act": {"compliance/act.py"},
    "View": {"compliance/act.py"},
    "Upkeep": {"compliance/act.py"},
    "Fact": {"compliance/facts.py"},
    "Permit": {"consent/permits.py"},
    "OwnPermit": {"consent/permits.py"},
    "StaffPermit": {"consent/permits.py"},
    "PopulationPermit": {"consent/permits.py"},
    "Released": {"scoring/release.py"},
    "Replayed": {"compliance/act.py"},
}
CALLERS = {
    # A transaction has one owner.
    "in_transaction": {"compliance/act.py"},
    "atomic": set(),
    # Bookkeeping that concerns nobody's data.
    "open_upkeep": {
        "api/auditing.py",
        "api/governing.py",
        "api/modelling.py",
        "api/loading.py",
        "api/oauth/authorizations.py",
        "api/oauth/checks/single_use.py",
        "api/oauth/introspection.py",
        "api/oauth/clients.py",
        "api/passwords.py",
        "api/sessions.py",
        "api/worker.py",
        "compliance/sequencer.py",
        "partners/delivery.py",
    },
    # The same in one round trip, on the hot path.
    "upkeep_statement": {"api/oauth/checks/single_use.py"},
    # Where somebody's wish, or a worker's turn, begins.
    "open_act": {
        "api/access.py",
        "api/auditing.py",
        "api/demo/credentials.py",
        "api/demo/story.py",
        "api/demo/world.py",
        "api/governing.py",
        "api/modelling.py",
        "api/loading.py",
        "api/operating.py",
        "api/population.py",
        "api/sessions.py",
        "api/worker.py",
        "partners/delivery.py",
    },
    "open_view": {
        "api/access.py",
        "api/demo/provider.py",
        "api/demo/world.py",
        "api/population.py",
        "api/sessions.py",
        "api/v1/health.py",
        "api/v1/log.py",
    },
    "record_refusal": {"api/access.py", "compliance/act.py"},
    # Keys of people, and their deletion.
    "erase": {"consent/deletion.py"},
}


@pytest.mark.parametrize(("proof", "makers"), MAKERS.items())
def test_a_proof_is_made_where_the_check_is(proof, makers):
    assert sources.files_that_call(proof) == makers


@pytest.mark.parametrize(("power", "callers"), CALLERS.items())
def test_a_power_is_used_where_it_is_listed(power, callers):
    assert sources.files_that_call(power) <= callers


def test_dataclasses_replace_never_makes_a_proof():
    """`replace` would be another maker: nobody calls it on a permit, an act or a release."""
    proofs = {"act", "permit", "permitted", "released", "own", "looks"}
    found = [
        f"{file}:{call.lineno}"
        for file, tree in sources.trees().items()
        for name, call in sources.called(tree)
        if name == "replace" and call.args and getattr(call.args[0], "id", "") in proofs
    ]
    assert found == []


def test_the_web_names_rows_and_asks_for_none():
    """In api a row of another package is a type: it is handed over by the function that checked."""
    found = []
    for file, tree in sources.trees().items():
        if not file.startswith("api/"):
            continue
        rows = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in tables_below_api()
            for alias in node.names
        }
        found += [
            f"{file}:{node.lineno} {node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in rows
        ]
        found += [f"{file}:{call.lineno} {name}()" for name, call in sources.called(tree) if name in rows]
    assert found == []


def tables_below_api() -> set[str]:
    return {f"{package}.tables" for package in sources.PACKAGES if package != "api"}


def test_no_private_name_leaves_its_package():
    found = []
    for file, tree in sources.trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in sources.PACKAGES:
                private = [a.name for a in node.names if a.name.startswith("_")]
                found += [f"{file}:{node.lineno} {name}" for name in private]
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                whose, name = node.value.id, node.attr
                private_of = name.startswith("_") and not name.startswith("__")
                if private_of and whose in imported(tree):
                    found.append(f"{file}:{node.lineno} {whose}.{name}")
    assert found == []


def imported(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }


def test_every_package_and_module_says_in_one_sentence_what_it_is():
    for file, tree in sources.trees().items():
        said = ast.get_docstring(tree)
        assert said, file
        assert said.split("\n\n")[0].rstrip().endswith((".", "?", "!")), file
        if file.endswith("__init__.py"):
            assert len(tree.body) == 1, f"{file} holds more than its sentence"


def test_no_assert_outside_tests():
    """`python -O` drops them."""
    found = [
        f"{file}:{node.lineno}"
        for file, tree in sources.trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_sql_is_never_written_from_outside_input():
    """An f-string given to the database may hold constants of its own module only; values are parameters."""
    found = []
    for file, tree in sources.trees().items():
        for name, call in sources.called(tree):
            if name in {"execute_query", "execute_query_dict", "execute_many"} and call.args:
                names = [n.id for n in ast.walk(call.args[0]) if isinstance(n, ast.Name)]
                if isinstance(call.args[0], ast.JoinedStr) or any(
                    n.islower() and n not in LOCAL_SQL for n in names
                ):
                    found.append(f"{file}:{call.lineno} {names}")
    assert found == []


LOCAL_SQL = {"query", "sql", "count", "select", "key", "holding"}
"""Names under which a module formats its own constants before it asks; a holding is declared beside its table."""
