"""Whoever tampers, as the database's own superuser, is found, and what was touched is named by its index."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from uuid import uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compliance import facts, log, sequencer, verify
from compliance.act import open_act, open_upkeep
from compliance.database import Ground
from compliance.log import Checkpoint, LogKey, NoteRefused
from compliance.verify import Damage, Report
from compliance.vocabulary import GrantId, PartnerClient, PartnerId, Purpose, UserId, Worker

BANK = PartnerClient(PartnerId(uuid4()), "bank-a", frozenset())
OTHER = PartnerClient(PartnerId(uuid4()), "bank-b", frozenset())
SIZES = (200, 260, 300)


@dataclass(frozen=True)
class Logged:
    """A log of 300 facts, signed at 200, 260 and 300; odd ones concern one person, every third ten is bank B's."""

    owner: asyncpg.Connection
    ground: Ground
    user: UserId

    @property
    def key(self) -> LogKey:
        return LogKey(self.ground.origin, self.ground.keyring.log_public_bytes())

    @property
    def seen(self) -> str:
        return (self.ground.home / sequencer.SEEN).read_text()

    async def verified(self, against: str | None = None, **options: object) -> Report:
        async with open_upkeep(Worker("verifier")) as upkeep:
            return await verify.verify(upkeep.db, known_key=self.key, against=against, **options)

    async def fact_at(self, index: int) -> asyncpg.Record:
        return await self.owner.fetchrow(
            "select f.* from compliance_fact f join compliance_log l on l.fact = f.id where leaf_index = $1",
            index,
        )

    async def change_fact(self, index: int, assignment: str, *values: object) -> None:
        await self.owner.execute(
            f"update compliance_fact set {assignment} where id = (select fact from compliance_log where leaf_index = $1)",
            index,
            *values,
        )

    async def recompute_tiles(self) -> None:
        """What a thorough forger does: make the tiles agree with the leaves."""
        rows = await self.owner.fetch("select leaf from compliance_log order by leaf_index")
        tiles = log.append(lambda level, index: b"", 0, [log.leaf_hash(r["leaf"]) for r in rows])
        await self.owner.execute("truncate compliance_tile")
        values = [(*place, hashes) for place, hashes in tiles.items()]
        await self.owner.executemany("insert into compliance_tile values ($1, $2, $3)", values)

    async def forge_fact(self, index: int) -> None:
        """Rewrite one fact with every key at hand: seal, commitment and leaf agree again."""
        row = await self.fact_at(index)
        sealer = await self.ground.key_store.sealer(row["person"])
        payload, salt = facts.open_sealed(row["sealed"], row["id"], sealer)
        payload = payload.replace(b'"n":', b'"n":9')
        commitment = facts.commit_to(payload, salt)
        leaf = await self.owner.fetchval("select leaf from compliance_log where leaf_index = $1", index)
        leaf = leaf.replace(row["commitment"].hex().encode(), commitment.hex().encode())
        sealed = sealer.seal(salt + payload, row["id"].bytes)
        await self.change_fact(index, "commitment = $2, sealed = $3", commitment, sealed)
        await self.owner.execute("update compliance_log set leaf = $2 where leaf_index = $1", index, leaf)


async def record(first: int, count: int, user: UserId) -> None:
    for ten in range(first, first + count, 10):
        async with open_act(BANK if ten % 30 else OTHER, Purpose.CREDIT_ASSESSMENT) as act:
            for n in range(ten, min(ten + 10, first + count)):
                person, grant = (user, GrantId(uuid4())) if n % 2 else (None, None)
                act.record("counted", {"n": n}, person=person, grant=grant)


async def grow(first: int, count: int, user: UserId) -> None:
    await record(first, count, user)
    while await sequencer.sequence():
        pass
    await sequencer.publish()


@pytest.fixture
async def logged(ground: Ground, owner: asyncpg.Connection) -> Logged:
    user = UserId(uuid4())
    await ground.key_store.make([user])
    for first, size in zip((0, *SIZES), SIZES, strict=False):
        await grow(first, size - first, user)
    # From here on nothing in the database protects it: no triggers, no foreign keys, no policies.
    await owner.execute("set session_replication_role = replica")
    return Logged(owner, ground, user)


