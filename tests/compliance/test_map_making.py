"""The daily map on a real database: the same after a crash, told once, proven to each person, and checked again."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from api import auditing, worker
from compliance import completeness, log, map_making, own_count, sequencer, verify
from compliance.act import open_act, open_upkeep, open_view
from compliance.completeness import Incomplete, PersonProof
from compliance.damage import Damage
from compliance.database import Ground
from compliance.log import LogKey, NoteRefused
from compliance.map_making import Stage
from compliance.verify import Report
from compliance.vocabulary import PartnerClient, PartnerId, Person, Purpose, UserId, Worker

BANK = PartnerClient(PartnerId(uuid4()), "bank-a", frozenset())


def log_key(ground: Ground) -> LogKey:
    return LogKey(ground.origin, ground.keyring.log_public_bytes())


async def people(ground: Ground, count: int) -> list[UserId]:
    made = [UserId(uuid4()) for _ in range(count)]
    await ground.key_store.make(made)
    return made


async def record(*users: UserId) -> None:
    async with open_act(BANK, Purpose.CREDIT_ASSESSMENT) as act:
        act.record("counted", {})
        for user in users:
            act.record("counted", {}, person=user)


async def sign() -> None:
    while await sequencer.sequence():
        pass
    await sequencer.publish()


async def ready(days: int = 0) -> bool:
    """Make the map of a day from now; whether there is one to be told."""
    stage = Stage.MORE
    while stage is Stage.MORE:
        async with open_upkeep(map_making.WORKER) as upkeep:
            stage = await map_making.advance(replace(upkeep, now=upkeep.now + timedelta(days=days)))
    return stage is Stage.PUBLISH


async def map_made(days: int = 0) -> None:
    assert await ready(days)
    async with open_act(map_making.WORKER, None) as act:
        await map_making.publish(act)
    await sign()


async def look(user: UserId) -> own_count.OwnCount:
    async with open_view(Person(user, uuid4(), None, "one_time_link")) as view:
        return await own_count.of(view, user)


async def proof_of(user: UserId) -> PersonProof:
    async with open_view(Person(user, uuid4(), None, "one_time_link")) as view:
        return await own_count.proof(view, user)


async def verified(ground: Ground, against: str | None = None) -> Report:
    async with open_upkeep(Worker("verifier")) as upkeep:
        return await verify.verify(upkeep.db, known_key=log_key(ground), against=against)


async def stored(owner: asyncpg.Connection) -> list[tuple[bytes, bytes]]:
    rows = await owner.fetch("select index, value from compliance_person_map_entry order by index")
    return [(r["index"], r["value"]) for r in rows]


async def told(owner: asyncpg.Connection, ground: Ground) -> list[dict[str, object]]:
    rows = await owner.fetch("select * from compliance_fact where kind = 'person_map_published' order by seq")
    return [json.loads(sequencer.unseal(row, {}).payload)["what"] for row in rows]


async def test_each_person_is_shown_their_own_number(ground, owner):
    ann, bob, newcomer = await people(ground, 3)
    await record(ann, bob, ann)
    await record(ann)
    await sign()
    await map_made()
    await record(ann, newcomer)
    assert [(c.state, c.counted, c.since) for c in [await look(u) for u in (ann, bob, newcomer)]] == [
        ("verified", 3, 1),
        ("verified", 1, 0),
        ("verified", 0, 1),
    ]
    [what] = await told(owner, ground)
    assert (what["entries"], what["size"]) == (256, 6)
    assert len(await stored(owner)) == 256
    report = await verified(ground)
    assert (report.whole, report.maps) == (True, 1)


async def test_before_the_first_map_nothing_is_claimed(ground, owner):
    [ann] = await people(ground, 1)
    assert await worker.map_people() is False
    assert (await look(ann)).state == "none"
    await record(ann)
    await sign()
    while await worker.map_people():
        pass
    # Told, and not yet under a signed checkpoint.
    assert (await look(ann)) == own_count.OwnCount("none", 1)
    with pytest.raises(own_count.LogProofUnavailable):
        await proof_of(ann)
    await sign()
    assert (await look(ann)).state == "verified"


async def test_there_is_one_map_a_day(ground, owner):
    [ann] = await people(ground, 1)
    await record(ann)
    await sign()
    await map_made()
    await record(ann)
    await sign()
    assert await worker.map_people() is False
    await map_made(days=1)
    assert [what["size"] for what in await told(owner, ground)] == [2, 5]
    assert (await look(ann)).counted == 2


async def test_old_maps_are_forgotten_and_their_facts_stay(ground, owner):
    [ann] = await people(ground, 1)
    await record(ann)
    await sign()
    for days in range(6):
        await map_made(days)
    assert await owner.fetchval("select count(*) from compliance_person_map") == map_making.DAYS_KEPT
    assert len(await stored(owner)) == 256 * map_making.DAYS_KEPT
    assert len(await told(owner, ground)) == 6


async def test_a_crash_at_any_piece_changes_nothing(ground, owner, monkeypatch):
    monkeypatch.setattr(map_making, "BATCH", 7)
    users = await people(ground, 300)
    await record(*users)
    await sign()
    pieces = 0

    async def crashing() -> Stage:
        with pytest.raises(ZeroDivisionError):
            async with open_upkeep(map_making.WORKER) as upkeep:
                await map_making.advance(upkeep)
                raise ZeroDivisionError
        async with open_upkeep(map_making.WORKER) as upkeep:
            return await map_making.advance(upkeep)

    while await crashing() is Stage.MORE:
        pieces += 1
    assert pieces > 300 / 7
    first = await stored(owner)
    with pytest.raises(ZeroDivisionError):
        async with open_act(map_making.WORKER, None) as act:
            await map_making.publish(act)
            raise ZeroDivisionError
    assert await told(owner, ground) == []
    await map_made()
    [before] = await told(owner, ground)
    await owner.execute("set session_replication_role = replica")
    await owner.execute("delete from compliance_person_map_entry")
    await owner.execute("delete from compliance_person_map")
    await owner.execute("delete from compliance_checkpoint where size > $1", before["size"])
    monkeypatch.setattr(map_making, "BATCH", 1000)
    while await worker.map_people():
        pass
    assert len(first) == 512
    assert await stored(owner) == first
    assert (await told(owner, ground))[1] == before


async def test_two_workers_make_one_map(ground, owner, monkeypatch):
    monkeypatch.setattr(map_making, "BATCH", 20)
    users = await people(ground, 90)
    await record(*users)
    await sign()

    async def work() -> None:
        more = True
        while more:
            try:
                more = await worker.map_people()
            except RuntimeError:  # the other one told it first: this act has nothing to record
                continue

    await asyncio.gather(work(), work())
    await sign()
    assert len(await told(owner, ground)) == 1
    assert (await verified(ground)).whole
    assert (await look(users[50])).counted == 1


async def test_many_people_stand_in_many_buckets(ground, owner):
    users = await people(ground, 700)
    await record(*users)
    await record(*users[:100])
    await sign()
    await map_made()
    assert len(await stored(owner)) == 1024
    for user, count in ((users[0], 2), (users[99], 2), (users[100], 1), (users[699], 1)):
        proof = await proof_of(user)
        assert completeness.check_all(proof, log_key(ground)).count == count
        assert len(proof.counted.path) > 6
    assert (await verified(ground)).whole


async def test_whoever_was_deleted_has_an_entry_that_nobody_can_find(ground, owner):
    ann, bob, gone = await people(ground, 3)
    await record(ann, bob, gone)
    await sign()
    await ground.key_store.erase(gone)
    await map_made()
    assert (await verified(ground)).whole
    await ground.key_store.erase(bob)
    report = await verified(ground)
    assert (report.whole, report.maps) == (True, 1)


# The proof file


@pytest.fixture
async def ann(ground: Ground, owner: asyncpg.Connection) -> UserId:
    """Somebody with five entries among other people's, mapped; the bank's last fact is about them."""
    ann, bob = await people(ground, 2)
    for _ in range(5):
        await record(bob, ann)
    await sign()
    await map_made()
    return ann


async def test_the_file_is_checked_without_us(ground, ann, tmp_path, capsys):
    proof = await proof_of(ann)
    file, key = tmp_path / "proof.json", tmp_path / "key.txt"
    file.write_bytes(completeness.write(proof))
    key.write_text(f"{log_key(ground)}\n")
    assert completeness.read(file.read_bytes()) == proof
    assert auditing.verify_person([file], key) == 0
    assert "5 counted, all here" in capsys.readouterr().out
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    key.write_text(str(LogKey(ground.origin, public)))
    assert auditing.verify_person([file], key) == 1
    assert "NOT PROVEN" in capsys.readouterr().out


async def test_what_is_left_out_or_changed_is_refused(ground, ann):
    proof, key = await proof_of(ann), log_key(ground)
    entries, counted = proof.entries, proof.counted
    wrong = {
        "the last one left out": replace(proof, entries=entries[:-1]),
        "one in the middle left out": replace(proof, entries=entries[:2] + entries[3:]),
        "two swapped": replace(proof, entries=(entries[1], entries[0], *entries[2:])),
        "one twice": replace(proof, entries=(entries[0], *entries[:-1])),
        "count lowered": replace(proof, counted=replace(counted, count=4), entries=entries[:4]),
        "count lowered and its head": replace(
            proof,
            counted=replace(counted, count=4, head=log.leaf_hash(entries[3].place.leaf)),
            entries=entries[:4],
        ),
        "nothing claimed": replace(proof, counted=replace(counted, count=0, head=None), entries=()),
        "no head": replace(proof, counted=replace(counted, head=None)),
        "another key": replace(proof, counted=replace(counted, key=bytes(32))),
        "a salt": replace(proof, entries=(*entries[:4], replace(entries[4], salt=bytes(32)))),
        "the map's fact": replace(
            proof, counted=replace(counted, map=replace(counted.map, payload=counted.map.payload + b" "))
        ),
        "another fact for the map's": replace(
            proof, counted=replace(counted, map=replace(counted.map, place=entries[4].place))
        ),
    }
    for name, changed in wrong.items():
        with pytest.raises(NoteRefused):
            completeness.check_all(changed, key)
            pytest.fail(name)


async def test_no_changed_byte_of_the_file_passes(ground, ann):
    proof, key = await proof_of(ann), log_key(ground)
    file = completeness.write(proof)
    names = [entry.fact.encode() for entry in proof.entries]

    @given(st.integers(0, len(file) - 1), st.integers(1, 255))
    @settings(max_examples=300, deadline=None, database=None)
    def changed(at: int, by: int) -> None:
        other = bytearray(file)
        other[at] ^= by
        try:
            read = completeness.read(bytes(other))
        except Incomplete:
            return
        # The names of the facts say where to look; they are not part of the proof. Nor is space between values.
        same = replace(read, entries=tuple(replace(e, fact="") for e in read.entries)) == replace(
            proof, entries=tuple(replace(e, fact="") for e in proof.entries)
        )
        if not same:
            with pytest.raises(NoteRefused):
                completeness.check_all(read, key)

    changed()
    assert all(name in file for name in names)


async def test_two_days_of_one_person_must_fit(ground, owner, ann):
    earlier = await proof_of(ann)
    await record(ann)
    await sign()
    await map_made(days=1)
    later = await proof_of(ann)
    assert completeness.check_all(later, log_key(ground)).count == 6
    completeness.check_growth(earlier, later)
    with pytest.raises(Incomplete):
        completeness.check_growth(later, earlier)
    [bob] = await people(ground, 1)
    with pytest.raises(Incomplete):
        completeness.check_growth(await proof_of(bob), later)
    swapped = replace(later, entries=(later.entries[1], *later.entries[1:]))
    with pytest.raises(Incomplete):
        completeness.check_growth(earlier, swapped)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda v: (
            st.lists(v, max_size=3)
            | st.dictionaries(
                st.sampled_from(["format", "counted", "entries", "key", "map", "count"]), v, max_size=4
            )
        ),
    )
)
@settings(max_examples=100, deadline=None)
def test_any_json_is_refused_without_an_error(value):
    with pytest.raises(Incomplete):
        completeness.read(
            msgspec.json.encode(value) if not isinstance(value, int) or abs(value) < 2**63 else b"1"
        )


# What the auditor finds


async def last_leaf(owner: asyncpg.Connection, user: UserId) -> int:
    return await owner.fetchval("select max(leaf_index) from compliance_log where person = $1", user)


async def cut(owner: asyncpg.Connection, user: UserId) -> None:
    """Take the person's last fact out, renumber everything behind it and make the tiles agree."""
    index = await last_leaf(owner, user)
    await owner.execute("set session_replication_role = replica")
    fact = await owner.fetchval("delete from compliance_log where leaf_index = $1 returning fact", index)
    await owner.execute("delete from compliance_fact where id = $1", fact)
    await owner.execute(
        "update compliance_log set leaf_index = leaf_index + 1000000 where leaf_index > $1", index
    )
    await owner.execute(
        "update compliance_log set leaf_index = leaf_index - 1000001 where leaf_index > 1000000"
    )
    await recompute_tiles(owner)


