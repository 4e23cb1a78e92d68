"""The map of people: a Merkle tree from blinded indexes to committed counts, made anew each day.

The bits of an index say where its entry stands, so that one root has room for one entry of one person and no more.
A part of the tree with one entry is that entry, one with none is 32 zero bytes; the upper levels are always whole.
Everything here is a pure function.
"""

import hashlib
import hmac
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from compliance import log
from compliance.canonical import canonical
from compliance.log import HASH_BYTES, NoteRefused

EMPTY = bytes(HASH_BYTES)
"""The hash of a part of the tree in which nobody stands."""
INDEX_BITS = HASH_BYTES * 8
BUCKET_BITS = 8
TOP_BITS_MAX = 16
ENTRIES_MIN = 1 << BUCKET_BITS


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of the map: whose it is and what it says are both hidden from who lacks the person's map key."""

    index: bytes
    value: bytes

    @property
    def hash(self) -> bytes:
        """SHA-256(0x00 || index || value)."""
        return log.leaf_hash(self.index + self.value)


def map_key(person_key: bytes) -> bytes:
    """A person's key of the maps, the same every day: who is shown it can find their entries, and nothing else."""
    return hmac.digest(person_key, b"person_map", hashlib.sha256)


def index_of(key: bytes, day: date) -> bytes:
    """Where the entry of a map key stands; another place each day, so that nobody else can follow it."""
    return hmac.digest(key, b"index\n" + day.isoformat().encode(), hashlib.sha256)


def value_of(key: bytes, day: date, count: int, head: bytes) -> bytes:
    """The commitment to the number of leaves about a person and to the hash of the newest."""
    said = canonical({"count": count, "day": day.isoformat(), "head": head.hex()})
    return hmac.digest(key, b"value\n" + said, hashlib.sha256)


def entry_of(key: bytes, day: date, count: int, head: bytes) -> Entry:
    """A person's entry in the map of a day."""
    return Entry(index_of(key, day), value_of(key, day, count, head))


def padding(key: bytes, day: date, number: int) -> Entry:
    """An entry of nobody: to everybody else it looks like any other."""
    about = f"\n{day.isoformat()}\n{number}".encode()
    index = hmac.digest(key, b"index" + about, hashlib.sha256)
    return Entry(index, hmac.digest(key, b"value" + about, hashlib.sha256))


def padded(people: int) -> int:
    """How many entries a map has: the next power of two, and never less than 256."""
    return max(ENTRIES_MIN, 1 << (people - 1).bit_length() if people else 0)


def top_bits(entries: int) -> int:
    """How many upper levels a map of that many entries keeps whole: a bucket below holds about 256."""
    return min(TOP_BITS_MAX, max(0, (entries - 1).bit_length() - BUCKET_BITS))


def bucket_of(index: bytes, bits: int) -> int:
    """The number that the first bits of an index make."""
    return int.from_bytes(index) >> INDEX_BITS - bits


def bounds(first: int, count: int, bits: int) -> tuple[bytes, bytes]:
    """The smallest and the largest index of some neighbouring buckets."""
    below = INDEX_BITS - bits
    return (first << below).to_bytes(HASH_BYTES), (((first + count) << below) - 1).to_bytes(HASH_BYTES)


def subtree(entries: Sequence[Entry], depth: int) -> bytes:
    """The hash over entries, in order, whose first `depth` bits agree: one alone stands for its whole part."""
    if len(entries) < 2:
        return entries[0].hash if entries else EMPTY
    middle = _middle(entries, depth)
    return log.node_hash(subtree(entries[:middle], depth + 1), subtree(entries[middle:], depth + 1))


def root(tops: Sequence[bytes]) -> bytes:
    """The root over the hashes of all buckets, which are a power of two."""
    return _rows(tops)[-1][0]


def prove(
    index: bytes, bucket: Sequence[Entry], tops: Sequence[bytes]
) -> tuple[tuple[bytes, ...], Entry | None]:
    """The hashes beside the way of an index, from below, and the entry at its end: its own, another's or none."""
    depth = (len(tops) - 1).bit_length()
    path: list[bytes] = []
    rest, at = bucket, depth
    while len(rest) > 1:
        middle = _middle(rest, at)
        right = _bit(index, at)
        rest, beside = (rest[middle:], rest[:middle]) if right else (rest[:middle], rest[middle:])
        path.append(subtree(beside, at + 1))
        at += 1
    path.reverse()
    number = bucket_of(index, depth)
    for row in _rows(tops)[:-1]:
        path.append(row[number ^ 1])
        number >>= 1
    return tuple(path), rest[0] if rest else None


def root_from(index: bytes, hashed: bytes, path: Sequence[bytes]) -> bytes:
    """The root that a way leads to; raises `NoteRefused` where it is longer than an index."""
    if len(path) > INDEX_BITS:
        raise NoteRefused("a way through the map has at most 256 steps")
    for depth, beside in zip(range(len(path) - 1, -1, -1), path, strict=True):
        hashed = log.node_hash(beside, hashed) if _bit(index, depth) else log.node_hash(hashed, beside)
    return hashed


def _bit(index: bytes, depth: int) -> int:
    """The bit of an index that says left (0) or right (1) at a depth."""
    return index[depth >> 3] >> (7 - (depth & 7)) & 1


def _middle(entries: Sequence[Entry], depth: int) -> int:
    """How many of the entries, in order, go left at a depth."""
    return bisect_left(entries, 1, key=lambda entry: _bit(entry.index, depth))


def _rows(tops: Sequence[bytes]) -> list[Sequence[bytes]]:
    """The upper levels, from the buckets to the root."""
    rows: list[Sequence[bytes]] = [tops]
    while len(rows[-1]) > 1:
        below = rows[-1]
        rows.append([log.node_hash(a, b) for a, b in zip(below[::2], below[1::2], strict=True)])
    return rows
