"""What staff do with models from the command line: each step in the life of one, the day's figures, lenders' files of outcomes."""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from api import model_steps, staff, worker
from api.operating import OPERATOR, partner_named
from api.running import Standing
from compliance import database as databases
from compliance import ids
from compliance.act import open_act, open_upkeep
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerId, Purpose, StaffRole
from partners import outcome_files, outcomes
from partners.outcome_files import SetAside, Told
from scoring import kinds, manifest, registry
from scoring.tables import ModelRow


async def admit(found: Standing, name: str, role: str) -> int:
    """Give somebody a role; prints their id."""
    async with (
        databases.opened(found.database, found.settings.home, found.settings.origin),
        open_act(OPERATOR, None) as act,
    ):
        admitted = await staff.admit(act, name, StaffRole(role))
    _tell({"name": name, "staff": ids.public("stf", admitted.staff), "role": admitted.role})
    return 0


async def list_models(found: Standing) -> int:
    """Print every model, a line of JSON each, with what stands against it."""
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        async with open_upkeep(OPERATOR) as upkeep:
            rows = await registry.everything(upkeep)
        for row in rows:
            _tell(_line(row) | {"obstacles": registry.obstacles(row)})
    return 0


async def take_step(found: Standing, step: str, model: str, name: str) -> int:
    """Take one step with a model in somebody's name; prints what the register says of it then."""
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        digest = _brought(Path(model)) if step == "register" else model
        async with open_upkeep() as upkeep:
            who = await staff.named(upkeep, name)
        async with open_act(who, Purpose.MODEL_DEVELOPMENT) as act:
            row = await model_steps.take(act, step, digest)
    _tell(_line(row))
    return 0


def _brought(folder: Path) -> str:
    """Copy a model that was made elsewhere to where models are, in one step, after each file was held against its digest.

    Where there is no such folder, its name is the digest of a model that is there.
    """
    if not folder.is_dir():
        return folder.name
    found = kinds.read(folder)
    home = registry.folder(found.digest)
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            built = Path(scratch) / found.digest
            built.mkdir()
            for name in (manifest.MANIFEST, *found.stated.files):
                shutil.copyfile(folder / name, built / name)
            kinds.read(built)
            built.rename(home)
    return found.digest


def _line(row: ModelRow) -> dict[str, object]:
    return {
        "digest": row.digest,
        "product": row.product,
        "name": row.card["about"].get("name"),
        "state": row.state,
        "registered_by": row.registered_by,
        "validated_by": row.validated_by,
        "approved_by": row.approved_by,
    }


async def report(found: Standing, *, as_json: bool) -> int:
    """Work out the figures of the model in use now, keep them as the day's, and print them."""
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        made = await worker.watch_now()
    if as_json:
        _tell({**made.figures, "alerts": made.alerts})
        return 0
    for name in (
        "made_at",
        "model",
        "scores",
        "ranking",
        "stability",
        "honoured",
        "lists",
        "groups",
        "comparison",
    ):
        sys.stdout.write(f"{name}: {json.dumps(_without_bins(made.figures[name]), ensure_ascii=False)}\n")
    sys.stdout.write(f"alerts: {json.dumps(made.alerts, ensure_ascii=False)}\n")
    return 0


def _without_bins(told: object) -> object:
    return {k: v for k, v in told.items() if k not in ("then", "now")} if isinstance(told, dict) else told


async def load_outcomes(found: Standing, file: Path, partner: str) -> int:
    """Keep each report of a lender's file, and set bad lines aside with line and reason; 1 where there were any."""
    kept = repeated = bad = 0
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        async with open_upkeep(OPERATOR) as upkeep:
            lender = await partner_named(upkeep, partner)
        aside = _quarantine(found.settings.home / "quarantine" / "outcomes", lender)
        with aside.open("x", encoding="utf-8", buffering=1) as quarantine:
            for line in outcome_files.read(file):
                news = line if isinstance(line, SetAside) else await _reported(line, lender)
                if isinstance(news, SetAside):
                    told = {"line": news.line, "column": news.column, "reason": news.reason}
                    quarantine.write(json.dumps(told) + "\n")
                    bad += 1
                else:
                    kept, repeated = kept + news, repeated + (not news)
    _tell({"kept": kept, "known_already": repeated, "set_aside": bad, "quarantine": str(aside)})
    return int(bool(bad))


def _quarantine(folder: Path, lender: PartnerId) -> Path:
    """A file of its own for each lender's each load: nobody's bad lines go under in another's."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{ids.public('ptn', lender)}-{ids.public('bat', ids.ordered_id())}.ndjson"


async def _reported(line: Told, lender: PartnerId) -> bool | SetAside:
    """Whether it was news; or why it cannot be kept."""
    try:
        return await _report(line, lender)
    except Refusal as refusal:
        column = refusal.faults[0].pointer.removeprefix("/") if refusal.faults else ""
        return SetAside(line.line, column, refusal.code)


async def _report(line: Told, lender: PartnerId) -> bool:
    """Whether it was news."""
    async with open_act(OPERATOR, None) as act:
        if await outcomes.is_reported(act, line.outcome, line.about, lender):
            act.record("outcome_repeated", {"line": line.line}, partner=lender)
            return False
        await outcomes.report(act, line.outcome, line.about, lender)
        return True


def _tell(told: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