async def recompute_tiles(owner: asyncpg.Connection) -> None:
    rows = await owner.fetch("select leaf from compliance_log order by leaf_index")
    tiles = log.append(lambda level, index: b"", 0, [log.leaf_hash(r["leaf"]) for r in rows])
    await owner.execute("truncate compliance_tile")
    values = [(*place, hashes) for place, hashes in tiles.items()]
    await owner.executemany("insert into compliance_tile values ($1, $2, $3)", values)


def named(report: Report, damage: Damage) -> list[str]:
    return [f.detail for f in report.findings if f.damage is damage]


async def index_of(ground: Ground, user: UserId) -> str:
    return completeness.people_map.index_of(
        (await proof_of(user)).counted.key, (await look(user)).until.date()
    ).hex()


async def test_only_who_was_cut_is_named_though_all_behind_moved_up(ground, owner):
    ann, bob, eve = await people(ground, 3)
    await record(ann, bob, eve)
    await record(ann, bob)
    await sign()
    await map_made()
    index = await index_of(ground, bob)
    await record(eve)
    await sign()
    await cut(owner, bob)
    report = await verified(ground)
    assert [index in detail for detail in named(report, Damage.PERSON_INCOMPLETE)] == [True]


async def test_a_cut_tail_is_found_and_the_person_named_by_index(ground, owner, ann):
    index = await index_of(ground, ann)
    await cut(owner, ann)
    report = await verified(ground)
    assert [index in detail for detail in named(report, Damage.PERSON_INCOMPLETE)] == [True]
    assert (await look(ann)).state == "failed"
    with pytest.raises(own_count.LogProofUnavailable):
        await proof_of(ann)


