"""What the operator runs to score everybody whom a bank may have lists of, in one command that can be cut off."""

import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from api.running import Standing
from compliance import database as databases
from compliance import ids
from compliance.act import View, open_act, open_view
from compliance.canonical import Json
from compliance.refusals import NotFound
from compliance.vocabulary import PartnerId, Purpose, Worker
from partners import directory
from scoring import registry, release
from scoring.runs import keeping, people, plans
from scoring.runs.faults import ShardUnusable
from scoring.runs.run import score
from scoring.runs.runners import Runner

SCORER = Worker("population_scorer")


async def run(found: Standing, bank: str, runner: Runner) -> int:
    """Score everybody with a live consent to lists of this bank; prints the run as one line of JSON."""
    started = time.monotonic()
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        folder, told = await score_everybody(bank, runner)
    seconds = round(time.monotonic() - started, 1)
    sys.stdout.write(json.dumps({"run": folder.name, **told, "seconds": seconds}) + "\n")
    return 0


async def score_everybody(bank: str, runner: Runner) -> tuple[Path, dict[str, Json]]:
    """Go on with the bank's run that was cut off, or make a new one, and finish it: its folder and what was recorded.

    Who may not be in it any more is taken out before it goes on, and before it is finished. Records
    `population_permitted`, each time that is looked at, and `population_scored`. A run that turns out to be damaged is
    deleted; called again, this makes it anew.
    """
    recipient, model = await _wanted(bank)
    begun = keeping.unfinished(keeping.folder(), recipient, model)
    folder = begun or await _new(recipient)
    try:
        if begun:
            async with open_act(SCORER, Purpose.PRESCREEN) as act:
                await people.keep_permitted(act, recipient, begun, patient=False)
        _scored(folder, model, runner)
        async with open_act(SCORER, Purpose.PRESCREEN) as act:
            await people.keep_permitted(act, recipient, folder, patient=True)
            told = _told(recipient, folder)
            act.record("population_scored", told)
    except ShardUnusable:
        plans.remove(folder)
        raise
    keeping.finish(folder)
    return folder, told


def _told(recipient: PartnerId, folder: Path) -> dict[str, Json]:
    finished = plans.manifest(folder)
    if finished is None:
        raise ShardUnusable(f"the manifest of {folder.name} is missing or damaged")
    return {
        "recipient": ids.public("ptn", recipient),
        "model": finished.stamp.model,
        "permit": finished.stamp.permit,
        "manifest": finished.digest,
        "rows": finished.rows,
        "answered": finished.answered,
    }


async def _wanted(bank: str) -> tuple[PartnerId, str]:
    """The bank, to whom a channel must be open, and the model in use."""
    async with open_view(SCORER) as view:
        recipient = await _bank(view, bank)
        await release.refuse_unless_open(view, recipient, None)
        model = (await registry.champion(view)).digest
    keeping.clear(keeping.folder(), view.now)
    return recipient, model


async def _new(recipient: PartnerId) -> Path:
    run = keeping.new(keeping.folder(), recipient)
    try:
        with plans.alone(run):
            async with open_act(SCORER, Purpose.PRESCREEN) as act:
                plan = await people.write(act, recipient, run)
            plans.write_plan(run, plan)
    except BaseException:
        plans.remove(run)  # what nobody may score is not kept either
        raise
    return run


async def _bank(view: View, code: str) -> PartnerId:
    rows = await view.db.execute_query_dict("select id from partners_partner where code = $1", [code])
    if not rows:
        raise NotFound(f"there is no partner {code!r}")
    bank = PartnerId(rows[0]["id"])
    await directory.refuse_suspended(view, bank)
    return bank


def _scored(folder: Path, model: str, runner: Runner) -> None:
    """Score the run's shards, showing how far it is."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("scoring")
        score(
            folder,
            registry.folder(model),
            runner,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
