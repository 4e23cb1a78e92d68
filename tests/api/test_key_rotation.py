"""`xinqiao keys rotate`: the next key signs, the kids are told, and the log says that it happened."""

import json
import sys
from typing import Any

import pytest
from joserfc import jwt
from support import world

from api import auditing, cli, operating
from api.running import Standing
from api.settings import Settings
from compliance import database as databases
from compliance import facts, keys
from compliance.act import open_act
from compliance.database import ground
from compliance.keys import RotationRefused
from compliance.vocabulary import OFFERED


@pytest.fixture
def found(database, home) -> Standing:
    return Standing(Settings(home, "production", world.ISSUER, None, OFFERED), database)


async def test_the_operator_rotates_the_key(found, owner, home, capsys):
    before = [key.kid for key in keys.load(home / "keys").published()]
    assert await operating.rotate_keys(found, at_once=False) == 0
    said = json.loads(capsys.readouterr().out)
    published = [key.kid for key in keys.load(home / "keys").published()]
    assert [said["next"], said["current"], *said["retired"]] == published
    assert published[1:] == before
    facts_of = await owner.fetch("select * from compliance_fact where kind = 'signing_key_rotated'")
    assert [fact["principal"] for fact in facts_of] == ["worker:operator"]
    with pytest.raises(RotationRefused):
        await operating.rotate_keys(found, at_once=False)
    assert await operating.rotate_keys(found, at_once=True) == 0
    assert len(await owner.fetch("select 1 from compliance_fact where kind = 'signing_key_rotated'")) == 2
    async with databases.opened(found.database, home, found.settings.origin):
        sealed = await owner.fetchval("select sealed from compliance_fact order by seq limit 1")
        fact = await owner.fetchval("select id from compliance_fact order by seq limit 1")
        payload, _ = facts.open_sealed(sealed, fact, ground().key_store.installation)
    told = {"current": said["current"], "next": said["next"], "retired": said["retired"][0]}
    assert json.loads(payload)["what"] == told


async def test_a_promise_from_before_is_kept_by_the_published_keys(found, home, monkeypatch):
    monkeypatch.setattr(keys, "LOOK_EVERY_SECONDS", 0)
    async with databases.opened(found.database, home, found.settings.origin):
        async with open_act(world.STORY, None) as act:
            promise = facts.promise(act.record("pseudonym_read", {}))
        for _ in range(3):
            keys.rotate(home / "keys", at_once=True)
        verifying = {key.kid: key for key in ground().keyring.published()}
        token = jwt.decode(promise, lambda of: verifying[of.headers()["kid"]], algorithms=["ES256"])
        assert token.claims["iss"] == found.settings.origin
        assert token.header["kid"] != ground().keyring.signing.kid


async def test_the_command_line_refuses_a_second_rotation_unless_it_is_urgent(found, monkeypatch, capsys):
    runs: list[Any] = []
    monkeypatch.setattr(auditing, "run", lambda _, command: runs.append(command) or 0)
    for more in ([], ["--now"]):
        monkeypatch.setattr(sys, "argv", ["xinqiao", "keys", "rotate", *more])
        with pytest.raises(SystemExit) as over:
            cli.main()
        assert over.value.code == 0
    usual, urgent = runs
    assert [await usual(found), await urgent(found)] == [0, 0]
    with pytest.raises(RotationRefused) as refused:
        await usual(found)

    def refuse(*_: object) -> int:
        raise refused.value

    monkeypatch.setattr(auditing, "run", refuse)
    monkeypatch.setattr(sys, "argv", ["xinqiao", "keys", "rotate"])
    with pytest.raises(SystemExit) as over:
        cli.main()
    assert (over.value.code, "less than 600 seconds ago" in capsys.readouterr().err) == (1, True)