async def test_a_person_cut_out_whole_is_found(ground, owner, ann):
    for _ in range(5):
        await cut(owner, ann)
    for erased in (False, True):
        if erased:
            await ground.key_store.erase(ann)
        assert named(await verified(ground), Damage.PERSON_INCOMPLETE)[0].endswith(
            "knows nothing of 1 people who have entries in the map"
        )


async def test_an_older_deletion_hides_nobody(ground, owner):
    gone, bob = await people(ground, 2)
    await record(gone)
    await record(bob)
    await sign()
    await ground.key_store.erase(gone)
    await map_made()
    await cut(owner, bob)
    assert len(named(await verified(ground), Damage.PERSON_INCOMPLETE)) == 1


async def test_a_list_that_lacks_what_the_log_holds_is_said_to_fail(owner, ann):
    await owner.execute("set session_replication_role = replica")
    await owner.execute(
        "delete from compliance_fact where seq = (select min(seq) from compliance_fact where person = $1)",
        ann,
    )
    assert (await look(ann)) == own_count.OwnCount("failed", 4, 4, (await look(ann)).until)


async def test_an_entry_left_out_of_the_map_is_found(ground, owner, ann):
    """The operator itself leaves a person out, or counts too little, and tells the log that root."""
    await ready(days=1)
    day = await owner.fetchval("select max(day) from compliance_person_map")
    key = (await proof_of(ann)).counted.key
    place = completeness.people_map.index_of(key, day)
    less = completeness.people_map.value_of(
        key, day, 4, log.leaf_hash((await proof_of(ann)).entries[3].place.leaf)
    )
    await owner.execute("update compliance_person_map_entry set value = $1 where index = $2", less, place)
    await owner.execute("update compliance_person_map set tops = null where day = $1", day)
    await map_made(days=1)
    report = await verified(ground)
    assert [place.hex() in detail for detail in named(report, Damage.PERSON_INCOMPLETE)] == [True]
    assert {f.damage for f in report.findings} == {Damage.PERSON_INCOMPLETE}
    assert (await look(ann)).state == "failed"


