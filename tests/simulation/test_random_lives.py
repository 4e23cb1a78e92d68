"""Random lives of people, banks, lists and lenders, with crashes, against a model that fits on a page.

After each step the whole log is verified, and everything that was disclosed is held against what was allowed.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from support import lending, world
from support.world import ALL, LISTING, SCORING

from compliance import sequencer
from compliance import verify as verifier
from compliance.act import open_act, open_upkeep
from compliance.database import ground
from compliance.log import LogKey
from compliance.refusals import Refusal
from compliance.vocabulary import AnswerForm, Category, GrantId, PartnerClient, Person, Purpose, Worker
from consent import grants
from consent.permits import CategoryNotGranted, ConsentMissing, ConsentPaused, ConsentWithdrawn
from partners import delivery, prescreens
from partners.applications import AlreadyPicked, ApplicationClosed
from scoring import scores
from scoring.scorer import InsufficientEvidence
from scoring.set_changes import SETS_MAX, SetChangedTooOften

SEEDS = range(8)
STEPS = 150
PEOPLE, BANKS = 4, 2
CATEGORIES = sorted(ALL)


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Expected:
    """The whole truth, as a child could keep it."""

    live: dict[tuple[int, int, Purpose], tuple[UUID, frozenset[Category]]] = field(default_factory=dict)
    ended: set[tuple[int, int, Purpose]] = field(default_factory=set)
    paused: set[UUID] = field(default_factory=set)
    scored: dict[UUID, UUID] = field(default_factory=dict)
    sets: dict[tuple[int, int], set[frozenset[Category]]] = field(default_factory=dict)
    lists: dict[int, tuple[UUID, dict[UUID, UUID]]] = field(default_factory=dict)
    """Of each bank the newest list: its id, and the grant of each entry."""
    picked: dict[int, bool] = field(default_factory=dict)


@dataclass
class Life:
    """One run."""

    dice: random.Random
    owner: object
    patch: pytest.MonkeyPatch
    people: list[Person]
    banks: list[PartnerClient]
    ends: list[lending.Bank]
    expected: Expected = field(default_factory=Expected)
    applications: dict[int, object] = field(default_factory=dict)
    checkpoint: str | None = None

    def who(self) -> tuple[int, int]:
        return self.dice.randrange(PEOPLE), self.dice.randrange(BANKS)

    def likely(self) -> tuple[int, int]:
        """Mostly two who have something to do with each other."""
        known = [key[:2] for key in self.expected.live if key[2] is SCORING]
        return self.dice.choice(known) if known and self.dice.random() < 0.7 else self.who()

    def why(self, person: int, bank: int, purpose: Purpose) -> type[Refusal]:
        """How a use without a live grant is refused."""
        return ConsentWithdrawn if (person, bank, purpose) in self.expected.ended else ConsentMissing

    async def grant(self) -> None:
        person, bank = self.who()
        purpose = self.dice.choice((SCORING, SCORING, LISTING))
        chosen = frozenset(self.dice.sample(CATEGORIES, self.dice.randint(1, len(CATEGORIES))))
        row = await world.asked(self.banks[bank], purpose)
        row, _ = await world.said_yes(self.people[person], row, chosen)
        self.expected.live[person, bank, purpose] = (row.id, chosen)

    async def withdraw(self) -> None:
        if self.expected.live:
            key = self.dice.choice(list(self.expected.live))
            grant, _ = self.expected.live.pop(key)
            self.expected.ended.add(key)
            await world.withdrawn(self.people[key[0]], grant)

    async def pause(self) -> None:
        """The person pauses a consent, or lets a paused one go on."""
        if self.expected.live:
            key = self.dice.choice(list(self.expected.live))
            grant, _ = self.expected.live[key]
            switch = grants.resume if grant in self.expected.paused else grants.pause
            async with open_act(self.people[key[0]], None) as act:
                await switch(act, GrantId(grant))
            self.expected.paused ^= {grant}

    async def score(self) -> None:
        person, bank = self.likely()
        wanted = frozenset(self.dice.sample(CATEGORIES, self.dice.randint(1, len(CATEGORIES))))
        allowed = self.expected.live.get((person, bank, SCORING))
        attempt = world.scored(self.banks[bank], self.people[person], wanted)
        if allowed is None:
            await refused(attempt, self.why(person, bank, SCORING))
        elif allowed[0] in self.expected.paused:
            await refused(attempt, ConsentPaused)
        elif not allowed[1] & wanted:
            await refused(attempt, CategoryNotGranted)
        elif len(self.tried(person, bank) | {allowed[1]}) > SETS_MAX:
            await refused(attempt, SetChangedTooOften)
        elif not world.answerable(person, allowed[1] & wanted):
            await refused(attempt, InsufficientEvidence)
        else:
            row = await attempt
            assert set(row.used) == allowed[1] & wanted
            self.expected.scored[row.id] = allowed[0]
            self.expected.sets.setdefault((person, bank), set()).add(allowed[1])

    def tried(self, person: int, bank: int) -> set[frozenset[Category]]:
        """The choices of data that a bank's scores of a person rested on."""
        return self.expected.sets.get((person, bank), set())

    async def crash_while_scoring(self) -> None:
        """Everything of the act is gone with the process, the count of its calls too."""
        person, bank = self.likely()
        before = await self.owner.fetchval("select coalesce(sum(calls), 0) from consent_use")
        facts = await self.owner.fetchval("select count(*) from compliance_fact")
        if (person, bank, SCORING) not in self.expected.live:
            return
        try:
            async with open_act(self.banks[bank], SCORING) as act:
                await scores.issue(act, self.people[person].user, ALL, answer=AnswerForm.FULL)
                await dies(act)
        except (Crash, Refusal) as end:
            facts += not isinstance(end, Crash)
        assert await self.owner.fetchval("select coalesce(sum(calls), 0) from consent_use") == before
        assert await self.owner.fetchval("select count(*) from compliance_fact") == facts

    async def make_list(self) -> None:
        bank = self.dice.randrange(BANKS)
        may_be = {
            self.people[p].user: grant
            for (p, b, purpose), (grant, chosen) in self.expected.live.items()
            if (b, purpose) == (bank, LISTING)
            and grant not in self.expected.paused
            and world.answerable(p, chosen)
        }
        asked = await world.list_wanted(self.banks[bank])
        made = await world.list_made(entries_min=1)
        assert made.state == ("ready" if may_be else "failed")
        if may_be:
            rows = await self.owner.fetch(
                "select id, user_id, grant_id from partners_entry where prescreen = $1", asked
            )
            assert {r["user_id"]: r["grant_id"] for r in rows} == may_be
            self.expected.lists[bank] = (asked, {r["id"]: r["grant_id"] for r in rows})

    async def read_list(self) -> None:
        if not self.expected.lists:
            return
        bank, (prescreen, entries) = self.dice.choice(list(self.expected.lists.items()))
        live = {grant for grant, _ in self.expected.live.values()}
        async with open_act(self.banks[bank], LISTING) as act:
            found = {e.id for e in await prescreens.entries(act, prescreen, after=None, limit=500)}
            recalled = {r["entry"] for r in await prescreens.recalls(act, prescreen, after=None, limit=500)}
        assert found == {e for e, grant in entries.items() if grant in live - self.expected.paused}
        assert recalled == {e for e, grant in entries.items() if grant not in live}

    async def apply(self) -> None:
        person = self.dice.randrange(PEOPLE)
        self.applications[person] = await lending.apply(self.people[person])

    async def pick(self) -> None:
        if not self.applications:
            return
        person, made = self.dice.choice(list(self.applications.items()))
        connectors = {end.code: end.connector() for end in self.ends}
        try:
            await lending.pick(
                self.people[person], made, connectors, rank=self.dice.randint(1, len(made.offers))
            )
        except (AlreadyPicked, ApplicationClosed, ConsentWithdrawn):
            return

    async def end_referrals(self) -> None:
        """Somebody takes back the consent that a referral rests on."""
        row = await self.owner.fetchrow(
            """select g.id, g.user_id from consent_grant g join partners_referral r on r.grant_id = g.id
               where g.state = 'active' order by g.id limit 1"""
        )
        if row:
            person = next(p for p in self.people if p.user == row["user_id"])
            await world.withdrawn(person, row["id"])
            left = await self.owner.fetch(
                "select delivery from partners_referral where grant_id = $1", row["id"]
            )
            assert "queued" not in {r["delivery"] for r in left}

    async def deliver(self) -> None:
        """Once in a while the lender's answer is lost, or the courier dies between sending and noting it."""
        for end in self.ends:
            end.plan = self.dice.choice(([], [lending.Lost()], [503], [dies]))
        connectors = {end.code: end.connector() for end in self.ends}
        with suppress(Crash):
            await delivery.deliver_due(Worker("courier"), connectors, limit=3)
        await self.owner.execute("update partners_referral set next_try_at = now(), lease_until = now()")

    async def sequence(self) -> None:
        await sequencer.sequence(self.dice.choice((1, 3, 1_000)))

    async def publish(self) -> None:
        await sequencer.publish()
        self.checkpoint = await self.owner.fetchval(
            "select note from compliance_checkpoint order by size desc limit 1"
        )

    async def crash_while_sequencing(self) -> None:
        """Killed while placing, or while signing: before the head is outside the database, or just after."""
        step, patched, after = self.dice.choice(
            (
                (sequencer.sequence, "read_tiles", False),
                (sequencer.publish, "_remember", False),
                (sequencer.publish, "_remember", True),
            )
        )
        right = getattr(sequencer, patched)

        def killed(*given: object) -> None:
            if after:
                right(*given)
            raise Crash

        self.patch.setattr(sequencer, patched, killed)
        with suppress(Crash):
            await step()
        self.patch.setattr(sequencer, patched, right)

    async def check(self) -> None:
        """The log is whole, and continues what was signed before; nothing was disclosed after its grant's end."""
        key = LogKey(ground().origin, ground().keyring.log_public_bytes())
        async with open_upkeep(Worker("auditor")) as upkeep:
            report = await verifier.verify(upkeep.db, known_key=key, against=self.checkpoint)
        assert report.whole, report.findings
        facts = await self.owner.fetchval("select count(*) from compliance_fact")
        assert report.size + report.pending == facts
        late = await self.owner.fetch(LATE)
        assert late == []
        kept = {
            r["id"]: r["grant_id"] for r in await self.owner.fetch("select id, grant_id from scoring_score")
        }
        assert kept == self.expected.scored


