"""The map of people: one entry per index in one root, and every changed byte breaks the proof."""

from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance import completeness, facts, log
from compliance import people_map as c
from compliance.canonical import canonical
from compliance.completeness import Incomplete
from compliance.log import LogKey, NoteRefused
from compliance.people_map import EMPTY, Entry

DAY = date(2026, 11, 28)
hashes = st.binary(min_size=32, max_size=32)
# Indexes that share long prefixes are the hard ones.
indexes = st.one_of(
    hashes,
    st.integers(0, 1000).map(lambda n: n.to_bytes(32)),
    st.integers(0, 7).map(lambda n: bytes([n << 5]) + bytes(31)),
)
maps = st.dictionaries(indexes, hashes, max_size=40)
bits_of_tops = st.integers(0, 4)


def built(entries: dict[bytes, bytes], bits: int) -> tuple[list[list[Entry]], list[bytes]]:
    buckets: list[list[Entry]] = [[] for _ in range(1 << bits)]
    for index in sorted(entries):
        buckets[c.bucket_of(index, bits)].append(Entry(index, entries[index]))
    return buckets, [c.subtree(bucket, bits) for bucket in buckets]


@given(maps, indexes, bits_of_tops)
@settings(max_examples=200, deadline=None)
def test_whoever_is_in_the_map_is_proven_and_whoever_is_not_too(entries, absent, bits):
    buckets, tops = built(entries, bits)
    for index in {*entries, absent}:
        path, end = c.prove(index, buckets[c.bucket_of(index, bits)], tops)
        assert c.root_from(index, end.hash if end else EMPTY, path) == c.root(tops)
        assert (end is not None and end.index == index) is (index in entries)
        if index in entries:
            assert end == Entry(index, entries[index])


@given(maps.filter(bool), bits_of_tops, st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_leads_elsewhere(entries, bits, data):
    buckets, tops = built(entries, bits)
    index = data.draw(st.sampled_from(sorted(entries)))
    path, end = c.prove(index, buckets[c.bucket_of(index, bits)], tops)
    pieces = [end.hash, *path]
    at, byte = data.draw(st.integers(0, len(pieces) - 1)), data.draw(st.integers(0, 31))
    piece = bytearray(pieces[at])
    piece[byte] ^= data.draw(st.integers(1, 255))
    pieces[at] = bytes(piece)
    assert c.root_from(index, pieces[0], pieces[1:]) != c.root(tops)
    assert c.root_from(index, Entry(index, bytes(32)).hash, path) != c.root(tops) or entries[index] == bytes(
        32
    )
    if path:
        assert c.root_from(index, end.hash, path[1:]) != c.root(tops)


@given(maps, maps, bits_of_tops)
@settings(max_examples=100, deadline=None)
def test_two_maps_with_one_root_are_one_map(one, other, bits):
    assert (c.root(built(one, bits)[1]) == c.root(built(other, bits)[1])) is (one == other)


@given(st.integers(0, 1 << 30))
def test_a_map_tells_how_many_people_there_are_only_to_a_power_of_two(people):
    entries = c.padded(people)
    assert entries >= max(people, 256)
    assert entries.bit_count() == 1
    assert entries == 256 or entries < 2 * people


@given(st.integers(0, 16), st.data())
def test_buckets_divide_the_indexes(bits, data):
    index = data.draw(hashes)
    number = c.bucket_of(index, bits)
    first, last = c.bounds(number, 1, bits)
    assert first <= index <= last
    assert c.bounds(0, 1 << bits, bits) == (bytes(32), b"\xff" * 32)


def test_the_sizes_of_buckets():
    assert [c.top_bits(n) for n in (256, 512, 1 << 20, 1 << 30)] == [0, 1, 12, 16]


def test_a_golden_vector():
    """docs/completeness.md names these values: whoever writes another verifier can start from them."""
    key = c.map_key(bytes(range(32)))
    entries = {
        entry.index: entry.value
        for entry in (
            c.entry_of(key, DAY, 3, bytes([7]) * 32),
            *(c.padding(bytes(32), DAY, n) for n in range(3)),
        )
    }
    _, tops = built(entries, 0)
    assert key.hex() == "ce67afa26097bdb471eefa2e43cee7a2a2c4e043d92da4c2fef2d9b9a61a8f1b"
    assert c.index_of(key, DAY).hex() == "44f49a096234e51a042fa936307e1f2e84f964bc346a8aee67f362c836144605"
    assert (
        entries[c.index_of(key, DAY)].hex()
        == "c10b63b4e4aa6f69d5b7f9abc5a605d9a32e684575b1dec1c50847c34e3006b3"
    )
    assert c.root(tops).hex() == "aa230f3876d35dd063166cf8f1266d4099e822088082d9ce72e4b1dcde6487e0"


def test_the_index_of_a_person_is_another_one_each_day():
    key = c.map_key(bytes(32))
    assert c.index_of(key, DAY) != c.index_of(key, date(2026, 11, 29))


@given(st.binary(max_size=200))
def test_a_file_that_is_none_is_refused(file):
    with pytest.raises(Incomplete):
        completeness.read(file)


def test_a_way_that_is_too_long_is_refused():
    with pytest.raises(NoteRefused):
        c.root_from(bytes(32), EMPTY, [EMPTY] * 257)


# An operator that lies, and signs what it says


KEY = c.map_key(bytes(32))
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(32))
LOG = LogKey("log.test.example", SIGNER.public_key().public_bytes_raw())
SALT = bytes(32)


