"""The sequencer: dense, in order, never twice, never lost; and no signature that denies an earlier one."""

import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import metamorphic_log
import pytest

from api import worker
from compliance import act, facts, log, sequencer
from compliance.act import open_act, open_upkeep
from compliance.log import LogKey
from compliance.vocabulary import PartnerClient, PartnerId, Person, UserId, Worker

pytestmark = pytest.mark.usefixtures("ground")


def a_bank() -> PartnerClient:
    return PartnerClient(PartnerId(uuid4()), "bank-a", frozenset())


async def record(count: int, by: PartnerClient | None = None, person: UserId | None = None) -> None:
    async with open_act(by or a_bank(), None) as opened:
        for n in range(count):
            opened.record("counted", {"n": n}, person=person)


async def log_rows(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    return await owner.fetch("select * from compliance_log order by leaf_index")


async def tree(owner: asyncpg.Connection) -> log.Tile:
    rows = await owner.fetch("select * from compliance_tile")
    tiles = {(r["level"], r["index"]): r["hashes"] for r in rows}
    return lambda level, index: tiles[level, index]


async def assert_sound(owner: asyncpg.Connection) -> None:
    """Dense indexes, every fact once, dense numbers per tenant and person, tiles as the leaves give them."""
    rows = await log_rows(owner)
    assert [r["leaf_index"] for r in rows] == list(range(len(rows)))
    assert {r["fact"] for r in rows} == {r["id"] for r in await owner.fetch("select id from compliance_fact")}
    for whose in ("tenant", "person"):
        for one in {r[whose] for r in rows if r[whose]}:
            numbers = [r[f"{whose}_seq"] for r in rows if r[whose] == one]
            assert numbers == list(range(1, len(numbers) + 1))
    rebuilt = log.append(lambda level, index: b"", 0, [log.leaf_hash(r["leaf"]) for r in rows])
    stored = await owner.fetch("select * from compliance_tile")
    assert {(r["level"], r["index"]): r["hashes"] for r in stored} == rebuilt


async def test_facts_are_placed_in_the_order_of_their_effect(owner):
    bank, user = a_bank(), UserId(uuid4())
    await record(3, bank, user)
    await record(2)
    await record(1, bank, user)
    assert await sequencer.sequence() == 6
    assert await sequencer.sequence() == 0
    rows = await log_rows(owner)
    ordered = await owner.fetch("select id from compliance_fact order by seq")
    assert [r["fact"] for r in rows] == [r["id"] for r in ordered]
    assert [r["tenant_seq"] for r in rows] == [1, 2, 3, 1, 2, 4]
    assert [r["person_seq"] for r in rows] == [1, 2, 3, None, None, 4]
    await assert_sound(owner)


async def test_many_facts_in_small_batches_give_the_same_tree(owner):
    await record(600)
    assert [await sequencer.sequence(250) for _ in range(4)] == [250, 250, 100, 0]
    await assert_sound(owner)


async def test_the_leaf_says_what_the_fact_says_and_no_more(owner, ground):
    bank, user = a_bank(), UserId(uuid4())
    await ground.key_store.make([user])
    await record(2, bank, user)
    await sequencer.sequence()
    fact = (await owner.fetch("select * from compliance_fact order by seq"))[1]
    row = (await log_rows(owner))[1]
    tag = await owner.fetchval("select tag from compliance_tenant_tag where tenant = $1", bank.partner)
    salt = facts.person_salt(await ground.key_store.sealer(user), fact["id"])
    assert json.loads(row["leaf"]) == {
        "v": 1,
        "kind": "counted",
        "at": fact["recorded_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tenant_tag": tag,
        "tenant_seq": 2,
        "commitment": fact["commitment"].hex(),
        "person_seq_commitment": facts.commit_to(b"2", salt).hex(),
    }
    for secret in (user, bank.partner, fact["id"]):
        assert str(secret).encode() not in row["leaf"]
        assert secret.hex.encode() not in row["leaf"]


async def test_a_tenants_tag_is_random_and_changes_with_the_month(owner, monkeypatch):
    bank, other = a_bank(), a_bank()
    days = iter([timedelta(0), timedelta(0), timedelta(days=31), timedelta(0)])
    entered = act._enter

    async def later(db, principal, **how):
        return await entered(db, principal, **how) + next(days)

    monkeypatch.setattr(act, "_enter", later)
    for who in (bank, bank, bank, other):
        await record(1, who)
    await sequencer.sequence()
    tags = [json.loads(r["leaf"])["tenant_tag"] for r in await log_rows(owner)]
    assert tags[0] == tags[1]
    assert len({*tags}) == 3
    assert all(len(tag) == 32 for tag in tags)


def test_the_month_of_a_tag_is_that_of_utc():
    assert sequencer.month_of(datetime.fromisoformat("2026-12-01T07:59:00+08:00")).isoformat() == "2026-11-01"


async def test_a_fact_about_someone_erased_meanwhile_still_gets_its_place(owner, ground):
    users = [UserId(uuid4()), UserId(uuid4())]
    await ground.key_store.make(users)
    for user in users:
        await record(1, person=user)
        await ground.key_store.erase(user)
        await record(1, person=user)
    assert await sequencer.sequence() == 4
    rows = await log_rows(owner)
    assert [r["person_seq"] for r in rows] == [1, 2, 1, 2]
    sealed = {json.loads(r["leaf"])["person_seq_commitment"] for r in rows}
    assert {len(s) for s in sealed} == {64}
    assert len(sealed) == 4  # the same number of another person looks different


async def test_a_fact_that_commits_late_is_not_passed_over(owner):
    inside, leave = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with open_act(a_bank(), None) as opened:
            early = opened.record("early", {})
            await facts.write(opened.db, [early], {})  # its number is drawn, and it is not committed
            inside.set()
            await leave.wait()
            opened.record("closing", {})
            opened.recorded.remove(early)

    running = asyncio.create_task(slow())
    await inside.wait()
    await record(2)
    assert await sequencer.sequence() == 2
    leave.set()
    await running
    assert await sequencer.sequence() == 2
    kinds = await owner.fetch(
        "select kind from compliance_fact f join compliance_log l on l.fact = f.id order by leaf_index"
    )
    assert [r["kind"] for r in kinds] == ["counted", "counted", "early", "closing"]
    assert (await owner.fetchval("select min(seq) from compliance_fact where kind = 'early'")) == 1
    await assert_sound(owner)


async def test_two_sequencers_and_writers_at_once(owner):
    banks, user = [a_bank() for _ in range(3)], UserId(uuid4())

    async def write(bank: PartnerClient) -> None:
        for _ in range(8):
            await record(3, bank, user)

    async def place() -> int:
        return sum([await sequencer.sequence(7) for _ in range(12)])

    _, _, _, one, two = await asyncio.gather(*map(write, banks), place(), place())
    placed = one + two
    while more := await sequencer.sequence():
        placed += more
    assert placed == 72
    await assert_sound(owner)


async def test_a_checkpoint_is_signed_stored_and_kept_outside(owner, ground):
    await record(5)
    await sequencer.sequence()
    head = await sequencer.publish()
    assert (head.origin, head.size) == (ground.origin, 5)
    key = LogKey(ground.origin, ground.keyring.log_public_bytes())
    (row,) = await owner.fetch("select * from compliance_checkpoint")
    assert (row["size"], row["root"]) == (5, head.root)
    assert log.read_note(row["note"], key) == head
    assert (ground.home / sequencer.SEEN).read_text() == row["note"]
    entries = [r["leaf"] for r in await log_rows(owner)]
    path = log.inclusion(await tree(owner), 3, 5)
    metamorphic_log.checkpoint_verify_inclusion(row["note"], [str(key)], 3, log.leaf_hash(entries[3]), path)
    proof = str(log.Proof(3, tuple(path), row["note"]))
    assert log.check_proof(proof, entries[3], key) == head


async def test_each_checkpoint_continues_the_one_before(owner, ground):
    key = str(LogKey(ground.origin, ground.keyring.log_public_bytes()))
    notes = []
    for count in (1, 254, 1, 1, 300):
        await record(count)
        await sequencer.sequence()
        await sequencer.publish()
        notes.append((ground.home / sequencer.SEEN).read_text())
    tile, sizes = await tree(owner), [1, 255, 256, 257, 557]
    for (older, small), (newer, big) in zip(
        zip(notes, sizes, strict=True), zip(notes[1:], sizes[1:], strict=True), strict=False
    ):
        metamorphic_log.checkpoint_verify_consistency(older, newer, [key], log.consistency(tile, small, big))


async def test_publishing_again_changes_nothing(owner):
    await record(2)
    await sequencer.sequence()
    assert await sequencer.publish() == await sequencer.publish()
    assert await owner.fetchval("select count(*) from compliance_checkpoint") == 1


async def test_an_empty_log_has_a_head_too(owner, ground):
    assert await sequencer.publish() == log.Checkpoint(ground.origin, 0, log.EMPTY_ROOT)
    await record(1)
    await sequencer.sequence()
    assert (await sequencer.publish()).size == 1


async def a_published_log() -> None:
    for _ in range(2):
        await record(3)
        await sequencer.sequence()
        await sequencer.publish()


async def restore_backup(owner: asyncpg.Connection, size: int) -> None:
    """Make the database what it was when the log had `size` leaves."""
    await owner.execute("set session_replication_role = replica")
    tile = await tree(owner)
    await owner.execute("delete from compliance_log where leaf_index >= $1", size)
    await owner.execute("delete from compliance_fact where id not in (select fact from compliance_log)")
    await owner.execute("delete from compliance_checkpoint where size > $1", size)
    await owner.execute("update compliance_tile set hashes = $1", tile(0, 0)[: size * 32])
    await owner.execute("set session_replication_role = origin")


async def test_a_restored_backup_is_not_signed(owner, ground):
    await a_published_log()
    seen = (ground.home / sequencer.SEEN).read_text()
    await restore_backup(owner, 3)
    with pytest.raises(sequencer.LogForked, match="a head of 6 facts was signed; the database holds 3"):
        await sequencer.publish()
    # Nor after it has grown past the lost part with other facts.
    await record(9)
    assert await sequencer.sequence() == 9
    with pytest.raises(sequencer.LogForked, match="a head of 6 facts was signed"):
        await sequencer.publish()
    assert await owner.fetchval("select max(size) from compliance_checkpoint") == 3
    assert (ground.home / sequencer.SEEN).read_text() == seen


async def test_without_the_file_the_database_still_remembers(owner, ground):
    await a_published_log()
    (ground.home / sequencer.SEEN).unlink()
    await owner.execute("update compliance_tile set hashes = decode(repeat('00', 192), 'hex')")
    with pytest.raises(sequencer.LogForked):
        await sequencer.publish()


async def test_a_file_that_this_log_did_not_sign_stops_it(ground):
    await a_published_log()
    file = ground.home / sequencer.SEEN
    file.write_text(file.read_text().replace("\n6\n", "\n5\n"))
    with pytest.raises(sequencer.LogForked, match="is not this log's"):
        await sequencer.publish()


async def test_a_damaged_tile_is_not_signed(owner):
    await a_published_log()
    await owner.execute("update compliance_tile set hashes = substr(hashes, 1, 5 * 32)")
    with pytest.raises(log.TileDamaged):
        await sequencer.publish()


DIE = """
import asyncio, os, pickle, signal, sys
from compliance import database, log, sequencer
database_, home, origin, module, name = pickle.loads(bytes.fromhex(sys.argv[1]))

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

setattr({"log": log, "sequencer": sequencer}[module], name, die)

async def main():
    async with database.opened(database_, home, origin):
        while await sequencer.sequence(2):
            pass
        await sequencer.publish()

asyncio.run(main())
"""
AFTER_WRITING = """
keep = sequencer._remember
def remember_and_die(*args):
    keep(*args)
    die()
sequencer._remember = remember_and_die
"""


def die_at(database, ground, module: str, name: str, also: str = "") -> None:
    import pickle  # noqa: PLC0415 - only for the process that is killed

    given = pickle.dumps((database, ground.home, ground.origin, module, name)).hex()
    code = DIE.replace("async def main", f"{also}\nasync def main", 1)
    ended = subprocess.run([sys.executable, "-c", code, given], check=False, timeout=60, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("log", "append"),
        ("sequencer", "_place"),
        ("sequencer", "publish"),
        ("log", "sign"),
        ("sequencer", "_remember"),
        ("sequencer", "after"),
    ],
)
async def test_killed_anywhere_the_next_run_continues(owner, ground, database, module, name):
    await a_published_log()
    first = (ground.home / sequencer.SEEN).read_text()
    await record(5)
    also = AFTER_WRITING if name == "after" else ""
    await asyncio.to_thread(die_at, database, ground, module, name, also)
    left = (ground.home / sequencer.SEEN).read_text()
    await record(1)
    while await sequencer.sequence(2):
        pass
    head = await sequencer.publish()
    assert head.size == 12
    await assert_sound(owner)
    key = str(LogKey(ground.origin, ground.keyring.log_public_bytes()))
    tile, last = await tree(owner), (ground.home / sequencer.SEEN).read_text()
    for note, size in ((first, 6), (left, 11 if name == "after" else 6)):
        metamorphic_log.checkpoint_verify_consistency(note, last, [key], log.consistency(tile, size, 12))


async def test_an_exception_between_the_steps_leaves_nothing(owner, monkeypatch):
    await record(3)

    def fails(*_args):
        raise RuntimeError("stopped here")

    with monkeypatch.context() as broken:
        broken.setattr(
            sequencer, "KEEP_TILES", "select 1 / 0 from unnest($1::int[], $2::bigint[], $3::bytea[])"
        )
        with pytest.raises(Exception, match="division by zero"):
            await sequencer.sequence()
    assert await log_rows(owner) == []
    assert await sequencer.sequence() == 3
    with monkeypatch.context() as broken:
        broken.setattr(sequencer, "_remember", fails)
        with pytest.raises(RuntimeError, match="stopped here"):
            await sequencer.publish()
    assert await owner.fetch("select * from compliance_checkpoint") == []
    assert (await sequencer.publish()).size == 3
    await assert_sound(owner)


async def test_persons_and_partners_see_their_own_places_only(owner):
    bank, user = a_bank(), UserId(uuid4())
    await record(2, bank, user)
    await record(3)
    await sequencer.sequence()
    person = Person(user, uuid4(), datetime.now(UTC), "one_time_link")
    for who in (bank, person):
        async with act.open_view(who) as view:
            rows = await view.db.execute_query_dict("select leaf_index from compliance_log order by 1")
            assert [r["leaf_index"] for r in rows] == [0, 1]
            tile = await sequencer.read_tiles(view.db, log.places(1, 5))
            assert len(log.inclusion(tile, 1, 5)) == 3


async def test_tiles_that_were_not_fetched_are_missing():
    async with open_upkeep(Worker("sequencer")) as upkeep:
        tile = await sequencer.read_tiles(upkeep.db, {(0, 0)})
    with pytest.raises(log.TileDamaged):
        log.root(tile, 1)


async def test_a_head_that_a_killed_sequencer_left_unsigned_is_seen(owner):
    assert await sequencer.is_signed()  # an empty log needs no signature
    await record(3)
    await sequencer.sequence()  # and killed here, before it signed
    assert not await sequencer.is_signed()
    assert await worker.extend_log() is False
    assert await sequencer.is_signed()
    assert await owner.fetchval("select max(size) from compliance_checkpoint") == 3