async def test_an_untouched_log_is_whole(logged):
    seen: list[tuple[int, int]] = []
    report = await logged.verified(logged.seen, progress=lambda done, size: seen.append((done, size)))
    head = log.read_note(logged.seen, logged.key)
    assert report == Report(300, head.root, 0, 0, 3, (), 0)
    assert report.whole
    assert seen == [(300, 300)]


async def test_an_empty_log_is_whole(ground, owner):
    empty = Logged(owner, ground, UserId(uuid4()))
    assert await empty.verified() == Report(0, log.EMPTY_ROOT, 0, 0, 0, (), 0)
    await sequencer.publish()
    assert (await empty.verified(empty.seen)).checkpoints == 1


async def test_small_batches_find_the_same(logged, monkeypatch):
    monkeypatch.setattr(verify, "BATCH", 256)
    assert (await logged.verified(logged.seen)).whole
    await logged.change_fact(280, "kind = 'other'")
    await logged.change_fact(7, "kind = 'other'")
    assert [f.index for f in (await logged.verified()).findings] == [7, 280]


async def test_facts_without_a_place_are_pending(logged):
    await record(300, 4, logged.user)
    report = await logged.verified(logged.seen)
    assert (report.whole, report.size, report.pending) == (True, 300, 4)


async def test_erased_facts_are_counted_and_their_leaves_are_checked(logged):
    await logged.ground.key_store.erase(logged.user)
    report = await logged.verified(logged.seen)
    assert (report.whole, report.erased) == (True, 150)
    await logged.change_fact(21, "kind = 'other'")
    await logged.change_fact(23, "commitment = sha256('x')")
    await logged.owner.execute("update compliance_log set leaf = 'x' where leaf_index = 25")
    found = (await logged.verified()).findings
    assert [(f.damage, f.index) for f in found] == [(Damage.LEAF_CHANGED, n) for n in (21, 23, 25)]


async def test_facts_of_someone_without_a_key_are_not_erased(ground, owner):
    keyless = Logged(owner, ground, UserId(uuid4()))
    await grow(0, 4, keyless.user)
    report = await keyless.verified(keyless.seen)
    assert (report.whole, report.erased) == (True, 0)


async def test_a_log_that_grows_meanwhile_is_checked_as_it_was(logged):
    async with open_upkeep(Worker("verifier")) as upkeep:
        walk = await verify._start(upkeep.db, logged.key, None)
        # In a context of its own: it must not join this transaction.
        await asyncio.create_task(grow(300, 300, logged.user), context=Context())
        assert await walk.step(0, 300)
        report = await walk.end()
    assert (report.whole, report.size) == (True, 300)
    assert (await logged.verified(logged.seen)).size == 600


Tamper = Callable[[Logged], Awaitable[object]]


def fact(assignment: str, index: int) -> Tamper:
    return lambda log_: log_.change_fact(index, assignment)


def sql(*statements: str) -> Tamper:
    async def tamper(log_: Logged) -> None:
        for statement in statements:
            await log_.owner.execute(statement)

    return tamper


def byte(column: str, at: int) -> str:
    return f"{column} = set_byte({column}, {at}, get_byte({column}, {at}) # 1)"


