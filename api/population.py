"""What the operator runs to score everybody whom a bank may have lists of, in one command that can be cut off."""

import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from api.running import Standing
from compliance import database as databases
from compliance.act import View, open_act, open_view
from compliance.canonical import Json
from compliance.refusals import NotFound
from compliance.vocabulary import PartnerId, Purpose, Worker
from partners import directory
from scoring import registry, release
from scoring.runs import keeping, people, plans
from scoring.runs.faults import ShardUnusable
from scoring.runs.plans import Manifest
from scoring.runs.run import score
from scoring.runs.runners import Runner

SCORER = Worker("population_scorer")


async def run(found: Standing, bank: str, runner: Runner) -> int:
    """Score everybody with a live consent to lists of this bank; goes on with a run that was cut off.

    Records `population_permitted` and `population_scored`; prints the run as one line of JSON.
    """
    started = time.monotonic()
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        folder, recipient = await _unfinished_or_new(bank)
        plan = plans.plan(folder)
        try:
            manifest = _scored(folder, plan.stamp.model, runner)
        except ShardUnusable:
            plans.remove(folder)  # the next call makes it anew
            raise
        async with open_act(SCORER, Purpose.PRESCREEN) as act:
            told: dict[str, Json] = {
                "model": plan.stamp.model,
                "permit": plan.stamp.permit,
                "manifest": manifest.digest,
                "rows": manifest.rows,
                "answered": manifest.answered,
            }
            act.record("population_scored", told, partner=recipient)
    keeping.finish(folder)
    seconds = round(time.monotonic() - started, 1)
    sys.stdout.write(json.dumps({"run": str(folder), **told, "seconds": seconds}) + "\n")
    return 0


async def _unfinished_or_new(bank: str) -> tuple[Path, PartnerId]:
    async with open_view(SCORER) as view:
        recipient = await _bank(view, bank)
        await release.refuse_unless_open(view, recipient, None)
        model = (await registry.champion(view)).digest
    root = keeping.folder()
    keeping.clear(root, view.now)
    left = keeping.unfinished(root, recipient, model, view.now - keeping.KEPT_FOR)
    if left:
        return left, recipient
    made = keeping.new(root, recipient)
    try:
        with plans.alone(made):
            async with open_act(SCORER, Purpose.PRESCREEN) as act:
                plan = await people.write(act, recipient, made)
            plans.write_plan(made, plan)
    except BaseException:
        plans.remove(made)  # what nobody may score is not kept either
        raise
    return made, recipient


async def _bank(view: View, code: str) -> PartnerId:
    rows = await view.db.execute_query_dict("select id from partners_partner where code = $1", [code])
    if not rows:
        raise NotFound(f"there is no partner {code!r}")
    bank = PartnerId(rows[0]["id"])
    await directory.refuse_suspended(view, bank)
    return bank


def _scored(folder: Path, model: str, runner: Runner) -> Manifest:
    """Score the run's shards, showing how far it is."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("scoring")
        return score(
            folder,
            registry.folder(model),
            runner,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
