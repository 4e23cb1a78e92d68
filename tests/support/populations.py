"""A population run of random people, each with one set of shared categories."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import numpy as np
from support import small_models

from scoring import training
from scoring.runs import plans, run, runners, shards
from scoring.runs.batch import Work, score_shard
from scoring.runs.plans import Manifest, Plan, Scored, Shard
from scoring.runs.shards import People, Stamp
from scoring.scorer import Evaluation, InsufficientEvidence

SHARDS = 5


@dataclass(frozen=True)
class Population:
    """Row i is `users[i]` with what bit n of `masks[i]` allows; `folder` holds their run, `model` its model."""

    folder: Path
    model: Path
    plan: Plan
    users: tuple[UUID, ...]
    people: People

    def file(self, kind: str, number: int = 0) -> Path:
        return self.folder / kind / shards.name(number)

    def work(self, number: int = 0, **changes: object) -> Work:
        shard = self.plan.shards[number]
        files = (self.file(plans.FEATURES, number), shard.written, self.file(plans.POINTS, number))
        return replace(Work(number, *files, self.model, self.plan.stamp), **changes)

    def asked_online(self, row: int) -> Evaluation | None:
        """What the online scorer says about a row; none where the evidence is insufficient."""
        scorer = small_models.loaded()
        mask = int(self.people.masks[row])
        shared = frozenset(c for n, c in enumerate(scorer.categories) if mask >> n & 1)
        counts = (self.people.events[row], self.people.active_days[row])
        evidence = small_models.Evidence(
            *({c: int(table[n]) for n, c in enumerate(scorer.categories)} for table in counts)
        )
        try:
            return scorer.evaluate(np.ascontiguousarray(self.people.values[row]), evidence, shared)
        except InsufficientEvidence:
            return None

    def scored(self, runner: runners.Runner | None = None) -> Manifest:
        return run.score(self.folder, self.model, runner or here, lambda _, __: None)

    def rows_of(self, number: int) -> list[int]:
        """The rows of a shard, in its order."""
        mine = [row for row, user in enumerate(self.users) if shards.place(user, SHARDS) == number]
        return sorted(mine, key=lambda row: (self.users[row].int, self.people.masks[row]))

    def bytes(self) -> dict[str, bytes]:
        """Every file that a finished run leaves."""
        kept = [
            *(self.folder / plans.POINTS).iterdir(),
            self.folder / plans.MANIFEST,
            self.folder / plans.PLAN,
        ]
        return {file.name: file.read_bytes() for file in kept}


def here(works: Iterable[Work]) -> Iterator[Scored]:
    """In this very process."""
    return map(score_shard, works)


def save_model(folder: Path) -> Path:
    return training.save(small_models.trained(), folder)


def planned(folder: Path, *, seed: int = 1, empty: int | None = None) -> Population:
    """Twice as many rows as users, who share different categories; nobody is in the shard `empty`."""
    random = np.random.default_rng(seed)
    matrix, _ = small_models.people()
    ids = [UUID(bytes=random.bytes(16)) for _ in range(300)]
    users = tuple(user for user in ids for _ in range(2) if shards.place(user, SHARDS) != empty)
    rows = random.integers(0, small_models.PEOPLE, len(users))
    categories = small_models.loaded().categories
    first = random.integers(1, 16, len(users))
    masks = np.where(np.arange(len(users)) % 2, first[np.arange(len(users)) // 2 * 2] ^ 1, first)
    values = matrix.values[rows].copy()
    values[random.random(values.shape) < 0.01] = -0.0
    values.view(np.uint32)[random.random(values.shape) < 0.01] = 0xFFC0BEEF  # also a missing value
    events = np.column_stack([matrix.events[c][rows] for c in categories])
    days = np.column_stack([matrix.active_days[c][rows] for c in categories])
    both = np.array([shards.halves(user) for user in users], np.uint64)
    people = People(both[:, 0], both[:, 1], masks.astype(np.uint16), values, events, days)
    model = save_model(folder / "models")
    made = Population(
        folder / "run", model, Plan(_stamp(model), "2026-01-01T00:00:00+00:00", ()), users, people
    )
    return _written(made)


def _stamp(model: Path) -> Stamp:
    return Stamp(model.name, "1" * 64, "2026-01-01T00:00:00+00:00", "random people")


def _written(made: Population) -> Population:
    (made.folder / plans.FEATURES).mkdir(parents=True, mode=0o700)
    (made.folder / plans.POINTS).mkdir(mode=0o700)
    done = []
    for number in range(SHARDS):
        part = some(made.people, made.rows_of(number))
        written = shards.write_features(made.file(plans.FEATURES, number), made.plan.stamp, part)
        done.append(Shard(number, len(part.masks), written))
    plan = replace(made.plan, shards=tuple(done))
    plans.write_plan(made.folder, plan)
    return replace(made, plan=plan)


def some(people: People, rows: list[int]) -> People:
    return People(*(getattr(people, name)[rows] for name in People.__dataclass_fields__))


def killed(folder: str, model: str, after: str) -> None:
    """In a process of its own: killed at once when so many rows are scored."""

    def kill(done: int, _: int) -> None:
        if done >= int(after):
            os.kill(os.getpid(), signal.SIGKILL)

    run.score(Path(folder), Path(model), runners.locally(2), kill)


if __name__ == "__main__":
    killed(*sys.argv[1:])
