"""The demo as somebody starts it who has just cloned the repository: a command, its output, its exit code."""

import json
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import live

SECONDS = 240
CHAPTERS = (
    "Data and model",
    "Consent",
    "Score",
    "Licence",
    "List",
    "Route",
    "Withdraw",
    "Your turn",
    "Log",
)


@pytest.fixture(scope="module")
def demo_home() -> Iterator[Path]:
    """A home that the embedded database's own user can enter, which a folder of pytest's is not."""
    home = Path(tempfile.mkdtemp(prefix="xinqiao-"))
    yield home
    left = live.at_home(home)
    shutil.rmtree(home)
    assert not left


def demo(home: Path, *arguments: str, port: int = 0) -> subprocess.CompletedProcess[str]:
    options = ("--once", "--port", str(port or live.free_ports(4)), *arguments)
    return live.run(live.environment(home), "demo", *options, seconds=SECONDS)


@pytest.fixture(scope="module")
def first(demo_home) -> subprocess.CompletedProcess[str]:
    """The first run of a fresh installation, with an outside client's files."""
    return demo(demo_home, "--write-credentials", str(demo_home / "outside"))


def test_every_chapter_is_told_and_every_step_holds(first):
    assert (first.returncode, first.stderr.strip()) == (0, ""), first.stdout[-1500:]
    told = re.findall(r"^(\d+)\. ([A-Z][A-Za-z ]+?)  \S", first.stdout, re.MULTILINE)
    assert told == [(str(n), title) for n, title in enumerate(CHAPTERS, start=1)]
    assert "✗" not in first.stdout
    assert re.search(r"^Every step held, after \d+ s\.$", first.stdout, re.MULTILINE)


def test_the_outside_clients_files_are_its_own_alone(first, demo_home):
    assert first.returncode == 0
    client, request = (demo_home / "outside" / name for name in ("client.json", "score-request.json"))
    said = json.loads(client.read_text())
    assert {"issuer", "client_id", "private_jwk", "pseudonym"} <= said.keys()
    assert json.loads(request.read_text())["user"] == said["pseudonym"]
    assert client.stat().st_mode & 0o077 == 0
    assert said["private_jwk"]["d"] not in first.stdout


def test_nothing_runs_on_after_the_story(first, demo_home):
    assert first.returncode == 0
    assert live.at_home(demo_home) == {}


def test_the_same_installation_tells_it_again_at_another_port(first, demo_home):
    again = demo(demo_home)
    assert (again.returncode, again.stderr.strip()) == (0, ""), again.stdout[-1500:]
    assert (
        again.stdout.count("\n   ✓ ") >= first.stdout.count("\n   ✓ ") - 1
    )  # no files are written this time


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_data_folder_that_cannot_be_read_is_refused_in_one_line(demo_home, tmp_path, content):
    folder = tmp_path / "data"
    if content is not None:
        folder.mkdir()
        (folder / "schema.json").write_text(content)
    done = demo(demo_home, "--data", str(folder))
    assert done.returncode == 1
    assert re.fullmatch(r"xinqiao: .*(table of events|is not a folder).*\n", done.stderr)


def test_a_port_in_use_is_named(demo_home):
    port = live.free_ports(4)
    taken = port + 2  # one of the banks'
    with socket.create_server(("127.0.0.1", taken)):
        done = demo(demo_home, port=port)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f".*port {taken} is in use.*\n", done.stderr)
