"""Keys: the installation's own, from files, and one per person, in a key store of its own.

Deleting a person's key is deletion: whatever was sealed under it can never be read again.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import UUID

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from compliance import custodians
from compliance.custodians import Custodians
from compliance.refusals import Refusal

NONCE_BYTES = 12
SIGNING_ALGORITHM = "ES256"
KEY_BYTES = 32
SIGNING, SINGLE = "signing.json", "signing.jwk"
"""The file of the signing keys, and the one that an older installation has."""
RETIRED_MAX = 32
LOOK_EVERY_SECONDS = 2.0
SETTLING_SECONDS = 600
"""After a rotation: clients keep our published keys for 5 minutes, and access tokens live for 5."""


class KeyErased(Refusal):
    """The person's key is gone: what was sealed under it cannot be read again."""

    status, code, title = 410, "erased", "This was deleted at the person's request"


class RotationRefused(Exception):
    """The signing key was rotated too lately: whoever keeps our published keys may not know the next one yet."""


@dataclass(frozen=True)
class SigningKeys:
    """The ES256 keys in their three states, each with its RFC 7638 thumbprint as `kid`.

    `next` is published and signs nothing yet; `current` signs; of the `retired`, newest first, only the public part is
    left: what they signed can be verified for years. `rotated_at` is in seconds since 1970; 0: never.
    """

    next: ECKey
    current: ECKey
    retired: tuple[ECKey, ...] = ()
    rotated_at: float = 0

    @cached_property
    def public(self) -> tuple[ECKey, ...]:
        """The public parts: next, current, retired."""
        return (_public(self.next), _public(self.current), *self.retired)

    @property
    def settled(self) -> bool:
        """Whether everybody can have learnt of the last rotation."""
        return time.time() >= self.rotated_at + SETTLING_SECONDS

    def rotated(self) -> "SigningKeys":
        """One step on: the next key signs, the current one retires, a new one is published."""
        retired = self.public[1 : RETIRED_MAX + 1]
        return SigningKeys(_new_signing_key(), self.next, retired, time.time())

    def written(self) -> bytes:
        """As the file holds them; `read` is the inverse."""
        kept = {
            "next": self.next.as_dict(private=True),
            "current": self.current.as_dict(private=True),
            "retired": [key.as_dict(private=False) for key in self.retired],
            "rotated_at": self.rotated_at,
        }
        return json.dumps(kept, indent=1).encode()

    @staticmethod
    def read(content: bytes) -> "SigningKeys":
        """From the file's content; raises `ValueError` or `KeyError` where it was not written by us."""
        kept = json.loads(content)
        retired = tuple(ECKey.import_key(key) for key in kept["retired"])
        following, current = ECKey.import_key(kept["next"]), ECKey.import_key(kept["current"])
        return SigningKeys(following, current, retired, kept["rotated_at"])


class SigningFile:
    """The signing keys as their file has them now: what another process rotates is noticed within seconds."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seen = file.stat()  # before reading: what is replaced in between is noticed at the next look
        self._keys = SigningKeys.read(file.read_bytes())
        self._look_again_at = time.monotonic() + LOOK_EVERY_SECONDS

    def keys(self) -> SigningKeys:
        """The keys; looks at the file at most once in `LOOK_EVERY_SECONDS`, and reads it only if it is another one."""
        if time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + LOOK_EVERY_SECONDS
            found = self._file.stat()
            if (found.st_ino, found.st_mtime_ns) != (self._seen.st_ino, self._seen.st_mtime_ns):
                self._keys, self._seen = SigningKeys.read(self._file.read_bytes()), found
        return self._keys


@dataclass(frozen=True, slots=True)
class Keyring:
    """The installation's own keys. `root` is what the others are derived from; `log` signs checkpoints.

    `custodians` are the public keys of those who alone can open an evidence capsule, both together.
    """

    root: bytes
    log: Ed25519PrivateKey
    signing_file: SigningFile
    custodians: Custodians

    @property
    def signing(self) -> ECKey:
        """The key that signs now. Take it once for one signature: it may be another one the next time."""
        return self.signing_file.keys().current

    def published(self) -> list[ECKey]:
        """The public keys that our signatures are verified with: next, current, retired (newest first)."""
        return list(self.signing_file.keys().public)

    def verification_key(self, kid: str) -> ECKey | None:
        """The public key for what lives minutes (access tokens), or None.

        A key that retired counts no longer than what it rightly signed: whoever has stolen it can sign with it.
        Next counts, because a process that has noticed a rotation signs with it before the others notice.
        """
        keys = self.signing_file.keys()
        counting = keys.public[: 2 if keys.settled else 3]
        return next((key for key in counting if key.kid == kid), None)

    def sign(self, kind: str, claims: Mapping[str, object]) -> str:
        """A statement of ours: compact JWS, ES256, `typ` is the kind; it verifies with a key of `published`."""
        key = self.signing  # once: it may be replaced at any moment
        return jwt.encode(
            {"alg": SIGNING_ALGORITHM, "typ": kind, "kid": key.kid},
            dict(claims),
            key,
            algorithms=[SIGNING_ALGORITHM],
        )

    def derived(self, what: str) -> bytes:
        """A 32-byte key for one use, by HKDF-SHA256 from the root key (RFC 5869)."""
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=what.encode()).derive(self.root)

    def blind_index(self, value: str) -> bytes:
        """A keyed index (HMAC-SHA256) by which an operator's reference is found without being readable."""
        return hmac.digest(self.derived("blind-index"), value.encode(), hashlib.sha256)

    def log_public_bytes(self) -> bytes:
        """The 32 bytes of the Ed25519 public key of the log."""
        return self.log.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def load(folder: Path) -> Keyring:
    """Read the installation's keys, making them at the first start; safe from many processes at once."""
    with _locked(folder):
        root = _kept(folder / "root.key", lambda: secrets.token_bytes(KEY_BYTES))
        log = _kept(folder / "log.ed25519", lambda: _raw(Ed25519PrivateKey.generate()))
        _kept(folder / SIGNING, lambda: _first_signing_keys(folder / SINGLE).written())
        (folder / SINGLE).unlink(missing_ok=True)  # else a private key would stay after it retires
        signing = SigningFile(folder / SIGNING)
        both = _custodians(folder)
    return Keyring(root, Ed25519PrivateKey.from_private_bytes(log), signing, both)