LATE = """
select used.kind from compliance_fact used join compliance_fact ended on ended.grant_id = used.grant_id
where ended.kind in ('grant_withdrawn', 'grant_superseded') and used.seq > ended.seq
  and used.kind in ('score_issued', 'score_shown', 'entry_delivered', 'referral_queued', 'referral_released',
                    'referral_shown', 'answer_replayed')
"""
WEIGHTS: dict[Callable[[Life], Awaitable[None]], int] = {
    Life.grant: 6,
    Life.withdraw: 4,
    Life.pause: 1,
    Life.score: 6,
    Life.crash_while_scoring: 2,
    Life.make_list: 2,
    Life.read_list: 3,
    Life.apply: 2,
    Life.pick: 2,
    Life.end_referrals: 1,
    Life.deliver: 3,
    Life.sequence: 3,
    Life.publish: 2,
    Life.crash_while_sequencing: 2,
}


async def refused(attempt: Awaitable[object], refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        await attempt


async def dies(_: object) -> None:
    raise Crash


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_leaves_that_was_not_allowed(ground, owner, monkeypatch, seed):
    await world.put_model_in_use()
    await world.open_channel()
    banks = [await world.a_bank(code) for code in ("alpha", "beta")]
    for bank in banks:
        await lending.a_product(bank.partner)
    ends = [lending.Bank(bank.partner, code) for bank, code in zip(banks, ("alpha", "beta"), strict=True)]
    life = Life(random.Random(seed), owner, monkeypatch, await world.persons(PEOPLE), banks, ends)
    for _ in range(STEPS):
        step = life.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        await step(life)
        await life.check()
    assert life.expected.scored, "a life without a score proves little"
