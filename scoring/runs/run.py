"""Score a planned run: what is whole stays, the rest is scored, and the same plan ends in the same bytes."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from compliance import canonical
from scoring.runs import leaving, plans, shards
from scoring.runs.batch import Work
from scoring.runs.plans import Manifest, Plan, Scored
from scoring.runs.runners import Runner

Progress = Callable[[int, int], None]
"""Told how many rows are scored, of how many."""


def score(run: Path, model: Path, runner: Runner, progress: Progress) -> Manifest:
    """Score every shard of a run that is not whole yet, and write the manifest.

    Killed at any moment and called again it does the rest: a shard counts only where the journal or the manifest
    names it, computed from the features of the plan, and its file is byte for byte the one that was written then.
    Who is to leave meanwhile leaves between two shards. Raises `ShardUnusable` where features are damaged or of
    another model, `RunBusy`.
    """
    with plans.alone(run), leaving.noted(run):
        (run / plans.POINTS).mkdir(mode=0o700, exist_ok=True)
        finished = None
        while finished is None:
            plans.sweep(run)
            leaving.take_out_asked(run)
            finished = _scored(run, model, runner, progress)
        plans.write_manifest(run, finished)
    return finished


def _scored(run: Path, model: Path, runner: Runner, progress: Progress) -> Manifest | None:
    """Score what is not whole; none where somebody asked to leave before everything was."""
    plan = plans.plan(run)
    scored = _whole(run, plan)
    total, rows = sum(each.rows for each in plan.shards), sum(each.rows for each in scored.values())
    progress(rows, total)
    with os.fdopen(
        os.open(run / plans.JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab"
    ) as journal:
        journal.write(b"\n")  # a line that was cut off is over
        for each in runner(_waiting(run, plan, model, frozenset(scored))):
            journal.write(canonical.canonical(asdict(each)) + b"\n")
            journal.flush()
            scored[each.number] = each
            rows += each.rows
            progress(rows, total)
    if len(scored) < len(plan.shards):
        return None
    return Manifest(plan.stamp, tuple(scored[each.number] for each in plan.shards))


def _waiting(run: Path, plan: Plan, model: Path, done: frozenset[int]) -> Iterator[Work]:
    """The shards that are to be scored: one at least, and no more once somebody asks to leave."""
    for each in plan.shards:
        if each.number in done:
            continue
        name = shards.name(each.number)
        files = (run / plans.FEATURES / name, each.written, run / plans.POINTS / name)
        yield Work(each.number, *files, model, plan.stamp)
        if leaving.is_asked(run):
            return


def _whole(run: Path, plan: Plan) -> dict[int, Scored]:
    """Shards that were scored from these very features and whose points are still whole."""
    finished = plans.manifest(run)
    told = finished.shards if finished and finished.stamp == plan.stamp else plans.journal(run)
    digests = {each.number: each.written.digest for each in plan.shards}
    return {
        each.number: each
        for each in told
        if digests.get(each.number) == each.features
        and shards.is_whole(run / plans.POINTS / shards.name(each.number), each.digest)
    }