EDITED = {
    **{
        f"{column} of a fact": (fact(assignment, 257), Damage.FACT_CHANGED, 257)
        for column, assignment in {
            "kind": "kind = 'other'",
            "time": "recorded_at = recorded_at + interval '1 microsecond'",
            "partner": "partner = gen_random_uuid()",
            "person": "person = gen_random_uuid()",
            "no person": "person = null",
            "grant": "grant_id = gen_random_uuid()",
            "no grant": "grant_id = null",
            "principal": "principal = 'client:bank-z'",
            "purpose": "purpose = 'prescreen'",
            "no purpose": "purpose = null",
            "commitment": byte("commitment", 5),
            "sealed": byte("sealed", 40),
            "empty sealed": "sealed = ''",
        }.items()
    },
    "person added to a fact": (fact("person = gen_random_uuid()", 256), Damage.FACT_CHANGED, 256),
    "leaf": (
        sql(f"update compliance_log set {byte('leaf', 9)} where leaf_index = 31"),
        Damage.LEAF_CHANGED,
        31,
    ),
    "tenant_seq": (
        sql("update compliance_log set tenant_seq = 5000 where leaf_index = 31"),
        Damage.LEAF_CHANGED,
        31,
    ),
    "person_seq": (
        sql("update compliance_log set person_seq = 5000 where leaf_index = 31"),
        Damage.LEAF_CHANGED,
        31,
    ),
    "tenant in the log": (
        sql("update compliance_log set tenant = gen_random_uuid() where leaf_index = 31"),
        Damage.FACT_CHANGED,
        31,
    ),
    "person in the log": (
        sql("update compliance_log set person = gen_random_uuid() where leaf_index = 31"),
        Damage.FACT_CHANGED,
        31,
    ),
    "tag": (
        sql(f"update compliance_tenant_tag set tag = 'x' where tenant = '{OTHER.partner}'"),
        Damage.LEAF_CHANGED,
        0,
    ),
}
SWAP = """
with pair as (select a.leaf_index as here, b.{column} as other from compliance_log a, compliance_log b
              where (a.leaf_index, b.leaf_index) in ((100, 107), (107, 100)))
update compliance_log set {column} = other from pair where leaf_index = here
"""
FREE = "alter table compliance_log drop constraint compliance_log_leaf_index_check"
RENUMBER = "update compliance_log set leaf_index = -leaf_index - 1 where leaf_index {which}"
RENUMBERED = "update compliance_log set leaf_index = -leaf_index - 1 {by} where leaf_index < 0"
REMOVED = {
    "fact": (
        sql("delete from compliance_fact where id = (select fact from compliance_log where leaf_index = 77)"),
        Damage.FACT_MISSING,
        77,
    ),
    "leaf": (sql("delete from compliance_log where leaf_index = 77"), Damage.LEAF_MISSING, 77),
    "tail": (sql("delete from compliance_log where leaf_index >= 290"), Damage.LEAF_MISSING, 290),
    "tail with its heads": (
        sql(
            "delete from compliance_log where leaf_index >= 290",
            "delete from compliance_checkpoint where size = 300",
        ),
        Damage.TILE_CHANGED,
        290,
    ),
    "everything": (sql("delete from compliance_log"), Damage.LEAF_MISSING, 0),
    "leaf, and the rest moved up": (
        sql(
            "delete from compliance_log where leaf_index = 77",
            FREE,
            RENUMBER.format(which="> 77"),
            RENUMBERED.format(by="- 1"),
        ),
        Damage.TILE_CHANGED,
        77,
    ),
}
INSERT_FACT = """
insert into compliance_fact (id, recorded_at, kind, partner, principal, commitment, sealed)
values ('00000000-0000-0000-0000-0000000000ff', now(), 'forged', gen_random_uuid(), 'client:x', sha256('x'), 'x')
"""
INSERT_LEAF = """
insert into compliance_log (leaf_index, fact, leaf, tenant, tenant_seq)
select {index}, id, '{{}}', partner, 1 from compliance_fact where kind = 'forged'
"""
INSERTED = {
    "at the end": (sql(INSERT_FACT, INSERT_LEAF.format(index=300)), Damage.FACT_CHANGED, 300),
    "in the middle": (
        sql(
            FREE,
            RENUMBER.format(which=">= 50"),
            RENUMBERED.format(by="+ 1"),
            INSERT_FACT,
            INSERT_LEAF.format(index=50),
        ),
        Damage.FACT_CHANGED,
        50,
    ),
    "far away": (sql(INSERT_FACT, INSERT_LEAF.format(index=1 << 45)), Damage.LEAF_MISSING, 300),
    "twice in one place": (
        sql(
            "alter table compliance_log drop constraint compliance_log_pkey",
            INSERT_FACT,
            INSERT_LEAF.format(index=3),
        ),
        Damage.ORDER_BROKEN,
        0,
    ),
}
REORDERED = {
    "facts exchanged": (
        sql("alter table compliance_log drop constraint compliance_log_fact_key", SWAP.format(column="fact")),
        Damage.FACT_CHANGED,
        100,
    ),
    "places exchanged": (
        sql(
            FREE,
            "update compliance_log set leaf_index = -1 where leaf_index = 100",
            "update compliance_log set leaf_index = 100 where leaf_index = 106",
            "update compliance_log set leaf_index = 106 where leaf_index = -1",
        ),
        Damage.TILE_CHANGED,
        100,
    ),
    "leaves exchanged": (sql(SWAP.format(column="leaf")), Damage.LEAF_CHANGED, 100),
}
TILES = {
    "full": (sql(f"update compliance_tile set {byte('hashes', 32 * 9)} where (level, index) = (0, 0)"), 9),
    "partial": (
        sql(f"update compliance_tile set {byte('hashes', 32 * 9)} where (level, index) = (0, 1)"),
        265,
    ),
    "upper": (sql(f"update compliance_tile set {byte('hashes', 3)} where level = 1"), 0),
    "cut": (sql("update compliance_tile set hashes = substr(hashes, 1, 32 * 7) where index = 1"), 263),
    "longer": (sql("update compliance_tile set hashes = hashes || sha256('x') where index = 1"), 300),
    "gone": (sql("delete from compliance_tile where (level, index) = (0, 0)"), 0),
    "edge gone": (sql("delete from compliance_tile where (level, index) = (0, 1)"), 256),
    "beyond the edge": (sql("insert into compliance_tile values (0, 2, sha256('x'))"), 300),
    "of a level too many": (sql("insert into compliance_tile values (2, 0, sha256('x'))"), 300),
    "of no level": (sql("insert into compliance_tile values (2147483647, 0, sha256('x'))"), 300),
    "of no index": (sql("insert into compliance_tile values (0, -1, sha256('x'))"), 300),
}
CHECKPOINTS = {
    "root": (sql(f"update compliance_checkpoint set {byte('root', 1)} where size = 260"), 260),
    "note": (
        sql("update compliance_checkpoint set note = replace(note, '260', '261') where size = 260"),
        260,
    ),
    "no note": (sql("update compliance_checkpoint set note = '' where size = 260"), 260),
    "note of another size": (
        sql(
            "update compliance_checkpoint set note = (select note from compliance_checkpoint where size = 200) where size = 260"
        ),
        260,
    ),
    "size": (sql("update compliance_checkpoint set size = 261 where size = 260"), 261),
    "inserted": (
        sql(
            "insert into compliance_checkpoint select 201, root, note, signed_at from compliance_checkpoint where size = 200"
        ),
        201,
    ),
}


