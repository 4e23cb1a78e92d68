"""Random lives of consents alone, many and short: whatever happens, in whatever order, is what a small model says.

After each step the whole log is verified, and states, uses and receipts are the model's. LIVES says how many lives.
"""

import asyncio
import os
import random
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from joserfc import jwt
from support import world
from support.consent_model import CALLS, ENDED, LIVE, Consent, Do, use_refused
from support.world import ALL, SCORING, STORY
from tortoise.exceptions import DBConnectionError, OperationalError

from compliance import database as databases
from compliance import sequencer
from compliance import verify as verifier
from compliance.act import Act, open_act, open_upkeep
from compliance.database import Database, ground
from compliance.log import LogKey
from compliance.refusals import Refusal
from compliance.vocabulary import (
    AnswerForm,
    GrantId,
    Language,
    PartnerClient,
    Person,
    Principal,
    Purpose,
    Worker,
)
from consent import grants
from scoring import scores

LIVES, QUICK = int(os.environ.get("LIVES", "100")), 20
SEEDS = [pytest.param(n, marks=[pytest.mark.check] if n >= QUICK else []) for n in range(LIVES)]
STEPS = 30
CATEGORIES = sorted(ALL)
ORIGIN = "log.test.example"
LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, DBConnectionError, OperationalError)


class Crash(BaseException):
    """The process dies here."""

    @classmethod
    def now(cls, *_: object) -> None:
        raise cls


STEP_WEIGHTS = {
    "pause": 3,
    "resume": 5,
    "withdraw": 1,
    "relinquish": 1,
    "ask": 4,
    "agree": 1,
    "wish": 2,
    "decline": 1,
}


@dataclass
class Life:
    """One run: what is done, and the whole truth as the model has it."""

    dice: random.Random
    owner: "asyncpg.Connection[asyncpg.Record]"
    people: list[Person]
    banks: list[PartnerClient]
    consents: list[Consent] = field(default_factory=list)
    checkpoint: str | None = None
    killed: bool = False

    async def done(self, who: Principal, do: Do, *, wanted: str, purpose: Purpose | None = None) -> bool:
        """Do it and compare what comes of it; a killed act does nothing, whatever it did before its end."""
        if self.killed and not wanted:
            with pytest.raises(LOST):
                await self.attempt(who, do, purpose)
            return False
        try:
            await self.attempt(who, do, purpose)
            code = ""
        except Refusal as refusal:
            code = refusal.code
        assert code == wanted
        return not wanted

    async def attempt(self, who: Principal, do: Do, purpose: Purpose | None) -> None:
        async with open_act(who, purpose) as act:
            await do(act)
            if self.killed:
                (mine,) = await act.db.execute_query_dict("select pg_backend_pid() as pid")
                await self.owner.execute("select pg_terminate_backend($1, 10000)", mine["pid"])

    async def request(self) -> None:
        person, bank = self.pair(0.3)
        pair = [c.state for c in self.consents if (c.person, c.bank) == (person, bank)]
        wanted = "asked_too_soon" if "rejected" in pair else "already_asked" if "requested" in pair else ""
        client, made = self.banks[bank], []

        async def do(act: Act) -> None:
            ask = world.an_ask(client.partner, user=self.people[person].user, calls_per_month=CALLS)
            made.append(await grants.ask(act, ask, offered=ALL))

        if await self.done(client, do, wanted=wanted):
            self.consents.append(Consent(made[0].id, person, bank))

    async def answer(self) -> None:
        """Mostly yes, to some of it; what lived before ends with it."""
        waiting = [c for c in self.consents if c.state == "requested"]
        if not waiting:
            return await self.request()
        one, yes = self.dice.choice(waiting), self.dice.random() < 0.9
        chosen = frozenset(self.dice.sample(CATEGORIES, self.dice.randint(1, len(CATEGORIES))))

        async def do(act: Act) -> None:
            grant = GrantId(one.id)
            await (grants.approve(act, grant, chosen, Language.EN) if yes else grants.reject(act, grant))

        if await self.done(self.people[one.person], do, wanted=""):
            for old in self.consents:
                if yes and (old.person, old.bank) == (one.person, one.bank) and old.state in LIVE:
                    old.end("superseded")
            one.state, one.chosen = ("active", chosen) if yes else ("rejected", one.chosen)
        return None

    async def live_on(self) -> None:
        """Any step with any consent, mostly with one that lives."""
        living = [c for c in self.consents if c.lives]
        if not self.consents:
            return
        one = self.dice.choice(living if living and self.dice.random() < 0.85 else self.consents)
        weights = STEP_WEIGHTS | ({"agree": 12, "decline": 2} if one.asked == "waiting" else {})
        step = self.dice.choices(list(weights), list(weights.values()))[0]
        who = self.banks[one.bank] if step in ("relinquish", "ask") else self.people[one.person]
        if await self.done(who, one.step(step), wanted=one.may(step)):
            one.take(step)

    async def all_at_once(self) -> None:
        person, pause = self.dice.randrange(len(self.people)), self.dice.random() < 0.5
        if await self.done(self.people[person], grants.pause_all if pause else grants.resume_all, wanted=""):
            for one in self.consents:
                if one.person == person and one.lives:
                    one.take("pause" if pause else "resume")

    async def time_passes(self) -> None:
        if living := [c for c in self.consents if c.lives]:
            one = self.dice.choice(living)
            one.over = True
            await self.owner.execute("update consent_grant set expires_at = now() where id = $1", one.id)

    async def note_expiry(self) -> None:
        if await self.done(STORY, lambda act: grants.end_expired(act, 100), wanted=""):
            for one in self.consents:
                if one.over:
                    one.end("expired")

    def pair(self, likely: float) -> tuple[int, int]:
        """A person and a bank, mostly with a consent between them that lives."""
        living = [c for c in self.consents if c.state in LIVE]
        if living and self.dice.random() < likely:
            one = self.dice.choice(living)
            return one.person, one.bank
        return self.dice.randrange(len(self.people)), self.dice.randrange(len(self.banks))

    async def use(self) -> None:
        person, bank = self.pair(0.9)
        wanted = frozenset(self.dice.sample(CATEGORIES, self.dice.randint(1, len(CATEGORIES))))
        pair = [c for c in self.consents if (c.person, c.bank) == (person, bank)]
        one = next((c for c in pair if c.state in LIVE), None) or next(
            (c for c in reversed(pair) if c.state in ENDED), None
        )
        user = self.people[person].user
        if await self.done(
            self.banks[bank],
            lambda act: scores.issue(act, user, wanted, answer=AnswerForm.FULL),
            wanted=use_refused(one, wanted),
            purpose=SCORING,
        ):
            one.uses += 1

    async def sequence(self) -> None:
        await sequencer.sequence(self.dice.choice((1, 3, 1_000)))
        if self.dice.random() < 0.5:
            await sequencer.publish()
            self.checkpoint = await self.owner.fetchval(NEWEST)

    async def crash_while_sequencing(self) -> None:
        """Killed between the steps: before what was read is placed, or before what is signed is kept outside."""
        work, between = self.dice.choice(
            ((sequencer.sequence, "read_tiles"), (sequencer.publish, "_remember"))
        )
        with pytest.MonkeyPatch.context() as patch, suppress(Crash):
            patch.setattr(sequencer, between, Crash.now)
            await work()

    async def check(self) -> None:
        """The log is whole and continues what was signed before; what is stored is the model."""
        key = LogKey(ground().origin, ground().keyring.log_public_bytes())
        async with open_upkeep(Worker("auditor")) as upkeep:
            report = await verifier.verify(upkeep.db, known_key=key, against=self.checkpoint)
        assert report.whole, report.findings
        stored = await self.owner.fetch(STORED)
        assert [tuple(row) for row in stored] == [
            (c.id, c.state, sorted(c.chosen), c.uses, c.given) for c in self.consents
        ]
        await self.check_log()

    async def check_log(self) -> None:
        """No use stands after an end, nor while paused, nor more often than agreed."""
        state, uses = {}, Counter()
        for fact in await self.owner.fetch(FACTS):
            kind, grant = fact["kind"].removesuffix("_again"), fact["grant_id"]
            if kind == "score_issued":
                assert state[grant] == "open"
                uses[grant] += 1
            elif kind in ("grant_given", "grant_resumed") and state.get(grant) != "ended":
                state[grant] = "open"
            elif kind == "grant_paused":
                state[grant] = "paused"
            elif kind.removeprefix("grant_") in ENDED:
                state[grant] = "ended"
        assert max(uses.values(), default=0) <= CALLS

    async def check_receipts(self) -> None:
        """The newest receipt of each consent tells what it went through, and verifies."""
        public = ground().keyring.signing
        for one in self.consents:
            signed = await self.owner.fetchval(RECEIPT, one.id)
            if signed is None:
                assert one.events() == []
                continue
            claims = jwt.decode(signed, public, algorithms=["ES256"]).claims
            assert [event["type"] for event in claims["events"]] == one.events()


