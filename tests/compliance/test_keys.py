"""The signing key takes turns: nobody is surprised by a new one, and what an old one signed stays provable."""

import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from joserfc import jws, jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey
from support import sources

from compliance import keys
from compliance.keys import Keyring, RotationRefused

AT_ONCE = (
    "from pathlib import Path; from compliance import keys; print(keys.rotate(Path({!r}), at_once=True))"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the file each time."""
    monkeypatch.setattr(keys, "LOOK_EVERY_SECONDS", 0)


def kids(ring: Keyring) -> list[str | None]:
    return [key.kid for key in ring.published()]


def signed(ring: Keyring) -> str:
    key = ring.signing
    return jwt.encode({"alg": "ES256", "kid": key.kid}, {"a": 1}, key, algorithms=["ES256"])


def verifies(token: str, ring: Keyring) -> bool:
    """As somebody outside verifies it, with what is published."""
    published = {
        key["kid"]: key for key in json.loads(json.dumps([key.as_dict() for key in ring.published()]))
    }
    if kid_of(token) not in published:
        return False
    key = ECKey.import_key(published[kid_of(token)])
    return jwt.decode(token, key, algorithms=["ES256"]).claims == {"a": 1}


def kid_of(token: str) -> str:
    kid: str = jws.extract_compact(token.encode()).headers()["kid"]
    return kid


def test_at_first_there_is_one_key_that_signs_and_one_that_waits(folder):
    ring = keys.load(folder)
    assert kids(ring) == [*kids(ring)[:1], ring.signing.kid]
    assert len(set(kids(ring))) == 2
    assert kids(keys.load(folder)) == kids(ring)
    assert all(key.kid == key.thumbprint() for key in ring.published())
    assert verifies(signed(ring), ring)


def test_only_the_owner_reads_the_files(folder):
    keys.load(folder)
    keys.rotate(folder)
    for file in folder.iterdir():
        if file.name != "lock":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_nothing_private_is_published(folder):
    ring = keys.load(folder)
    keys.rotate(folder)
    for key in keys.load(folder).published():
        assert not key.is_private
        assert "d" not in key.as_dict()
    assert ring.signing.is_private


def test_the_key_of_an_older_installation_goes_on_signing(folder):
    folder.mkdir()
    old = ECKey.generate_key("P-256", auto_kid=True)
    (folder / "signing.jwk").write_text(json.dumps(old.as_dict(private=True)))
    receipt = jwt.encode({"alg": "ES256", "kid": old.kid}, {"a": 1}, old, algorithms=["ES256"])
    ring = keys.load(folder)
    assert ring.signing.as_dict(private=True) == old.as_dict(private=True)
    assert not (folder / "signing.jwk").exists()
    keys.rotate(folder)
    after = keys.load(folder)
    assert kids(after)[1:] == [kids(ring)[0], old.kid]
    assert verifies(receipt, after)


def test_a_rotation_moves_each_key_one_step(folder):
    before = keys.load(folder)
    signs_now = keys.rotate(folder)
    after = keys.load(folder)
    assert after.signing.kid == signs_now == kids(before)[0]
    assert kids(after)[1:] == kids(before)
    assert kids(after)[0] not in kids(before)


def test_the_private_part_of_a_retired_key_is_gone(folder):
    retired = keys.load(folder).signing.as_dict(private=True)["d"]
    keys.rotate(folder)
    assert all(str(retired) not in file.read_text("latin-1") for file in folder.iterdir())


def test_what_old_keys_signed_verifies_until_32_others_have_retired(folder):
    tokens = []
    for _ in range(36):
        tokens.append(signed(keys.load(folder)))
        keys.rotate(folder, at_once=True)
    ring = keys.load(folder)
    assert len(kids(ring)) == len(set(kids(ring))) == 34
    assert [verifies(token, ring) for token in tokens] == [False] * 4 + [True] * 32


def test_what_lives_minutes_is_verified_by_the_last_three_and_then_by_two(folder, monkeypatch):
    keys.load(folder)
    for _ in range(2):
        keys.rotate(folder, at_once=True)
    ring = keys.load(folder)
    found = [ring.verification_key(str(kid)) for kid in kids(ring)]
    assert [key and key.kid for key in found] == [*kids(ring)[:3], None]
    assert not any(key.is_private for key in found if key)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + keys.SETTLING_SECONDS)
    assert [ring.verification_key(str(kid)) is not None for kid in kids(ring)] == [True, True, False, False]
    assert ring.verification_key("another") is None


def test_a_second_rotation_waits_for_ten_minutes(folder, monkeypatch):
    keys.load(folder)
    keys.rotate(folder)
    before = kids(keys.load(folder))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 590)
    with pytest.raises(RotationRefused):
        keys.rotate(folder)
    assert kids(keys.load(folder)) == before
    monkeypatch.setattr(time, "time", lambda: now + 601)
    keys.rotate(folder)
    keys.rotate(folder, at_once=True)
    assert kids(keys.load(folder))[2:] == before[:2] + before[2:]


def test_many_rotations_at_once_come_one_after_the_other(folder):
    first = keys.load(folder).signing.kid
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: keys.rotate(folder, at_once=True), range(16)))
    ring = keys.load(folder)
    assert len(set(said)) == 16
    assert set(kids(ring)[1:]) == {first, *said}


def test_of_many_rotations_at_once_one_is_done(folder):
    keys.load(folder)

    def tried(_: int) -> bool:
        try:
            return bool(keys.rotate(folder))
        except RotationRefused:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(tried, range(16))) == 1
    assert len(kids(keys.load(folder))) == 3


def test_many_that_start_at_once_make_one_set_of_keys(folder):
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: keys.load(folder), range(16)))
    assert len({tuple(kids(ring)) for ring in rings}) == 1
    assert len({(ring.root, ring.log_public_bytes()) for ring in rings}) == 1


@pytest.mark.usefixtures("looking")
def test_a_running_process_notices_what_another_rotates(folder):
    here = keys.load(folder)
    before = here.signing.kid
    rotated = subprocess.run(
        [sys.executable, "-c", AT_ONCE.format(str(folder))],
        cwd=sources.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert here.signing.kid == rotated.stdout.strip() != before
    assert before in kids(here)


def test_it_looks_every_few_seconds_and_reads_only_what_changed(folder, monkeypatch):
    here = keys.load(folder)
    before, clock = here.signing.kid, time.monotonic()
    keys.rotate(folder)
    assert here.signing.kid == before
    monkeypatch.setattr(time, "monotonic", lambda: clock + keys.LOOK_EVERY_SECONDS + 1)
    assert here.signing.kid != before
    reads: list[bytes] = []
    monkeypatch.setattr(keys.SigningKeys, "read", staticmethod(reads.append))
    monkeypatch.setattr(time, "monotonic", lambda: clock + 3 * keys.LOOK_EVERY_SECONDS)
    assert here.signing.kid != before
    assert reads == []


def test_whoever_has_not_noticed_verifies_what_the_others_sign(folder):
    late = keys.load(folder)
    early_token = signed(late)
    keys.rotate(folder)
    early = keys.load(folder)
    for ring, token in ((late, signed(early)), (early, early_token), (late, early_token)):
        key = ring.verification_key(kid_of(token))
        assert key is not None
        assert jwt.decode(token, key, algorithms=["ES256"]).claims == {"a": 1}
        assert verifies(token, ring)
        with pytest.raises(BadSignatureError):
            jwt.decode(token[:-8] + "AAAAAAAA", key, algorithms=["ES256"])


class Killed(BaseException):
    """The process ends here."""


def stopped(*_: object, **__: object) -> None:
    raise Killed


BREAKS = [(os, "open"), (os, "fsync"), (Path, "rename")]


@pytest.mark.parametrize(("place", "step"), BREAKS, ids=str)
def test_a_rotation_that_is_cut_off_leaves_the_old_keys(folder, monkeypatch, place, step):
    before = keys.load(folder)
    with monkeypatch.context() as broken, pytest.raises(Killed):
        broken.setattr(place, step, stopped)
        keys.rotate(folder)
    assert kids(keys.load(folder)) == kids(before)
    keys.rotate(folder)
    assert kids(keys.load(folder))[1:] == kids(before)


@pytest.mark.parametrize(("place", "step"), [*BREAKS, (Path, "unlink")], ids=str)
def test_a_take_over_that_is_cut_off_loses_no_key(folder, monkeypatch, place, step):
    keys.load(folder)
    (folder / "signing.json").unlink()
    old = ECKey.generate_key("P-256", auto_kid=True)
    (folder / "signing.jwk").write_text(json.dumps(old.as_dict(private=True)))
    with monkeypatch.context() as broken, pytest.raises(Killed):
        broken.setattr(place, step, stopped)
        keys.load(folder)
    assert keys.load(folder).signing.kid == old.kid
    assert not (folder / "signing.jwk").exists()


def test_a_half_written_file_of_a_cut_off_rotation_is_never_read(folder):
    before = keys.load(folder)
    (folder / "signing.new").write_bytes(b'{"next": {"kty"')
    assert kids(keys.load(folder)) == kids(before)
    assert keys.rotate(folder) == kids(before)[0]
