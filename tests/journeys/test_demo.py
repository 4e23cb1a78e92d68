"""The demo as somebody starts it who has just cloned the repository: a command, its output, its exit code."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey
from support import live

from api.demo.callers import BankSoftware, Browser, expect

SECONDS = 240
ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "integration.md"
PACKAGE = ROOT / "tests" / "conformance" / "client" / "package.json"
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


def test_the_model_keeps_an_invented_person_for_the_ask_page(first, demo_home):
    (told,) = [json.loads(file.read_text()) for file in demo_home.glob("**/models/*/example.json")]
    assert told["invented"] is True
    assert min(told["events"].values()) > 0


def test_the_code_flow_is_told_to_its_end(first):
    told = first.stdout
    assert re.search(r"✓ .*redeems the code.*: DPoP, 300 s, for grants scores$", told, re.MULTILINE)
    withdrawn = told.index("✓ the person withdraws: ")
    assert told.index("✓ the bank refreshes its token: ") < withdrawn
    after = re.findall(r"^   ✓ .*: (\d{3} \w+)$", told[withdrawn:], re.MULTILINE)
    assert after == ["403 consent_withdrawn", "401 invalid_token", "400 invalid_grant"]


def test_the_outside_clients_files_are_its_own_alone(first, demo_home):
    assert first.returncode == 0
    client, request = (demo_home / "outside" / name for name in ("client.json", "score-request.json"))
    said = json.loads(client.read_text())
    assert {"issuer", "client_id", "redirect_uri", "private_jwk", "pseudonym"} <= said.keys()
    assert said["metadata"] == f"{said['issuer']}/.well-known/oauth-authorization-server"
    assert json.loads(request.read_text())["user"] == said["pseudonym"]
    assert client.stat().st_mode & 0o077 == 0
    assert said["private_jwk"]["d"] not in first.stdout


def test_nothing_runs_on_after_the_story(first, demo_home):
    assert first.returncode == 0
    assert live.at_home(demo_home) == {}


def test_the_readers_sign_in_is_a_file_of_its_own(first, demo_home):
    (file,) = re.findall(r"✓ .*: demo-reader, (\S+)$", first.stdout, re.MULTILINE)
    assert (demo_home / "demo") in Path(file).parents
    assert Path(file).stat().st_mode & 0o077 == 0
    assert Path(file).read_text() not in first.stdout


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


@dataclass(frozen=True)
class Serving:
    """A demo that goes on after its story: what it said, and an outside client's folder."""

    said: str
    folder: Path

    @property
    def client(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.folder / "client.json").read_text())
        return read

    async def answers(self, http: httpx2.AsyncClient, address: str) -> None:
        """The reader, at a browser: signs in as they were told, agrees to everything, is sent back."""
        (password,) = re.findall(
            r"demo-reader, with the password (\S+): \S+/sign-in$", self.said, re.MULTILINE
        )
        browser = Browser(http, self.client["issuer"])
        page = await browser.send(await browser.open(address), name="demo-reader", password=password)
        await browser.send(page, answer="yes", categories=self.client["categories"])


@pytest.fixture(scope="module")
def again(first, demo_home) -> Iterator[Serving]:
    """The same installation, at another port, until Ctrl-C."""
    assert first.returncode == 0
    folder, log = demo_home / "mine", demo_home / "live.log"
    arguments = ("demo", "--port", str(live.free_ports(5)), "--write-credentials", str(folder))
    with live.started(live.environment(demo_home), demo_home, *arguments) as running:

        def told() -> bool:
            assert running.process.poll() is None, log.read_text()[-1500:]
            return "the auditor (/compliance): " in log.read_text()

        live.wait_until(told, "the story is told", SECONDS)
        yield Serving(log.read_text(), folder)
        assert running.stop() == 0
    assert live.at_home(demo_home) == {}


@pytest.mark.check  # a second story takes long
def test_the_same_installation_tells_it_again_at_another_port(first, again):
    # One step more: the referrals of the first time are there.
    assert again.said.count("\n   ✓ ") == first.stdout.count("\n   ✓ ") + 1


@pytest.mark.check  # a second story takes long
async def test_the_readers_own_client_gets_a_score(again):
    client = again.client
    came_back: list[str] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came_back.append((await reader.readline()).decode().split()[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    address = httpx2.URL(client["redirect_uri"])
    wanted = {name: client[name] for name in ("purpose", "categories")}
    async with (
        httpx2.AsyncClient(timeout=30, trust_env=False) as http,
        await asyncio.start_server(listen, address.host, address.port),
    ):
        key = ECKey.import_key(client["private_jwk"])
        software = BankSoftware(http, client["issuer"], client["client_id"], key, client["redirect_uri"])
        pushed = await software.push({"type": "xinqiao_consent", **wanted})
        await again.answers(http, pushed.address)
        consented = await software.redeem(pushed, came_back[0])
        body = {"user": consented["authorization_details"][0]["user"], **wanted}
        answer = await software.call("POST", "/v1/scores", body, token=consented["access_token"])
    assert expect(answer, 201)["grant_id"] == consented["grant_id"]


@pytest.mark.npm
async def test_the_documented_program_gets_a_score(again):
    """What docs/integration.md tells a bank's engineer to save and run, as it stands there."""
    (program,) = re.findall(r"```js\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (again.folder / "first-score.mjs").write_text(program)
    shutil.copy(PACKAGE, again.folder)
    npm = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    environment = live.environment(again.folder, no_proxy="127.0.0.1")
    installed = await asyncio.create_subprocess_exec(*npm, cwd=again.folder, env=environment)
    assert await asyncio.wait_for(installed.wait(), SECONDS) == 0
    node = await asyncio.create_subprocess_exec(
        "node",
        "first-score.mjs",
        "client.json",
        cwd=again.folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert node.stdout
        first_line = (await asyncio.wait_for(node.stdout.readline(), SECONDS)).decode()
        async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
            await again.answers(http, first_line.removeprefix("Open ").strip())
        said, _ = await asyncio.wait_for(node.communicate(), SECONDS)
    finally:
        if node.returncode is None:
            node.kill()
    assert (node.returncode, said.decode()[:4]) == (0, "201 "), said.decode()
