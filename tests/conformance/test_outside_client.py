"""Programs that share no code with the product: OAuth libraries, and a verifier of the log with nothing but HTTP."""

import asyncio
import hashlib
import json
import os
import shutil
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import metamorphic_log
import pytest
from support import live, world
from support.oauth_app import a_client
from support.world import ALL, told

from compliance import keys
from compliance.act import open_act, open_view
from compliance.vocabulary import GrantId, Language, Worker
from consent import extensions, receipts

CLIENT = Path(__file__).parent / "client"
ALGORITHMS = ("ES256", "PS256", "Ed25519")
TILE_WIDTH, HASH_BYTES = 256, 32
SECONDS = 120


async def done(folder: Path, *command: str) -> str:
    """What a program says that ends well within the time."""
    program = shutil.which(command[0])
    assert program, f"{command[0]} is needed"
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "npm_config_update_notifier": "false", "no_proxy": "127.0.0.1"},
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.fixture
async def folder(tmp_path) -> Path:
    """The outside programs with their libraries."""
    made = Path(shutil.copytree(CLIENT, tmp_path / "client"))
    options = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    await done(made, "npm", "install", *options)
    return made


@pytest.mark.npm
@pytest.mark.spec("RFC 8414", "3")
@pytest.mark.spec("RFC 6749", "4.4")
@pytest.mark.spec("RFC 7523", "2.2")
@pytest.mark.spec("RFC 9449", "5")
@pytest.mark.spec("RFC 9449", "7.1")
async def test_public_oauth_libraries_get_a_score(database, home, folder):
    """Discovery, `private_key_jwt`, DPoP and the call, with each kind of key, through two libraries."""
    port = live.free_ports()
    async with (
        live.installation(database, home, f"http://127.0.0.1:{port}") as place,
        place.server(port) as server,
    ):
        await world.put_model_in_use()
        await world.open_channel()
        bank = await world.a_bank()
        (person,) = await world.persons(1)
        await world.granted(person, bank)
        body = {
            "user": await world.pseudonym_of(person, bank),
            "purpose": "credit_assessment",
            "categories": sorted(ALL),
        }
        said = []
        for alg in ALGORITHMS:
            registered = await a_client(bank.partner, alg, ("scores", "log"))
            private = registered.key.as_dict(private=True)
            said.append(
                {
                    "issuer": place.issuer,
                    "client_id": registered.client_id,
                    "jwk": {name: value for name, value in private.items() if name not in ("use", "alg")},
                    "alg": alg,
                    "scope": "scores",
                    "body": body,
                }
            )
        (folder / "clients.json").write_text(json.dumps(said))
        lines = (await done(folder, "node", "--no-warnings", "call.mjs", "clients.json")).splitlines()
        assert await asyncio.to_thread(server.running.stop) == 0

    answers = [json.loads(line) for line in lines]
    seen = [(a["alg"], a["library"]) for a in answers]
    assert seen == [(alg, library) for alg in ALGORITHMS for library in ("oauth4webapi", "openid-client")]
    for answer in answers:
        assert (answer["status"], answer["scope"]) == (201, "scores"), answer
        assert answer["token_type"].lower() == "dpop"
        assert answer["body"]["coverage"]["used"] == sorted(ALL)
    assert len({answer["body"]["id"] for answer in answers}) == len(answers)


