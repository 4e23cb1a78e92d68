"""The custodians of evidence: made up where nobody real is served, appointed elsewhere, and never known by a private key."""

import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from support import live

from compliance import custodians, keys
from compliance.custodians import CustodiansUnusable
from compliance.database import Database


def a_key(curve: str = "P-256", *, private: bool = False) -> dict[str, Any]:
    return dict(ECKey.generate_key(curve, auto_kid=True).as_dict(private=private))


ONE = a_key()
UNUSABLE: dict[str, Any] = {
    "no set": {},
    "no list": {"keys": "two"},
    "one": {"keys": [a_key()]},
    "three": {"keys": [a_key(), a_key(), a_key()]},
    "the same one": {"keys": [ONE, ONE]},
    "a private one": {"keys": [a_key(), a_key(private=True)]},
    "another curve": {"keys": [a_key(), a_key("P-384")]},
    "another kind": {"keys": [a_key(), RSAKey.generate_key(2048).as_dict(private=False)]},
    "half of one": {"keys": [a_key(), {"kty": "EC", "crv": "P-256", "x": ONE["x"]}]},
    "words": {"keys": ["a", "b"]},
}


@pytest.mark.parametrize("given", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_what_is_not_two_public_keys_appoints_nobody(tmp_path: Path, given: dict[str, Any]) -> None:
    before = keys.load(tmp_path).custodians
    with pytest.raises(CustodiansUnusable):
        keys.appoint(tmp_path, given)
    assert [key.kid for key in keys.load(tmp_path).custodians] == [key.kid for key in before]
    assert not custodians.are_appointed(tmp_path)


def test_who_is_appointed_takes_the_place_of_those_who_were_made_up(tmp_path: Path) -> None:
    made_up = keys.load(tmp_path).custodians
    assert json.loads((tmp_path / custodians.FICTIONAL).read_bytes())["keys"][0]["d"]
    given = {"keys": [a_key(), a_key()]}
    keys.appoint(tmp_path, given)
    known = keys.load(tmp_path).custodians
    assert [key.kid for key in known] == [ECKey.import_key(key).thumbprint() for key in given["keys"]]
    assert not {key.kid for key in known} & {key.kid for key in made_up}
    assert custodians.are_appointed(tmp_path)
    assert not any(key.is_private for key in known)


async def test_the_operator_is_told_in_a_line_what_is_wrong(
    database: Database, home: Path, tmp_path: Path
) -> None:
    file = tmp_path / "custodians.json"
    async with live.installation(database, home) as installed:
        for given, code in ((UNUSABLE["one"], 1), ({"keys": [a_key(), a_key()]}, 0)):
            file.write_text(json.dumps(given))
            done = await installed.run("keys", "custodians", str(file))
            assert done.returncode == code, done.stderr
            assert "Traceback" not in done.stderr
            assert ("give a JWK set with two keys" in done.stderr) is bool(code)
    assert custodians.are_appointed(home / "keys")