def own_leaf(number: int) -> bytes:
    return canonical(
        {"kind": "counted", "person_seq_commitment": facts.commit_to(str(number).encode(), SALT).hex()}
    )


def told(
    numbers: list[int], *, count: int, head: int, size: int, absent: bool = False
) -> completeness.PersonProof:
    """A log with one leaf for each number of the person, and a map that says what the operator likes."""
    leaves = [own_leaf(number) for number in numbers]
    entry = c.entry_of(KEY, DAY, count, log.leaf_hash(own_leaf(head)))
    said = completeness.Published(DAY, c.root([c.subtree([entry], 0)]), size, 1)
    payload = canonical({"what": said.as_fact()})
    commitment = facts.commit_to(payload, SALT).hex()
    leaves.append(canonical({"kind": completeness.MAP_KIND, "commitment": commitment}))
    tiles = log.append(lambda level, index: b"", 0, [log.leaf_hash(leaf) for leaf in leaves])

    def tile(level: int, index: int) -> bytes:
        return tiles[level, index]

    checkpoint = log.Checkpoint(LOG.name, len(leaves), log.root(tile, len(leaves)))
    places = [
        completeness.Place(n, leaf, tuple(log.inclusion(tile, n, len(leaves))))
        for n, leaf in enumerate(leaves)
    ]
    counted = completeness.CountProof(
        key=KEY,
        count=0 if absent else count,
        head=None if absent else log.leaf_hash(own_leaf(head)),
        map=completeness.MapFact(payload, SALT, places[-1]),
        path=(),
        other=entry if absent else None,
        checkpoint=log.sign(checkpoint, SIGNER),
    )
    shown = sorted(zip(numbers, places, strict=False), key=lambda pair: pair[0])
    entries = () if absent else tuple(completeness.OwnEntry("", SALT, place) for _, place in shown)
    return completeness.PersonProof(completeness.FORMAT, counted, entries)


def test_an_honest_operator_is_believed():
    honest = told([1, 2, 3], count=3, head=3, size=3)
    assert completeness.check_all(honest, LOG) == completeness.Counted(DAY, 3, 3)


LIES = {
    "fewer entries than were counted": (told([1, 2], count=3, head=2, size=2), "2 are here"),
    "another head": (told([1, 2, 3], count=3, head=2, size=3), "counted last"),
    "numbers out of order": (told([2, 1, 3], count=3, head=3, size=3), "does not stand where"),
    "an entry behind what the map covers": (told([1, 2, 3], count=3, head=3, size=2), "does not stand where"),
    "a map of what came after it": (told([1, 2, 3], count=3, head=3, size=4), "its own fact"),
    "a number left out": (told([1, 3], count=2, head=3, size=2), "is not entry 2"),
    "a number twice": (told([1, 1], count=2, head=1, size=2), "is not entry 2"),
    "nobody, by their own entry": (told([1], count=1, head=1, size=1, absent=True), "comes with"),
}


@pytest.mark.parametrize(("proof", "why"), LIES.values(), ids=LIES)
def test_a_lie_is_refused_though_it_is_signed(proof, why):
    with pytest.raises(Incomplete, match=why):
        completeness.check_all(proof, LOG)