STORED = """
select g.id, coalesce(g.ended_code, g.state), g.categories,
       coalesce((select sum(calls)::int from consent_use u where u.grant_id = g.id), 0), g.extensions
from consent_grant g order by g.requested_at
"""
NEWEST = "select note from compliance_checkpoint order by size desc limit 1"
FACTS = "select kind, grant_id from compliance_fact where grant_id is not null order by seq"
RECEIPT = "select signed from consent_receipt where grant_id = $1 order by issued_at desc limit 1"
WEIGHTS = {
    Life.request: 2,
    Life.answer: 4,
    Life.live_on: 9,
    Life.use: 8,
    Life.all_at_once: 1,
    Life.time_passes: 1,
    Life.note_expiry: 1,
    Life.sequence: 2,
    Life.crash_while_sequencing: 1,
}
NO_ACTS = (Life.sequence, Life.crash_while_sequencing)


@pytest.fixture(scope="module")
def born(filled, tmp_path_factory) -> tuple[list[Person], list[PartnerClient], Path]:
    """Two people and two banks, brought into the world once; each life goes on in a copy of it."""
    bed = tmp_path_factory.mktemp("bed")

    async def begin() -> tuple[list[Person], list[PartnerClient], Path]:
        async with databases.opened(filled, bed, ORIGIN):
            await world.put_model_in_use()
            await world.open_channel()
            banks = [await world.a_bank(code) for code in ("alpha", "beta")]
            return await world.persons(2), banks, bed

    return asyncio.run(begin())


@pytest.fixture(scope="module")
def template(filled, born) -> Database:
    return filled


@pytest.fixture
def home(born, tmp_path) -> Path:
    return Path(shutil.copytree(born[2], tmp_path / "home"))


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_life_is_the_models(ground, owner, born, seed):
    people, banks, _ = born
    life = Life(random.Random(seed), owner, people, banks)
    for _ in range(STEPS):
        step = life.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        life.killed = step not in NO_ACTS and life.dice.random() < 0.06
        await step(life)
        await life.check()
    await life.check_receipts()
