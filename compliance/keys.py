"""Keys: the installation's own, from files, and one per person, in a key store of its own.

Deleting a person's key is deletion: whatever was sealed under it can never be read again.
"""

import fcntl
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc.jwk import ECKey

from compliance.refusals import Refusal

NONCE_BYTES = 12
KEY_BYTES = 32


class KeyErased(Refusal):
    """The person's key is gone: what was sealed under it cannot be read again."""

    status, code, title = 410, "erased", "This was deleted at the person's request"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The installation's own keys. `root` is what the others are derived from; `log` signs checkpoints."""

    root: bytes
    log: Ed25519PrivateKey
    signing: ECKey

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
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = _kept(folder / "root.key", lambda: secrets.token_bytes(KEY_BYTES))
        log = _kept(folder / "log.ed25519", lambda: _raw(Ed25519PrivateKey.generate()))
        signing = _kept(folder / "signing.jwk", _new_signing_key)
    key = ECKey.import_key(json.loads(signing))
    return Keyring(root, Ed25519PrivateKey.from_private_bytes(log), key)


def _kept(file: Path, make: Callable[[], bytes]) -> bytes:
    if not file.exists():
        unfinished = file.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(make())
        unfinished.rename(file)
    return file.read_bytes()


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def _new_signing_key() -> bytes:
    key = ECKey.generate_key("P-256", auto_kid=True)
    return json.dumps(key.as_dict(private=True)).encode()


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

    async def erase(self, person: UUID) -> None:
        """Delete a person's key: this is deletion of everything sealed under it."""
        await self._pool.execute("delete from person_key where person = $1", person)