def cases(table: dict[str, tuple[Tamper, Damage, int]], verb: str) -> list[object]:
    return [pytest.param(*case, id=f"{verb}: {name}") for name, case in table.items()]


@pytest.mark.parametrize(
    ("tamper", "damage", "index"),
    [
        *cases(EDITED, "edited"),
        *cases(REMOVED, "removed"),
        *cases(INSERTED, "inserted"),
        *cases(REORDERED, "reordered"),
        *cases(
            {name: (t, Damage.CHECKPOINT_CHANGED, i) for name, (t, i) in CHECKPOINTS.items()}, "checkpoint"
        ),
    ],
)
async def test_every_damage_is_named_by_its_index(logged, tamper, damage, index):
    await tamper(logged)
    report = await logged.verified()
    assert not report.whole
    assert (report.findings[0].damage, report.findings[0].index) == (damage, index), report.findings[:4]


@pytest.mark.parametrize(("tamper", "index"), TILES.values(), ids=TILES)
async def test_a_changed_tile_accuses_nothing_else(logged, tamper, index):
    await tamper(logged)
    report = await logged.verified(logged.seen)
    assert [(f.damage, f.index) for f in report.findings] == [(Damage.TILE_CHANGED, index)]


@pytest.mark.parametrize("index", [0, 31, 255, 256, 299])
async def test_one_edited_fact_accuses_nothing_else(logged, index):
    await logged.change_fact(index, "principal = 'client:bank-z'")
    report = await logged.verified(logged.seen)
    assert [(f.damage, f.index) for f in report.findings] == [(Damage.FACT_CHANGED, index)]


@pytest.mark.parametrize("whose", ["tenant", "person"])
async def test_a_number_left_out_is_named_even_if_everything_else_agrees(logged, whose):
    """As if the sequencer itself had dropped a fact: leaves, tiles and commitments are right, one number is missing."""
    await logged.owner.execute("delete from compliance_checkpoint")
    row = await logged.owner.fetchrow("select * from compliance_log where leaf_index = 299")
    old, new = row[f"{whose}_seq"], row[f"{whose}_seq"] + 1
    fact_row = await logged.fact_at(299)
    sealer = await logged.ground.key_store.sealer(logged.user)
    salt = facts.person_salt(sealer, fact_row["id"])
    leaf = row["leaf"].replace(b'"tenant_seq":%d' % old, b'"tenant_seq":%d' % new)
    if whose == "person":
        before, after = (sequencer.seal_person_seq(n, salt).hex().encode() for n in (old, new))
        leaf = row["leaf"].replace(before, after)
    await logged.owner.execute(
        f"update compliance_log set {whose}_seq = $1, leaf = $2 where leaf_index = 299", new, leaf
    )
    await logged.recompute_tiles()
    found = (await logged.verified()).findings
    assert [(f.damage, f.index) for f in found] == [(Damage.ORDER_BROKEN, 299)]