@pytest.mark.parametrize(
    "tamper",
    [
        "update compliance_person_map_entry set value = sha256('x') where ctid = (select min(ctid) from compliance_person_map_entry)",
        "delete from compliance_person_map_entry where ctid = (select min(ctid) from compliance_person_map_entry)",
        "update compliance_person_map set tops = sha256('x')",
        "update compliance_person_map set size = size - 1",
        "update compliance_person_map set salt = sha256('x')",
        "delete from compliance_person_map",
    ],
)
async def test_a_changed_map_is_found(ground, owner, ann, tamper):
    await owner.execute("set session_replication_role = replica")
    await owner.execute(tamper)
    assert len(named(await verified(ground), Damage.MAP_CHANGED)) == 1


async def test_a_map_made_anew_after_a_cut_does_not_fit_what_was_kept_outside(ground, owner, ann):
    """Every key at hand: facts cut, the map made again, its fact, leaf and tiles rewritten, a head signed anew."""
    outside = (ground.home / sequencer.SEEN).read_text()
    earlier = await proof_of(ann)
    await cut(owner, ann)
    for table in ("compliance_person_map_entry", "compliance_person_map", "compliance_checkpoint"):
        await owner.execute(f"delete from {table}")
    await owner.execute(
        "delete from compliance_log where leaf_index = (select max(leaf_index) from compliance_log)"
    )
    await owner.execute("delete from compliance_fact where kind = 'person_map_published'")
    await recompute_tiles(owner)
    (ground.home / sequencer.SEEN).unlink()
    await sequencer.publish()
    await map_made()
    assert (await verified(ground)).whole
    assert (await look(ann)).state == "verified"
    found = {f.damage for f in (await verified(ground, outside)).findings}
    assert Damage.FORKED in found or Damage.LEAF_MISSING in found
    with pytest.raises(Incomplete):
        completeness.check_growth(earlier, await proof_of(ann))
