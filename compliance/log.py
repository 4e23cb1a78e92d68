"""The shape of the log: what a leaf says, how leaves become one root, how the root is signed and a place proven.

A Merkle tree as in RFC 6962 section 2.1, stored as tiles of 256 hashes (C2SP tlog-tiles); signed heads and proofs are
texts that anybody can check without us (C2SP signed-note, tlog-checkpoint, tlog-proof). Everything here is a pure
function; where hashes are needed they are asked of `tile(level, index)`, which answers with the hashes of that tile,
one after another, as many as are there. Texts are read in one spelling only, so that all readers read the same.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import AnyStr

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from compliance.canonical import canonical
from compliance.refusals import NotFound

LEAF_VERSION = 1
HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT = hashlib.sha256().digest()
SIZE_MAX = (1 << 63) - 1
LEVEL_MAX = 63  # C2SP tlog-tiles, "Merkle Tree"
PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)"
    r"/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
ED25519 = b"\x01"
KEY_ID_BYTES = 4
PUBLIC_KEY_BYTES = 32
NOTE_LENGTH_MAX = 1 << 17
"""Characters; room for sixteen cosignatures of the longest kind (signed-note, "Format")."""
PROOF_HEAD = "c2sp.org/tlog-proof@v1"
PROOF_HASHES_MAX = 63
PROOF_LENGTH_MAX = 1 << 18
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")

Tile = Callable[[int, int], bytes]
Place = tuple[int, int]
"""Level and index of a tile."""


class TileDamaged(Exception):
    """A tile is missing or shorter than the size of the tree demands."""


@dataclass(frozen=True, slots=True)
class TilePath:
    """What a path names: a tile of hashes, or a bundle of entries where `level` is None; 1 to 256 wide."""

    level: int | None
    index: int
    width: int = TILE_WIDTH


class NoteRefused(Exception):
    """A checkpoint or proof is malformed, or not signed by the key it must be signed by."""


@dataclass(frozen=True, slots=True)
class LogKey:
    """The name of a log and its Ed25519 public key (32 bytes): what a reader must know beforehand."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that find the signature: SHA-256(name, newline, type, public key), cut."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_encode(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "LogKey":
        """Read `name+id+key`, the form that verifiers are given; raises `NoteRefused`."""
        name, _, rest = text.partition("+")
        key = cls(name, _decode(rest.partition("+")[2])[1:])
        if (
            len(key.public) != PUBLIC_KEY_BYTES
            or str(key) != text
            or not SIGNATURE.fullmatch(f"— {name} AA==")
        ):
            raise NoteRefused("this is not the public key of a log")
        return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the log named `origin` when it had `size` leaves."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"


@dataclass(frozen=True, slots=True)
class Proof:
    """What ties one leaf to a signed checkpoint; `extra` is not authenticated by the proof itself."""

    index: int
    hashes: tuple[bytes, ...]
    note: str
    extra: bytes | None = None

    def __str__(self) -> str:
        extra = [] if self.extra is None else [f"extra {_encode(self.extra)}"]
        lines = [PROOF_HEAD, *extra, f"index {self.index}", *map(_encode, self.hashes)]
        return "\n".join(lines) + "\n\n" + self.note


def leaf(
    *,
    kind: str,
    at: datetime,
    tenant_tag: str,
    tenant_seq: int,
    commitment: bytes,
    person_seq_commitment: bytes | None,
) -> bytes:
    """What the log says of one fact: canonical JSON, the time cut to the second, commitments in lower-case hex."""
    return canonical(
        {
            "v": LEAF_VERSION,
            "kind": kind,
            "at": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tenant_tag": tenant_tag,
            "tenant_seq": tenant_seq,
            "commitment": commitment.hex(),
            "person_seq_commitment": person_seq_commitment.hex() if person_seq_commitment else None,
        }
    )


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962 section 2.1: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 section 2.1: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(tile: Tile, size: int) -> bytes:
    """The root of the first `size` leaves; raises `TileDamaged`."""
    return _range_root(tile, 0, size) if size else EMPTY_ROOT


def inclusion(tile: Tile, index: int, size: int) -> list[bytes]:
    """The hashes that tie leaf `index` to the root at `size`, from the leaf up (RFC 6962 section 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(tile, middle, end))
            end = middle
        else:
            path.append(_range_root(tile, start, middle))
            start = middle
    return path[::-1]


def consistency(tile: Tile, earlier: int, size: int) -> list[bytes]:
    """The hashes that prove that the tree only grew from `earlier` to `size` (RFC 6962 section 2.1.2)."""
    if not 0 < earlier <= size:
        raise ValueError(f"a tree of {size} did not grow from {earlier}")
    start, end, path = 0, size, []
    while earlier != end:
        middle = start + _split(end - start)
        if earlier <= middle:
            path.append(_range_root(tile, middle, end))
            end = middle
        else:
            path.append(_range_root(tile, start, middle))
            start = middle
    if start:  # otherwise the earlier root itself is this subtree, and the verifier has it
        path.append(_range_root(tile, start, end))
    return path[::-1]


def root_from_inclusion(index: int, size: int, hashed: bytes, path: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to; None where its length does not fit (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size <= SIZE_MAX:
        return None
    place, last = index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            hashed = node_hash(sibling, hashed)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        place, last = place >> 1, last >> 1
    return hashed if last == 0 else None


def append(tile: Tile, size: int, hashes: Sequence[bytes]) -> dict[Place, bytes]:
    """Add leaf hashes to a tree of `size`; return every tile that changed, with its whole new content."""
    changed: dict[Place, bytes] = {}
    level, count, new = 0, size, b"".join(hashes)
    while new:
        index, width = divmod(count, TILE_WIDTH)
        kept = _first(tile, (level, index), width) if width else b""
        pieces = _cut(kept + new, TILE_BYTES)
        changed |= {(level, index + n): piece for n, piece in enumerate(pieces)}
        new = b"".join(_fold(piece) for piece in pieces if len(piece) == TILE_BYTES)
        level, count = level + 1, index
    return changed


def places(index: int, size: int) -> set[Place]:
    """The tiles that a proof about leaf `index` in a tree of `size` can need: its own, and those at the right edge.

    For the root at `size`, and for growing from it, ask for `places(size - 1, size)`; for a proof of consistency
    with an earlier size, `places(earlier - 1, size)`.
    """
    wanted: set[Place] = set()
    level, count = 0, size
    while count:
        last = (count - 1) >> TILE_HEIGHT
        wanted |= {(level, min(index >> TILE_HEIGHT, last)), (level, last)}
        level, count, index = level + 1, count >> TILE_HEIGHT, index >> TILE_HEIGHT
    return wanted


def write_path(path: TilePath) -> str:
    """`tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]` (C2SP tlog-tiles)."""
    digits = str(path.index)
    groups = _cut(digits.zfill(-(-len(digits) // 3) * 3), 3)
    number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    level = "entries" if path.level is None else path.level
    return f"tile/{level}/{number}" + (f".p/{path.width}" if path.width < TILE_WIDTH else "")


def parse_path(text: str) -> TilePath:
    """Read a path; one that is not written exactly so, or names what no log can hold, is `NotFound`."""
    match = PATH.fullmatch(text)
    if match is None:
        raise NotFound
    level = None if match["level"] == "entries" else int(match["level"])
    index = int(match["index"].replace("x", "").replace("/", ""))
    path = TilePath(level, index, int(match["width"] or TILE_WIDTH))
    if (level or 0) > LEVEL_MAX or index > SIZE_MAX >> TILE_HEIGHT or write_path(path) != text:
        raise NotFound
    return path


def width_at(path: TilePath, size: int) -> int:
    """How wide the named tile or bundle is in a tree of `size`; 0 where it is not there."""
    there = (size >> TILE_HEIGHT * (path.level or 0)) - path.index * TILE_WIDTH
    return max(0, min(TILE_WIDTH, there))


def write_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each after its length as a big-endian uint16 (C2SP tlog-tiles, "Log entries")."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(bundle: bytes) -> list[bytes]:
    """Read a bundle of at most 256 entries; raises `TileDamaged` when it is cut, empty or too long."""
    entries: list[bytes] = []
    at = 0
    while at < len(bundle) and len(entries) < TILE_WIDTH:
        start = at + 2
        at = start + int.from_bytes(bundle[at:start], "big")
        entries.append(bundle[start:at])
    if at != len(bundle) or not entries:
        raise TileDamaged("a bundle holds 1 to 256 whole entries")
    return entries


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """Sign a checkpoint under its origin's name; the same checkpoint always gives the same text (RFC 8032)."""
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = LogKey(checkpoint.origin, public).id + key.sign(str(checkpoint).encode())
    return f"{checkpoint}\n— {checkpoint.origin} {_encode(signature)}\n"


def read_note(note: str, key: LogKey) -> Checkpoint:
    """The checkpoint in a note that `key` signed; raises `NoteRefused`.

    Signatures by other keys are passed over, well-formed or not known, as signed-note demands.
    """
    if len(note) > NOTE_LENGTH_MAX or CONTROL.search(note):
        raise NoteRefused("a note is short and holds no control characters")
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise NoteRefused("a note is a text, an empty line and signatures")
    body, signed = text + "\n", False
    for line in signatures[:-1].split("\n"):
        signed |= _signed_by(line, body, key)
    if not signed:
        raise NoteRefused(f"{key.name} did not sign this")
    return _parse_body(body, key.name)


def check_proof(text: str, entry: bytes, key: LogKey) -> Checkpoint:
    """The checkpoint that a proof shows `entry` to stand in; raises `NoteRefused`."""
    proof = parse_proof(text)
    checkpoint = read_note(proof.note, key)
    leads_to = root_from_inclusion(proof.index, checkpoint.size, leaf_hash(entry), proof.hashes)
    if leads_to is None or not hmac.compare_digest(leads_to, checkpoint.root):
        raise NoteRefused(f"the proof does not lead from this entry at {proof.index} to the root")
    return checkpoint


def parse_proof(text: str) -> Proof:
    """Read a proof, checking its form only; raises `NoteRefused`."""
    head, blank, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    if len(text) > PROOF_LENGTH_MAX or first != PROOF_HEAD or not blank:
        raise NoteRefused(f"a proof starts with {PROOF_HEAD} and ends with a checkpoint")
    extra = _decode(lines.pop(0)[len("extra ") :]) if lines and lines[0].startswith("extra ") else None
    word, _, number = lines.pop(0).partition(" ") if lines else ("", "", "")
    if word != "index" or not NUMBER.fullmatch(number) or len(lines) > PROOF_HASHES_MAX:
        raise NoteRefused("a proof names an index and at most 63 hashes")
    return Proof(int(number), tuple(map(_decode_hash, lines)), note, extra)


def _split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_root(tile: Tile, start: int, end: int) -> bytes:
    """The root of leaves `start` to `end`, where `start` is a multiple of the largest power of two in the count."""
    subtrees: list[bytes] = []
    while start < end:
        height = (end - start).bit_length() - 1
        subtrees.append(_perfect_root(tile, height, start >> height))
        start += 1 << height
    hashed = subtrees.pop()
    while subtrees:
        hashed = node_hash(subtrees.pop(), hashed)
    return hashed


def _perfect_root(tile: Tile, height: int, number: int) -> bytes:
    """The root of the `number`-th run of 2**height leaves: some neighbours inside one tile, folded."""
    level, above = divmod(height, TILE_HEIGHT)
    index, offset = divmod(number << above, TILE_WIDTH)
    end = offset + (1 << above)
    return _fold(_first(tile, (level, index), end)[offset * HASH_BYTES :])


def _first(tile: Tile, place: Place, width: int) -> bytes:
    hashes = tile(*place)[: width * HASH_BYTES]
    if len(hashes) < width * HASH_BYTES:
        raise TileDamaged(f"{write_path(TilePath(*place))} holds fewer than {width} hashes")
    return hashes


def _fold(hashes: bytes) -> bytes:
    """The root over a power of two of neighbouring hashes."""
    row = _cut(hashes, HASH_BYTES)
    while len(row) > 1:
        row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def _cut(whole: AnyStr, length: int) -> list[AnyStr]:
    return [whole[at : at + length] for at in range(0, len(whole), length)]


def _signed_by(line: str, body: str, key: LogKey) -> bool:
    """Whether this is a signature by `key`; a wrong one in its name condemns the whole note."""
    match = SIGNATURE.fullmatch(line)
    signature = _decode(match[2]) if match else b""
    if match is None or len(signature) <= KEY_ID_BYTES:
        raise NoteRefused("a signature line is malformed")
    if match[1] != key.name or signature[:KEY_ID_BYTES] != key.id:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature[KEY_ID_BYTES:], body.encode())
    except InvalidSignature:
        raise NoteRefused(f"the signature by {key.name} is wrong") from None
    return True


def _parse_body(body: str, origin: str) -> Checkpoint:
    lines = body.split("\n")
    if len(lines) != 4 or lines[0] != origin or not NUMBER.fullmatch(lines[1]):
        raise NoteRefused("a checkpoint is the log's name, its size and its root")
    size = int(lines[1])
    if size > SIZE_MAX:
        raise NoteRefused("no log is that long")
    return Checkpoint(origin, size, _decode_hash(lines[2]))


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _decode(text: str) -> bytes:
    """Base 64 in its one canonical spelling (RFC 4648 sections 3.5 and 4)."""
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteRefused("this is not base 64") from None
    if _encode(value) != text:
        raise NoteRefused("this is not base 64 in its canonical spelling")
    return value


def _decode_hash(text: str) -> bytes:
    value = _decode(text)
    if len(value) != HASH_BYTES:
        raise NoteRefused("a hash is 32 bytes")
    return value
