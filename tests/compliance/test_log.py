"""The tree, its signed heads and proofs: against the words of RFC 6962, an independent verifier, and damage."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone

import metamorphic_log
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from compliance import log
from compliance.log import Checkpoint, LogKey, NoteRefused, Proof, TilePath
from compliance.refusals import NotFound

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "log.test.example"
LOG_KEY = LogKey(NAME, KEY.public_key().public_bytes_raw())

# The eight entries of the test suite of the reference implementation of Certificate Transparency, and its roots.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


class Tree:
    """A log in memory, grown in the given steps."""

    def __init__(self, *steps: int) -> None:
        self.tiles: dict[log.Place, bytes] = {}
        self.entries: list[bytes] = []
        for step in steps:
            self.grow([b"entry %d" % (len(self.entries) + n) for n in range(step)])

    def grow(self, entries: list[bytes]) -> None:
        hashes = [log.leaf_hash(e) for e in entries]
        self.tiles |= log.append(self.tile, len(self.entries), hashes)
        self.entries += entries

    def tile(self, level: int, index: int) -> bytes:
        return self.tiles[level, index]

    def only(self, places: set[log.Place]) -> log.Tile:
        """What somebody sees who fetched these tiles and no others."""
        fetched = {p: self.tiles[p] for p in places if p in self.tiles}
        return lambda level, index: fetched[level, index]

    def note(self, size: int) -> str:
        return log.sign(Checkpoint(NAME, size, log.root(self.tile, size)), KEY)


BIG = Tree(70_000)


def mth(entries: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if len(entries) == 1:
        return []
    k = 1
    while k * 2 < len(entries):
        k *= 2
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: list[bytes], whole: bool) -> list[bytes]:
    """RFC 6962 section 2.1.2, word for word."""
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = 1
    while k * 2 < len(entries):
        k *= 2
    if m <= k:
        return [*subproof(m, entries[:k], whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


@pytest.mark.spec("RFC 6962", "2.1")
@pytest.mark.parametrize("size", ROOTS)
def test_the_roots_are_those_of_the_reference_implementation(size):
    tree = Tree()
    tree.grow(ENTRIES[:size])
    assert log.root(tree.tile, size).hex() == ROOTS[size]


@pytest.mark.spec("RFC 6962", "2.1.3")
def test_the_example_of_the_rfc():
    tree = Tree()
    tree.grow([b"d%d" % n for n in range(7)])
    a, b, c, d, e, f, j = (log.leaf_hash(entry) for entry in tree.entries)
    g, h, i = log.node_hash(a, b), log.node_hash(c, d), log.node_hash(e, f)
    k, el = log.node_hash(g, h), log.node_hash(i, j)
    assert log.root(tree.tile, 7) == log.node_hash(k, el)
    assert log.inclusion(tree.tile, 0, 7) == [b, h, el]
    assert log.inclusion(tree.tile, 3, 7) == [c, g, el]
    assert log.inclusion(tree.tile, 4, 7) == [f, j, k]
    assert log.inclusion(tree.tile, 6, 7) == [i, k]
    assert log.consistency(tree.tile, 3, 7) == [c, d, g, el]
    assert log.consistency(tree.tile, 4, 7) == [el]
    assert log.consistency(tree.tile, 6, 7) == [i, j, k]


@pytest.mark.spec("RFC 6962", "2.1.1")
@pytest.mark.spec("RFC 6962", "2.1.2")
@given(st.integers(1, 600), st.data())
def test_root_and_proofs_follow_the_definitions(size, data):
    index, earlier = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    entries = BIG.entries[:size]
    assert log.root(BIG.tile, size) == mth(entries)
    assert log.inclusion(BIG.tile, index, size) == path(index, entries)
    assert log.consistency(BIG.tile, earlier, size) == subproof(earlier, entries, True)


@given(st.lists(st.integers(1, 700), max_size=6))
def test_however_it_grew_the_tiles_are_the_same(steps):
    assert Tree(*steps).tiles == Tree(sum(steps)).tiles


@pytest.mark.spec("C2SP tlog-tiles", "Partial Tiles")
def test_the_example_of_a_tree_of_seventy_thousand():
    widths = {place: len(hashes) // 32 for place, hashes in BIG.tiles.items()}
    assert [widths.pop((0, 273)), widths.pop((1, 1)), widths.pop((2, 0))] == [112, 17, 1]
    assert set(widths) == {*((0, n) for n in range(273)), (1, 0)}
    assert set(widths.values()) == {256}
    assert all(log.width_at(TilePath(*p), 70_000) * 32 == len(hashes) for p, hashes in BIG.tiles.items())
    assert [log.width_at(TilePath(*p), 70_000) for p in ((0, 274), (1, 2), (2, 1), (3, 0), (None, 274))] == [
        0
    ] * 5
    assert log.width_at(TilePath(None, 273), 70_000) == 112


@pytest.mark.spec("RFC 9162", "2.1.3.2")
@given(st.integers(1, 70_000), st.data())
def test_an_independent_verifier_accepts_inclusion_and_refuses_anything_else(size, data):
    index = data.draw(st.integers(0, size - 1))
    proof = log.inclusion(BIG.only(log.places(index, size)), index, size)
    hashed, note = log.leaf_hash(BIG.entries[index]), BIG.note(size)

    def accepted(index: int, hashed: bytes, proof: list[bytes]) -> bool:
        ours = log.root_from_inclusion(index, size, hashed, proof) == log.root(BIG.tile, size)
        try:
            metamorphic_log.checkpoint_verify_inclusion(note, [str(LOG_KEY)], index, hashed, proof)
        except metamorphic_log.VerifyError:
            assert not ours
            return False
        assert ours
        return True

    assert accepted(index, hashed, proof)
    assert not accepted(index, flipped(hashed), proof)
    assert not accepted(index, hashed, [*proof, hashed])
    assert log.root_from_inclusion(index, size, hashed, [*proof, hashed]) is None
    if proof:
        spot = data.draw(st.integers(0, len(proof) - 1))
        assert not accepted(index, hashed, proof[:-1])
        assert log.root_from_inclusion(index, size, hashed, proof[:-1]) is None
        assert not accepted(index ^ 1, hashed, proof) or (index ^ 1) >= size
        assert not accepted(index, hashed, [*proof[:spot], flipped(proof[spot]), *proof[spot + 1 :]])


@pytest.mark.spec("RFC 9162", "2.1.4.2")
@given(st.integers(1, 70_000), st.data())
def test_an_independent_verifier_accepts_consistency_and_refuses_anything_else(size, data):
    earlier = data.draw(st.integers(1, size))
    proof = log.consistency(BIG.only(log.places(earlier - 1, size)), earlier, size)
    key = [str(LOG_KEY)]
    older, newer = BIG.note(earlier), BIG.note(size)
    metamorphic_log.checkpoint_verify_consistency(older, newer, key, proof)
    other = log.sign(Checkpoint(NAME, earlier, flipped(log.root(BIG.tile, earlier))), KEY)
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify_consistency(other, newer, key, proof)
    with pytest.raises(metamorphic_log.VerifyError):
        metamorphic_log.checkpoint_verify_consistency(older, newer, key, [*proof, bytes(32)])


def flipped(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


@given(st.integers(1, 70_000))
def test_the_named_tiles_are_enough_to_know_the_root_and_to_grow(size):
    tile = BIG.only(log.places(size - 1, size))
    assert log.root(tile, size) == log.root(BIG.tile, size)
    more = [log.leaf_hash(b"one more")]
    before = {p: BIG.tiles[p][: 32 * log.width_at(TilePath(*p), size)] for p in log.places(size - 1, size)}
    grown = before | log.append(tile, size, more)
    seen = log.root(lambda level, index: grown[level, index], size + 1)
    proof = log.inclusion(lambda level, index: grown[level, index], size, size + 1)
    assert log.root_from_inclusion(size, size + 1, more[0], proof) == seen


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_there_is_no_proof_of_what_is_not_there(index, size):
    with pytest.raises(ValueError, match="is not in a tree"):
        log.inclusion(BIG.tile, index, size)
    assert log.root_from_inclusion(index, size, bytes(32), []) is None


@pytest.mark.parametrize(("earlier", "size"), [(0, 5), (6, 5)])
def test_a_tree_grew_only_from_a_smaller_one(earlier, size):
    with pytest.raises(ValueError, match="did not grow"):
        log.consistency(BIG.tile, earlier, size)


def test_a_cut_tile_is_noticed():
    with pytest.raises(log.TileDamaged, match=r"tile/0/000 holds fewer than 6 hashes"):
        log.root(lambda level, index: BIG.tile(level, index)[: 5 * 32 + 31], 6)
    with pytest.raises(log.TileDamaged):
        log.append(lambda level, index: b"", 5, [bytes(32)])


@pytest.mark.spec("C2SP tlog-tiles", "Merkle Tree")
@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("tile/0/000", TilePath(0, 0)),
        ("tile/0/x001/x234/067", TilePath(0, 1_234_067)),
        ("tile/1/x001/000.p/255", TilePath(1, 1000, 255)),
        ("tile/63/999.p/1", TilePath(63, 999, 1)),
        ("tile/entries/x012/345", TilePath(None, 12_345)),
        ("tile/entries/000.p/7", TilePath(None, 0, 7)),
    ],
)
def test_paths_are_written_and_read(text, path):
    assert log.write_path(path) == text
    assert log.parse_path(text) == path


LEVELS = st.one_of(st.none(), st.integers(0, 63))


@given(st.builds(TilePath, LEVELS, st.integers(0, (1 << 55) - 1), st.integers(1, 256)))
def test_every_path_comes_back(path):
    assert log.parse_path(log.write_path(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/000\n",
            "tile/00/000",
            "tile/-1/000",
        ),
        *(
            "tile/64/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x000/001",
            "tile/0/x1/000",
        ),
        *(
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/data/000",
            "tile/0/٠٠٠",
        ),
        *("tile/0/x036/x028/x797/x018/x963/968", "tile/0/" + "x999/" * 7 + "999"),
    ],
)
def test_any_other_spelling_is_unknown(text):
    with pytest.raises(NotFound):
        log.parse_path(text)


@given(st.text(alphabet="tile/0123x.pentrs"))
def test_what_is_read_is_written_the_same(text):
    try:
        path = log.parse_path(text)
    except NotFound:
        return
    assert log.write_path(path) == text


@pytest.mark.spec("C2SP tlog-tiles", "Log entries")
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_come_back(entries):
    assert log.parse_bundle(log.write_bundle(entries)) == entries


@pytest.mark.parametrize("bundle", [b"", b"\x00", b"\x00\x02a", b"\x00\x00" * 257, b"\x00\x01a\x00"])
def test_a_damaged_bundle_is_noticed(bundle):
    with pytest.raises(log.TileDamaged):
        log.parse_bundle(bundle)


def test_a_bundle_is_the_golden_bytes():
    assert log.write_bundle([b"", b"ab"]) == b"\x00\x00\x00\x02ab"


GOLDEN = (
    b'{"at":"2026-11-24T15:04:05Z","commitment":"1111111111111111111111111111111111111111111111111111111111111111",'
    b'"kind":"score_issued",'
    b'"person_seq_commitment":"2222222222222222222222222222222222222222222222222222222222222222",'
    b'"tenant_seq":7,"tenant_tag":"00112233445566778899aabbccddeeff","v":1}'
)


def test_the_golden_leaf():
    """These bytes are hashed into every log that exists: if this test fails, the code is wrong, not the test."""
    entry = log.leaf(
        kind="score_issued",
        at=datetime(2026, 11, 24, 23, 4, 5, 999_999, timezone(timedelta(hours=8))),
        tenant_tag="00112233445566778899aabbccddeeff",
        tenant_seq=7,
        commitment=b"\x11" * 32,
        person_seq_commitment=b"\x22" * 32,
    )
    assert entry == GOLDEN
    assert log.leaf_hash(entry).hex() == "03787609d59de7a0c3a3393e54d09082d239b0ff9c239b2dbfee556f28fa8714"


def test_a_leaf_that_concerns_nobody_says_so():
    entry = log.leaf(
        kind="rule_pack_signed",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        tenant_tag="t",
        tenant_seq=1,
        commitment=bytes(32),
        person_seq_commitment=None,
    )
    assert b'"person_seq_commitment":null' in entry


OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
NAME = "log.test.example"


def public(key: Ed25519PrivateKey, name: str = NAME) -> LogKey:
    return LogKey(name, key.public_key().public_bytes_raw())


ROOT = log.leaf_hash(b"one")
NOTE = log.sign(Checkpoint(NAME, 1, ROOT), KEY)
BODY, SIGNATURE = NOTE.split("\n\n")


# The example and the key of the documentation of the note package of Go, where the format comes from.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


@pytest.mark.spec("C2SP signed-note", "Ed25519 signatures")
def test_the_key_of_the_reference_implementation_is_read():
    key = LogKey.parse(GO_KEY)
    assert (key.name, key.id.hex(), str(key)) == ("PeterNeumann", "c74f20a3", GO_KEY)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "+",
            "a+b",
            GO_KEY[:-4],
            GO_KEY.replace("c74f20a3", "c74f20a4"),
            GO_KEY.replace("Peter", "peter"),
        ),
        *(GO_KEY + "\n", GO_KEY.replace("+AR", "+BR"), "+".join(("", *GO_KEY.split("+")[1:]))),
        str(LogKey("two words", bytes(32))),
    ],
)
def test_what_is_no_key_is_refused(text):
    with pytest.raises(NoteRefused):
        LogKey.parse(text)


@pytest.mark.spec("C2SP tlog-checkpoint", "Note text")
@given(st.integers(0, log.SIZE_MAX), st.binary(min_size=32, max_size=32))
def test_checkpoints_come_back_and_an_independent_verifier_reads_the_same(size, root):
    head = Checkpoint(NAME, size, root)
    note = log.sign(head, KEY)
    assert log.read_note(note, public(KEY)) == head
    theirs = metamorphic_log.checkpoint_verify(note, [str(public(KEY))])
    assert (theirs.origin, theirs.size, theirs.root) == (NAME, size, root)


def test_the_golden_note():
    """Ed25519 is deterministic: the same head is always the same text."""
    assert log.sign(Checkpoint(NAME, 1, ROOT), KEY) == NOTE
    assert (
        f"{NAME}\n1\n0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=\n\n— {NAME} XuHsC/yVbrddo7LfG7oUgqPHcQCyAoowA1khwhQF3sqbalrSqlnklAJd2VCHElfz4hGcS4y5wOVr8ULh3nQKJjRikgk=\n"
        == NOTE
    )


def test_a_note_of_another_key_or_name_is_refused():
    for key in (public(OTHER), public(KEY, "other.example")):
        with pytest.raises(NoteRefused, match="did not sign"):
            log.read_note(NOTE, key)


@pytest.mark.spec("C2SP signed-note", "Signatures")
def test_unknown_signatures_are_passed_over_and_a_wrong_known_one_is_not():
    stranger = log.sign(Checkpoint("witness.example", 1, ROOT), OTHER).split("\n\n")[1]
    for note in (NOTE + stranger, f"{BODY}\n\n{stranger}{SIGNATURE}", NOTE + stranger * 15):
        assert log.read_note(note, public(KEY)).size == 1
    wrong = log.sign(Checkpoint(NAME, 2, ROOT), KEY).split("\n\n")[1]
    for signatures in (wrong, SIGNATURE + wrong, wrong + SIGNATURE):
        with pytest.raises(NoteRefused, match="is wrong"):
            log.read_note(f"{BODY}\n\n{signatures}", public(KEY))


def signed(body: str) -> str:
    signature = public(KEY).id + KEY.sign(body.encode())
    return f"{body}\n— {NAME} {log._encode(signature)}\n"


B64_ROOT = BODY.split("\n")[2]


@pytest.mark.parametrize(
    "body",
    [
        f"{NAME}\n01\n{B64_ROOT}\n",
        f"{NAME}\n-1\n{B64_ROOT}\n",
        f"{NAME}\n+1\n{B64_ROOT}\n",
        f"{NAME}\n1 \n{B64_ROOT}\n",
        f"{NAME}\n١\n{B64_ROOT}\n",
        f"{NAME}\n9223372036854775808\n{B64_ROOT}\n",
        f"{NAME}\n1\n{B64_ROOT[:-4]}\n",
        f"{NAME}\n1\n{B64_ROOT}=\n",
        f"{NAME}\n1\n{B64_ROOT[:-2]}9=\n",
        f"{NAME}\n1\n{B64_ROOT}\nmore\n",
        f"{NAME}\n1\n",
        f"other.example\n1\n{B64_ROOT}\n",
        f"\n1\n{B64_ROOT}\n",
        f"{NAME}\n1\n\n{B64_ROOT}\n",
    ],
)
def test_only_one_spelling_of_a_checkpoint_is_read_even_if_signed(body):
    assert log.read_note(signed(f"{NAME}\n1\n{B64_ROOT}\n"), public(KEY)).size == 1
    with pytest.raises(NoteRefused):
        log.read_note(signed(body), public(KEY))


@pytest.mark.parametrize(
    "note",
    [
        "",
        NOTE[:-1],
        NOTE + "\n",
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("—", "-"),
        NOTE.replace("— ", "—  "),
        NOTE.replace("\n\n", "\n"),
        NOTE + "— x AAAA\n",
        NOTE + "— x AAAAAAB=\n",
        NOTE + "— a+b AAAAAAAA\n",
        NOTE + "— a\u3000b AAAAAAAA\n",
        NOTE + "\x00\n",
        NOTE + "— a\x01b AAAAAAAA\n",
        NOTE + "— x " + "A" * log.NOTE_LENGTH_MAX + "\n",
    ],
)
def test_what_is_no_note_is_refused(note):
    with pytest.raises(NoteRefused):
        log.read_note(note, public(KEY))


@given(st.integers(0, len(NOTE) - 1), st.characters(exclude_categories=["Cs"]))
def test_a_changed_character_is_refused(at, char):
    changed = NOTE[:at] + char + NOTE[at + 1 :]
    if changed != NOTE:
        with pytest.raises(NoteRefused):
            log.read_note(changed, public(KEY))


TILES = log.append(lambda level, index: b"", 0, [log.leaf_hash(b"%d" % n) for n in range(300)])


def a_proof(index: int, size: int, extra: bytes | None = None) -> Proof:
    def tile(level: int, index: int) -> bytes:
        return TILES[level, index]

    note = log.sign(Checkpoint(NAME, size, log.root(tile, size)), KEY)
    return Proof(index, tuple(log.inclusion(tile, index, size)), note, extra)


@pytest.mark.spec("C2SP tlog-proof", "Format")
@given(st.integers(1, 300), st.data())
def test_a_proof_comes_back_and_holds_for_its_entry_alone(size, data):
    index = data.draw(st.integers(0, size - 1))
    proof = a_proof(index, size, data.draw(st.none() | st.binary()))
    assert log.parse_proof(str(proof)) == proof
    assert log.check_proof(str(proof), b"%d" % index, public(KEY)).size == size
    with pytest.raises(NoteRefused, match="does not lead"):
        log.check_proof(str(proof), b"another", public(KEY))
    with pytest.raises(NoteRefused, match="did not sign"):
        log.check_proof(str(proof), b"%d" % index, public(OTHER))


@pytest.mark.spec("C2SP tlog-proof", "Format")
def test_the_text_of_a_proof():
    proof = a_proof(0, 2, b"what opens it")
    lines = str(proof).split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra d2hhdCBvcGVucyBpdA==", "index 0"]
    assert lines[4:6] == ["", NAME]
    assert str(a_proof(0, 1)).startswith(f"c2sp.org/tlog-proof@v1\nindex 0\n\n{NAME}\n1\n")


GOOD = str(a_proof(1, 3))


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.replace("@v1", "@v2"),
        GOOD.replace("index 1", "index 01"),
        GOOD.replace("index 1", "index"),
        GOOD.replace("index 1", "index 1\nindex 1"),
        GOOD.replace("index 1", "extra ???\nindex 1"),
        GOOD.replace("index 1", "extra AA==\nextra AA==\nindex 1"),
        GOOD.replace("index 1\n", ""),
        GOOD.replace("index 1", "index 99999999999999999999"),
        GOOD.replace("index 1", "index 2"),
        GOOD.replace("index 1", "index 3"),
        GOOD.replace("index 1\n", "index 1\n\n"),
        GOOD.replace("index 1\n", "index 1\n" + (B64_ROOT + "\n") * 64),
        GOOD.replace("index 1\n", "index 1\nAAAA\n"),
        GOOD + "x" * log.PROOF_LENGTH_MAX,
    ],
)
def test_what_is_no_proof_is_refused(text):
    log.check_proof(GOOD, b"1", public(KEY))
    with pytest.raises(NoteRefused):
        log.check_proof(text, b"1", public(KEY))


def test_a_proof_is_bounded():
    most = GOOD.replace("index 1\n", "index 1\n" + (B64_ROOT + "\n") * 61)
    assert len(log.parse_proof(most).hashes) == 63
    for text in (most.replace("index 1\n", f"index 1\n{B64_ROOT}\n"), GOOD + "x" * log.PROOF_LENGTH_MAX):
        with pytest.raises(NoteRefused):
            log.parse_proof(text)


@given(st.text() | st.text(alphabet="c2sp.org/tlog-proof@v1\nindex 0extra A=— "))
def test_nothing_but_a_refusal_comes_of_nonsense(text):
    for read in (log.parse_proof, LogKey.parse, lambda t: log.read_note(t, public(KEY))):
        with pytest.raises(NoteRefused):
            read(text)