@pytest.mark.npm
@pytest.mark.spec("RFC 7515", "5.2")
async def test_a_public_jose_library_verifies_every_receipt(database, home, folder, monkeypatch):
    """Of a yes, an extension and an end, before and after rotations; no byte of any can be another one."""
    monkeypatch.setattr(keys, "LOOK_EVERY_SECONDS", 0)
    async with world.opened(database, home) as here:
        bank = await world.a_bank()
        (person,) = await world.persons(1)
        row, given = await world.said_yes(person, await world.asked(bank))
        keys.rotate(home / "keys", at_once=True)
        async with open_act(person, None) as act:
            _, extended = await extensions.agree(act, GrantId(row.id), Language.EN, period_days=60)
        keys.rotate(home / "keys", at_once=True)
        await world.withdrawn(person, row.id)
        async with open_view(person) as view:
            ended = (await receipts.newest(view, GrantId(row.id))).signed
        jwks = told(await here.http.get("/.well-known/jwks.json"), 200)
        origin = here.settings.origin
    said = {"jwks": jwks, "issuer": origin, "type": receipts.TYPE, "receipts": [given, extended, ended]}
    (folder / "receipts.json").write_text(json.dumps(said))
    lines = (await done(folder, "node", "verify.mjs", "receipts.json")).splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["events"][-1] for answer in answers] == [
        "consent_given",
        "consent_extended",
        "consent_withdrawn",
    ]
    assert len({answer["kid"] for answer in answers}) == len(answers)
    for answer, signed in zip(answers, said["receipts"], strict=True):
        assert answer["changed"] == sum(len(part) * 3 // 4 for part in signed.split("."))
        assert answer["accepted"] == []


@dataclass
class Verifier:
    """Reads a log as C2SP tlog-tiles says and computes its proofs from the bare hashes (RFC 6962 section 2.1)."""

    http: httpx2.AsyncClient
    key: str = ""

    async def checkpoint(self) -> str:
        return (await self._get("checkpoint")).text

    async def hashes(self, size: int) -> list[bytes]:
        """The hash of every leaf of a tree of that size."""
        found: list[bytes] = []
        for number in range(-(-size // TILE_WIDTH)):
            width = min(size - number * TILE_WIDTH, TILE_WIDTH)
            tile = (await self._get(f"tile/0/{path(number, width)}")).content
            assert len(tile) == width * HASH_BYTES
            found += [tile[n : n + HASH_BYTES] for n in range(0, len(tile), HASH_BYTES)]
        return found

    async def _get(self, where: str) -> httpx2.Response:
        answer = await self.http.get(f"/v1/log/{where}")
        assert answer.status_code == 200, answer.text
        return answer


def path(number: int, width: int) -> str:
    """A tile's number in groups of three digits, and its width unless it is full."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.insert(0, f"x{number % 1000:03}")
    return "/".join(groups) + ("" if width == TILE_WIDTH else f".p/{width}")


def root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    left = split(len(hashes))
    return hashlib.sha256(b"\x01" + root(hashes[:left]) + root(hashes[left:])).digest()


def split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1


def consistency(hashes: list[bytes], earlier: int, *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if earlier == len(hashes):
        return [] if whole else [root(hashes)]
    left = split(len(hashes))
    if earlier <= left:
        return [*consistency(hashes[:left], earlier, whole=whole), root(hashes[left:])]
    return [*consistency(hashes[left:], earlier - left, whole=False), root(hashes[:left])]


def read_proof(text: str) -> tuple[bytes, int, list[bytes], str]:
    """A proof as C2SP tlog-proof writes it: the leaf in `extra`, its index, the path, the checkpoint."""
    head, _, note = text.partition("\n\n")
    version, extra, index, *hashes = head.split("\n")
    assert version == "c2sp.org/tlog-proof@v1"
    assert (extra[:6], index[:6]) == ("extra ", "index ")
    return b64decode(extra[6:]), int(index[6:]), [b64decode(line) for line in hashes], note


@pytest.mark.spec("RFC 6962", "2.1.1")
@pytest.mark.spec("RFC 6962", "2.1.2")
@pytest.mark.spec("C2SP tlog-tiles", "Merkle Tree")
@pytest.mark.spec("C2SP tlog-checkpoint", "Signatures")
@pytest.mark.spec("C2SP tlog-proof", "Format")
async def test_a_strangers_verifier_accepts_the_log_and_each_disclosure(database, home, owner):
    async with live.installation(database, home) as place, place.server() as server:
        await world.put_model_in_use()
        await world.open_channel()
        bank = await server.software()
        (person,) = await world.persons(1)
        await world.granted(person, bank.client)
        body: dict[str, Any] = {
            "user": await world.pseudonym_of(person, bank.client),
            "purpose": "credit_assessment",
            "categories": sorted(ALL),
        }
        verifier = Verifier(server.http)
        verifier.key = (await server.http.get("/v1/log/key")).text.strip()
        await live.everything_logged(owner)
        older = await verifier.checkpoint()
        score = told(await bank.call("POST", "/v1/scores", body), 201)
        async with open_act(Worker("tests"), None) as act:
            for number in range(2 * TILE_WIDTH):
                act.record("counted", {"n": number})
        await live.everything_logged(owner)
        newer = await verifier.checkpoint()
        answer = await bank.call("GET", f"/v1/log/facts/{score['fact_id']}/proof")
        assert answer.status_code == 200
        heads = [metamorphic_log.checkpoint_verify(note, [verifier.key]) for note in (older, newer)]
        hashes = await verifier.hashes(heads[1].size)
        level_1 = (await server.http.get(f"/v1/log/tile/1/{path(0, heads[1].size // TILE_WIDTH)}")).content
        assert await asyncio.to_thread(server.running.stop) == 0

    assert heads[0].size < TILE_WIDTH < 2 * TILE_WIDTH < heads[1].size
    assert [root(hashes[: head.size]) for head in heads] == [head.root for head in heads]
    assert level_1 == b"".join(root(hashes[n : n + TILE_WIDTH]) for n in (0, TILE_WIDTH))
    proof = consistency(hashes, heads[0].size)
    metamorphic_log.checkpoint_verify_consistency(older, newer, [verifier.key], proof)

    leaf, index, inclusion, note = read_proof(answer.text)
    leaf_hash = hashlib.sha256(b"\x00" + leaf).digest()
    assert (json.loads(leaf)["kind"], hashes[index]) == ("score_issued", leaf_hash)
    metamorphic_log.checkpoint_verify_inclusion(note, [verifier.key], index, leaf_hash, inclusion)
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify_inclusion(note, [verifier.key], index, bytes(HASH_BYTES), inclusion)
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify_consistency(newer, older, [verifier.key], proof)