async def test_a_fact_forged_with_its_keys_does_not_fit_its_tile(logged):
    await logged.forge_fact(31)
    found = (await logged.verified()).findings
    assert (found[0].damage, found[0].index) == (Damage.TILE_CHANGED, 31)


async def test_recomputed_tiles_do_not_fit_what_was_signed(logged):
    await logged.forge_fact(210)
    await logged.recompute_tiles()
    report = await logged.verified()
    assert [(f.damage, f.index) for f in report.findings] == [
        (Damage.CHECKPOINT_CHANGED, 260),
        (Damage.CHECKPOINT_CHANGED, 300),
    ]


async def test_a_history_that_was_rewritten_and_signed_again_is_caught_from_outside(logged):
    """The strongest insider: every key, the whole database. Only what was kept elsewhere tells."""
    saved = logged.seen
    await logged.forge_fact(210)
    await logged.recompute_tiles()
    async with open_upkeep(Worker("verifier")) as upkeep:
        tile = await sequencer.read_tiles(upkeep.db, {(0, 0), (0, 1), (1, 0)})
    for size in SIZES:
        head = Checkpoint(logged.ground.origin, size, log.root(tile, size))
        note = log.sign(head, logged.ground.keyring.log)
        await logged.owner.execute(
            "update compliance_checkpoint set root = $2, note = $3 where size = $1", size, head.root, note
        )
    assert (await logged.verified()).whole
    report = await logged.verified(saved)
    assert [(f.damage, f.index) for f in report.findings] == [(Damage.FORKED, 300)]


async def test_a_log_shorter_than_what_was_kept_outside(logged):
    saved = logged.seen
    async with open_upkeep(Worker("verifier")) as upkeep:
        tile = await sequencer.read_tiles(upkeep.db, {(0, 1)})
    await logged.owner.execute("delete from compliance_log where leaf_index >= 260")
    await logged.owner.execute(
        "delete from compliance_fact where id not in (select fact from compliance_log)"
    )
    await logged.owner.execute("delete from compliance_checkpoint where size > 260")
    await logged.owner.execute("update compliance_tile set hashes = $1 where index = 1", tile(0, 1)[: 4 * 32])
    assert (await logged.verified()).whole
    report = await logged.verified(saved)
    assert [(f.damage, f.index) for f in report.findings] == [(Damage.LEAF_MISSING, 260)]


async def test_a_removed_head_is_missed_by_who_kept_it(logged):
    await logged.owner.execute("delete from compliance_checkpoint where size = 300")
    report = await logged.verified(logged.seen)
    assert [(f.damage, f.index) for f in report.findings] == [(Damage.CHECKPOINT_MISSING, 300)]


async def test_an_older_head_from_outside_is_good_too(logged):
    note = await logged.owner.fetchval("select note from compliance_checkpoint where size = 200")
    assert (await logged.verified(note)).whole


async def test_a_head_signed_by_somebody_else_proves_nothing(logged):
    stranger = log.sign(log.read_note(logged.seen, logged.key), Ed25519PrivateKey.generate())
    with pytest.raises(NoteRefused):
        await logged.verified(stranger)


async def test_heads_signed_by_another_key_are_found(logged):
    stranger = Ed25519PrivateKey.generate()
    for size in SIZES:
        row = await logged.owner.fetchrow("select * from compliance_checkpoint where size = $1", size)
        note = log.sign(Checkpoint(logged.ground.origin, size, row["root"]), stranger)
        await logged.owner.execute("update compliance_checkpoint set note = $2 where size = $1", size, note)
    assert [f.index for f in (await logged.verified()).findings] == list(SIZES)


async def test_findings_are_listed_up_to_a_bound_and_counted_beyond(logged):
    await logged.owner.execute("update compliance_fact set principal = 'x'")
    report = await logged.verified()
    assert (len(report.findings), report.unlisted) == (100, 200)
    assert [f.index for f in report.findings] == list(range(100))
