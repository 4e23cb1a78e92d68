"""Names and texts: codes are unique, our packages collide with nobody's, and the repository speaks of the product alone."""

import importlib
import pkgutil
import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from support import sources

from compliance.refusals import Refusal

ROOT = sources.ROOT
PIN = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[0-9][A-Za-z0-9.+!-]*( ; [^:/@]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
BINARY = (".png", ".ico", ".woff2", ".jpg")
FORBIDDEN = re.compile(
    "|".join(
        (
            # Hosts of package registries, written so that this file does not name one itself.
            r"pypi\.(?:org|io|python)",
            r"pythonhosted\.",
            r"registry\.(?:npmjs|yarnpkg)",
            r"(?:mirrors?|registry|proxy)\.[a-z0-9-]+\.(?:com|cn|org|io|net)",
            r"(?:index|extra-index)-url\s*=",
            # Paths of one machine.
            r"/(?:work|root|Users)/[a-z]",
            r"/home/(?!app\b)[a-z]+/",
            r"\.\./shared",
        )
    )
)


def everything(kind: type) -> list[type]:
    return [*kind.__subclasses__(), *(below for k in kind.__subclasses__() for below in everything(k))]


def refusals() -> list[type[Refusal]]:
    for package in sources.PACKAGES:
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            importlib.import_module(module.name)
    return [k for k in everything(Refusal) if k.__module__.split(".")[0] in sources.PACKAGES]


def test_every_refusal_has_a_code_of_its_own():
    found: dict[str, list[str]] = {}
    for refusal in refusals():
        assert re.fullmatch(r"[a-z][a-z0-9_]{2,60}", refusal.code), refusal
        assert 400 <= refusal.status < 600, refusal
        assert re.fullmatch(r"[A-Z].*[^.]", refusal.title), refusal
        if "code" in vars(refusal):
            found.setdefault(refusal.code, []).append(refusal.__qualname__)
    assert {code: names for code, names in found.items() if len(names) > 1} == {}
    assert len(found) > 40


def test_no_dependency_ships_a_package_with_one_of_our_names():
    ours = {name: owners for name, owners in packages_distributions().items() if name in sources.PACKAGES}
    assert all(set(owners) == {"xinqiao"} for owners in ours.values()), ours


@pytest.mark.parametrize("lock", sorted(ROOT.glob("requirements*.lock")), ids=lambda p: p.name)
def test_a_lock_file_names_versions_and_hashes_only(lock):
    for line in lock.read_text("utf-8").splitlines():
        assert PIN.fullmatch(line) or HASH.fullmatch(line), line


def test_there_are_lock_files():
    assert {p.name for p in ROOT.glob("requirements*.lock")} >= {
        "requirements.lock",
        "requirements-ray.lock",
        "requirements-test.lock",
    }


def committed() -> list[Path]:
    """What is, or is about to be, in the repository; without git, everything."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name] or list(ROOT.rglob("*"))
    skipped = {"vendor", "__pycache__"}
    return [f for f in files if f.is_file() and f.suffix not in BINARY and not skipped & set(f.parts)]


def test_no_text_names_a_registry_or_a_machine():
    found = []
    assert len(committed()) > 100
    for file in committed():
        if file == Path(__file__):
            continue
        text = file.read_text("utf-8")
        for match in FORBIDDEN.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{file.relative_to(ROOT)}:{line} {match[0]}")
    assert found == []
