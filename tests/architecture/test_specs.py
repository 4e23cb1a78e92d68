"""Every clause of a checklist has its test, every test's clause exists, and the page about both is up to date."""

from textwrap import dedent

import pytest
from support import specs
from support.specs import Clause, Mark, MarkUnreadable

PROOF = Mark("RFC 1", "2-1", "tests/api/test_x.py::test_y")


def test_every_clause_is_proven_or_does_not_apply():
    assert specs.gaps(specs.checklists(), specs.marks()) == []


def test_the_page_is_up_to_date():
    assert specs.PAGE.read_text("utf-8") == specs.page(specs.checklists(), specs.marks()), "make specs"


@pytest.mark.parametrize(
    ("clause", "said", "told"),
    [
        (Clause("w"), [PROOF], []),
        (Clause("w", differs="so"), [PROOF], []),
        (Clause("w", does_not_apply="why"), [], []),
        (Clause("w"), [], ["RFC 1 2-1: no test"]),
        (Clause("w", differs="so"), [], ["RFC 1 2-1: no test"]),
        (Clause("w", does_not_apply="why"), [PROOF], ["RFC 1 2-1: has a test, and does not apply"]),
        (Clause("w"), [PROOF, Mark("RFC 1", "2-3", "t")], ["RFC 1 2-3: no such clause"]),
        (Clause("w"), [PROOF, Mark("RFC 2", "2-3", "t")], []),
    ],
)
def test_what_is_missing_is_named(clause, said, told):
    assert specs.gaps({"RFC 1": {"2-1": clause}}, said) == told


def read(folder, source):
    (folder / "tests").mkdir()
    (folder / "tests" / "test_a.py").write_text(dedent(source), encoding="utf-8")
    return specs.marks(folder / "tests")


def test_a_mark_is_read_with_all_its_sections(tmp_path):
    found = read(
        tmp_path,
        """
        COUNT, NAME = 3, "RFC 1"

        @pytest.mark.spec(NAME, "9-10", "9-9")
        @pytest.mark.parametrize("x", [1])
        @pytest.mark.spec("RFC 2", "1")
        async def test_it(x): ...
        """,
    )
    test = "tests/test_a.py::test_it"
    assert found == [Mark("RFC 1", "9-10", test), Mark("RFC 1", "9-9", test), Mark("RFC 2", "1", test)]
    page = specs.page({}, found)
    assert page.index("| 9-9 |") < page.index("| 9-10 |")


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.spec('RFC 1')\ndef test_it(): ...",
        "@pytest.mark.spec('RFC 1', 2)\ndef test_it(): ...",
        "@pytest.mark.spec('RFC 1', UNKNOWN)\ndef test_it(): ...",
        "@pytest.mark.spec('RFC 1', section='2')\ndef test_it(): ...",
        "@pytest.mark.spec('RFC 1', '2')\ndef helper(): ...",
        "@pytest.mark.spec\ndef test_it(): ...",
        "pytestmark = pytest.mark.spec('RFC 1', '2')",
        "class TestIt:\n    @pytest.mark.spec('RFC 1', '2')\n    def test_it(self): ...",
    ],
)
def test_a_mark_of_another_form_is_refused(tmp_path, source):
    with pytest.raises(MarkUnreadable, match=r"tests/test_a\.py:\d"):
        read(tmp_path, source)
