"""What an auditor runs: verify the whole log, take a checkpoint away, compute an old score again."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from api import running, telemetry
from api.running import Standing
from api.settings import Settings
from compliance import completeness, ids
from compliance import database as databases
from compliance import verify as verifier
from compliance.act import open_act, open_upkeep
from compliance.database import ground
from compliance.log import LogKey, NoteRefused
from compliance.verify import Report
from compliance.vocabulary import Worker
from scoring import behaviour as behaviours
from scoring import replaying, scores
from scoring.answers import incomes
from scoring.replaying import Recomputed

AUDITOR = Worker("auditor")
WHOLE, DAMAGED = 0, 1


def run(settings: Settings, audit: Callable[[Standing], Coroutine[Any, Any, int]]) -> int:
    """Run one audit on the installation, starting its database if nobody runs it yet."""
    telemetry.set_up()
    with running.standing(settings) as found:
        return asyncio.run(audit(found))


async def verify(found: Standing, against: str | None) -> int:
    """Verify everything; prints what was found, each damage named by its index. 0 if the log is whole."""
    out = Console(highlight=False)
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        try:
            report = await checked(found, against)
        except NoteRefused as error:
            out.print(f"the checkpoint kept outside cannot be used: {error}", style="bold red")
            return DAMAGED
    for finding in report.findings:
        out.print(f"{finding.damage} at {finding.index}: {finding.detail}", markup=False)
    if report.unlisted:
        out.print(f"and {report.unlisted} more")
    out.print(
        f"{report.size} facts, {report.checkpoints} checkpoints, {report.maps} maps, {report.pending} pending, {report.erased} erased: "
        + ("the log is whole" if report.whole else "THE LOG WAS DAMAGED")
    )
    return WHOLE if report.whole else DAMAGED


async def checked(found: Standing, against: str | None) -> Report:
    """Verify everything, showing how far it is; the database is open."""
    key = LogKey(found.settings.origin, ground().keyring.log_public_bytes())
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verifying")
        async with open_upkeep(AUDITOR) as upkeep:
            return await verifier.verify(
                upkeep.db,
                known_key=key,
                against=against,
                progress=lambda done, size: bar.update(task, completed=done, total=size),
            )


def verify_person(files: Sequence[Path], key_file: Path) -> int:
    """Check a person's proof files, the oldest first, with the log's public key alone. 0 if nothing is missing."""
    out, earlier = Console(highlight=False), None
    for file in files:
        try:
            key = LogKey.parse(key_file.read_text().strip())
            proof = completeness.read(file.read_bytes())
            counted = completeness.check_all(proof, key)
            if earlier:
                completeness.check_growth(earlier, proof)
        except (NoteRefused, UnicodeDecodeError) as error:
            out.print(f"{file}: NOT PROVEN: {error}", markup=False, soft_wrap=True)
            return DAMAGED
        told = f"{counted.day}: {counted.count} counted, all here"
        out.print(f"{file}: {told} (in a log of {counted.size})", markup=False, soft_wrap=True)
        earlier = proof
    return WHOLE


async def print_checkpoint(found: Standing) -> int:
    """Print the newest signed checkpoint."""
    async with (
        databases.opened(found.database, found.settings.home, found.settings.origin),
        open_upkeep(AUDITOR) as upkeep,
    ):
        rows = await upkeep.db.execute_query_dict(
            "select note from compliance_checkpoint order by size desc limit 1"
        )
    if rows:
        sys.stdout.write(rows[0]["note"])
    return 0 if rows else DAMAGED


async def replay(found: Standing, answer: str, data: Path | None) -> int:
    """Compute a score or an income again, and a score's features from the behaviour in a folder.

    0 if all is the same to the digit.
    """
    behaviour = None
    if data is not None:
        behaviour = behaviours.read(data, found.settings.home / "quarantine" / data.name)
    async with (
        databases.opened(found.database, found.settings.home, found.settings.origin),
        open_act(AUDITOR, scores.PURPOSE) as act,
    ):
        if answer.startswith("ans_"):
            done, unit = await incomes.replay(act, ids.private("ans", answer)), "a month"
        else:
            done, unit = await replaying.replay(act, ids.private("scr", answer), behaviour), "points"
    same = "the same" if done.same else "DIFFERENT"
    told = f"{answer}: {done.then} {unit} then, {done.now} {unit} now; the whole answer {same}; features {done.features}"
    Console().print(told, highlight=False, soft_wrap=True)
    return WHOLE if done.same and done.features is not Recomputed.DIFFERENT else DAMAGED
