"""What shows a person that nothing about them was left out of their list, and its check without us.

Each day's map (`people_map`) says how many leaves of the log are about a person; its root is a fact in the log. A
person's file holds their entry of the map and every leaf that it counts. The check needs no database; docs/completeness.md
describes the file for other people's verifiers.
"""

import hmac
import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from compliance import facts, log, people_map
from compliance.log import HASH_BYTES, Checkpoint, LogKey, NoteRefused
from compliance.people_map import Entry

FORMAT = "xinqiao-person-proof/1"
MAP_KIND = "person_map_published"
OWN_ENTRIES_MAX = 10_000
FILE_BYTES_MAX = 1 << 26


class Incomplete(NoteRefused):
    """What was handed over does not prove that nothing is missing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A leaf of the log and the hashes that tie it to the checkpoint (RFC 6962 section 2.1.1)."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MapFact:
    """The fact by which the map is in the log, opened."""

    payload: bytes
    salt: bytes
    place: Place


@dataclass(frozen=True, slots=True)
class CountProof:
    """What shows that the map says `count` of who has `key`; 0 is shown by who stands in the way, or nobody.

    `head` is the hash of the newest leaf counted; `path` are the hashes beside the way from the entry up to the root.
    """

    key: bytes
    count: int
    head: bytes | None
    map: MapFact
    path: tuple[bytes, ...]
    other: Entry | None
    checkpoint: str


@dataclass(frozen=True, slots=True)
class OwnEntry:
    """One leaf about the person, and the salt that opens its number."""

    fact: str
    salt: bytes
    place: Place


@dataclass(frozen=True, slots=True)
class PersonProof:
    """The file that a person takes away: the count, and every leaf that was counted, in order."""

    format: str
    counted: CountProof
    entries: tuple[OwnEntry, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What was shown: the map of `day` covers the log's first `size` leaves; `count` of them are about the person."""

    day: date
    size: int
    count: int


@dataclass(frozen=True, slots=True)
class Published:
    """What the fact of a map says: `entries` is how many there are with those of nobody."""

    day: date
    root: bytes
    size: int
    entries: int

    def as_fact(self) -> dict[str, str | int]:
        """The content of the fact."""
        return {
            "day": self.day.isoformat(),
            "entries": self.entries,
            "root": self.root.hex(),
            "size": self.size,
        }


def check_count(proof: CountProof, key: LogKey) -> Counted:
    """What the map says of the person, with every step up to the signed checkpoint; raises `NoteRefused`."""
    checkpoint = log.read_note(proof.checkpoint, key)
    _check_place(proof.map.place, checkpoint)
    said = read_map_fact(proof.map)
    if not said.size <= proof.map.place.index:
        raise Incomplete("a map cannot cover its own fact")
    index = people_map.index_of(proof.key, said.day)
    end = _end(proof, index, said)
    if not hmac.compare_digest(people_map.root_from(index, end, proof.path), said.root):
        raise Incomplete(f"the map does not say {proof.count} of this person")
    return Counted(said.day, said.size, proof.count)


def check_all(proof: PersonProof, key: LogKey) -> Counted:
    """The count, and that the entries are numbered 1 to the last, each in the log; raises `NoteRefused`."""
    counted = check_count(proof.counted, key)
    checkpoint = log.read_note(proof.counted.checkpoint, key)
    if len(proof.entries) != counted.count:
        raise Incomplete(f"{counted.count} entries were counted, {len(proof.entries)} are here")
    before = -1
    for number, entry in enumerate(proof.entries, start=1):
        if not before < entry.place.index < counted.size:
            raise Incomplete(f"entry {number} does not stand where it was counted")
        _check_place(entry.place, checkpoint)
        stated = _read(entry.place.leaf).get("person_seq_commitment")
        if stated != facts.commit_to(str(number).encode(), entry.salt).hex():
            raise Incomplete(f"the leaf at {entry.place.index} is not entry {number} of this person")
        before = entry.place.index
    if proof.entries and log.leaf_hash(proof.entries[-1].place.leaf) != proof.counted.head:
        raise Incomplete("the last entry is not the one that was counted last")
    return counted


def check_growth(earlier: PersonProof, later: PersonProof) -> None:
    """That a later file continues an earlier one of the same person; raises `Incomplete`."""
    if earlier.counted.key != later.counted.key:
        raise Incomplete("the files have different keys: they are not of one person")
    for number, (was, now) in enumerate(zip(earlier.entries, later.entries, strict=False), start=1):
        if (was.place.index, was.place.leaf) != (now.place.index, now.place.leaf):
            raise Incomplete(f"entry {number} is not what it was")
    if len(later.entries) < len(earlier.entries):
        raise Incomplete(f"{len(earlier.entries)} entries became {len(later.entries)}")


def write(proof: PersonProof) -> bytes:
    """The file: JSON, bytes in base 64."""
    return msgspec.json.format(msgspec.json.encode(proof), indent=1)


def read(file: bytes) -> PersonProof:
    """Read a file, checking its form only; raises `Incomplete`."""
    if len(file) > FILE_BYTES_MAX:
        raise Incomplete("the file is too long")
    try:
        proof = msgspec.json.decode(file, type=PersonProof)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Incomplete(f"this is not a proof file: {error}") from None
    if proof.format != FORMAT or len(proof.entries) > OWN_ENTRIES_MAX:
        raise Incomplete(f"this is not a file of the form {FORMAT}")
    return proof


def read_map_fact(fact: MapFact) -> Published:
    """What a map's fact says, if its leaf commits to it; raises `Incomplete`."""
    leaf = _read(fact.place.leaf)
    if (
        leaf.get("kind") != MAP_KIND
        or leaf.get("commitment") != facts.commit_to(fact.payload, fact.salt).hex()
    ):
        raise Incomplete("the log does not hold this map")
    return read_payload(fact.payload)


def read_payload(payload: bytes) -> Published:
    """What the payload of a map's fact says; raises `Incomplete`."""
    what = _read(payload).get("what")
    try:
        said = msgspec.convert(what, type=dict[str, str | int])
        day, root_hash = date.fromisoformat(str(said["day"])), bytes.fromhex(str(said["root"]))
        return Published(day, root_hash, int(said["size"]), int(said["entries"]))
    except (msgspec.ValidationError, KeyError, ValueError):
        raise Incomplete("the fact of the map cannot be read") from None


def _end(proof: CountProof, index: bytes, said: Published) -> bytes:
    """The hash at the end of the person's way: their entry; for a count of 0 another's, or nothing."""
    if proof.count and proof.head:
        return Entry(index, people_map.value_of(proof.key, said.day, proof.count, proof.head)).hash
    if proof.count or proof.head or (proof.other and proof.other.index == index):
        raise Incomplete("a count comes with the newest entry, and none without one")
    if proof.other and len(proof.other.index) != HASH_BYTES:
        raise Incomplete("an index is 32 bytes")
    return proof.other.hash if proof.other else people_map.EMPTY


def _check_place(place: Place, checkpoint: Checkpoint) -> None:
    leads_to = log.root_from_inclusion(place.index, checkpoint.size, log.leaf_hash(place.leaf), place.path)
    if leads_to is None or not hmac.compare_digest(leads_to, checkpoint.root):
        raise Incomplete(f"the leaf at {place.index} is not in the log")


def _read(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise Incomplete("this is not JSON") from None
    if not isinstance(said, dict):
        raise Incomplete("this is not an object")
    return said