def appoint(folder: Path, key_set: Mapping[str, object]) -> Custodians:
    """Replace the custodians of evidence capsules: what is sealed from now on is for these two.

    Raises `custodians.CustodiansUnusable`. The private parts of fictional custodians are deleted.
    """
    both = custodians.chosen(key_set)
    with _locked(folder):
        _write(folder / custodians.FILE, custodians.written(both, private=False))
        (folder / custodians.FICTIONAL).unlink(missing_ok=True)
    return both


def _custodians(folder: Path) -> Custodians:
    """As appointed; else two that are made up and kept as such, which a production installation does not start with."""
    if not (folder / custodians.FILE).exists():
        made = custodians.fictional()
        _write(folder / custodians.FICTIONAL, custodians.written(made, private=True))
        _write(folder / custodians.FILE, custodians.written(made, private=False))
    return custodians.chosen(json.loads((folder / custodians.FILE).read_bytes()))


def rotate(folder: Path, *, at_once: bool = False) -> str:
    """Let the next key sign and forget the private part of the current one; returns the `kid` that signs now.

    Raises `RotationRefused` within `SETTLING_SECONDS` of the last rotation, unless `at_once`.
    """
    with _locked(folder):
        keys = SigningKeys.read((folder / SIGNING).read_bytes())
        if not keys.settled and not at_once:
            raise RotationRefused(f"the signing key was rotated less than {SETTLING_SECONDS} seconds ago")
        following = keys.rotated()
        _write(folder / SIGNING, following.written())
    return str(following.current.kid)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept(file: Path, make: Callable[[], bytes]) -> bytes:
    if not file.exists():
        _write(file, make())
    return file.read_bytes()


def _write(file: Path, content: bytes) -> None:
    """Replace a file as a whole, for nobody else to read; after a crash it is the old one or the new one."""
    unfinished = file.with_suffix(".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    unfinished.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def _first_signing_keys(single: Path) -> SigningKeys:
    """New ones; an installation that had a single key goes on with it."""
    current = ECKey.import_key(json.loads(single.read_bytes())) if single.exists() else _new_signing_key()
    return SigningKeys(_new_signing_key(), current)


def _new_signing_key() -> ECKey:
    return ECKey.generate_key("P-256", auto_kid=True)


def _public(key: ECKey) -> ECKey:
    return ECKey.import_key(key.as_dict(private=False))


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals and opens byte strings under one key; `about` binds a sealed string to its place (AES-256-GCM AAD)."""

    key: bytes

    def seal(self, plain: bytes, about: bytes) -> bytes:
        """Nonce, then ciphertext and tag."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, plain, about)

    def open(self, sealed: bytes, about: bytes) -> bytes:
        """The plain bytes; raises `cryptography.exceptions.InvalidTag` when anything was changed."""
        return AESGCM(self.key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)


class KeyStore:
    """One data key per person, wrapped by the installation's key, in a database of its own."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", keyring: Keyring) -> None:
        self._pool = pool
        self._wrapper = Sealer(keyring.derived("wrap-person-keys"))
        self.installation = Sealer(keyring.derived("installation-data"))

    async def make(self, people: Iterable[UUID]) -> None:
        """Give each person a key; who has one keeps it."""
        rows = [(p, self._wrapper.seal(secrets.token_bytes(KEY_BYTES), p.bytes)) for p in people]
        await self._pool.executemany(
            "insert into person_key (person, wrapped) values ($1, $2) on conflict do nothing", rows
        )

    async def sealers(self, people: Iterable[UUID]) -> Mapping[UUID, Sealer]:
        """The keys of those people who still have one."""
        wanted = list(people)
        if not wanted:
            return {}
        rows = await self._pool.fetch(
            "select person, wrapped from person_key where person = any($1::uuid[])", wanted
        )
        return {r["person"]: Sealer(self._wrapper.open(r["wrapped"], r["person"].bytes)) for r in rows}

    async def sealer(self, person: UUID | None) -> Sealer:
        """The key of one person, or the installation's where there is no person; `KeyErased` if it is gone."""
        if person is None:
            return self.installation
        found = await self.sealers([person])
        if person not in found:
            raise KeyErased("the data were deleted and cannot be read again")
        return found[person]

    def opened(self, key: Sealer | None, sealed: bytes, about: bytes) -> tuple[Sealer, bytes] | None:
        """What a person's key opens, else the installation's, and with which; None where neither does.

        What concerns somebody before they have a key, or after it was erased, is sealed under the installation's.
        """
        for sealer in (key, self.installation):
            # A cut nonce is a ValueError, everything else that was changed an InvalidTag.
            with suppress(InvalidTag, ValueError):
                if sealer:
                    return sealer, sealer.open(sealed, about)
        return None

    async def erase(self, person: UUID) -> None:
        """Delete a person's key: this is deletion of everything sealed under it."""
        await self._pool.execute("delete from person_key where person = $1", person)
