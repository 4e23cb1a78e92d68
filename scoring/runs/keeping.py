"""Where the runs of an installation are kept, for how long, and how somebody is taken out of all of them."""

import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from compliance import ids
from compliance.database import ground
from compliance.vocabulary import PartnerId
from scoring.runs import leaving, plans
from scoring.runs.faults import RunBusy, ShardUnusable

KEPT_FOR = timedelta(days=7)
"""A run is for the lists of the next days; a newer one of the same recipient takes its place at once."""


def folder() -> Path:
    """Where the runs of this installation are."""
    return ground().home / "population"


def new(folder: Path, recipient: PartnerId) -> Path:
    """A folder for a new run of a recipient's, for nobody else on this machine to read."""
    run = folder / ids.public("ptn", recipient) / ids.public("run", ids.ordered_id())
    for each in (folder, run.parent, run):
        each.mkdir(mode=0o700, exist_ok=True)
    return run


def unfinished(folder: Path, recipient: PartnerId, model: str) -> Path | None:
    """The newest run of a recipient's that is planned for this model and not finished."""
    for run in sorted((folder / ids.public("ptn", recipient)).glob("*"), reverse=True):
        with suppress(ShardUnusable):
            if plans.plan(run).stamp.model == model and (run / plans.FEATURES).is_dir():
                return run
    return None


def finished(folder: Path, recipient: PartnerId, model: str) -> Path | None:
    """The newest run of a recipient's that is finished by this model."""
    for run in sorted((folder / ids.public("ptn", recipient)).glob("*"), reverse=True):
        told = plans.manifest(run)
        if told and told.stamp.model == model:
            return run
    return None


def finish(run: Path) -> None:
    """A finished run needs its features no more, and takes the place of its recipient's others."""
    with plans.alone(run, patient=True):  # who is being taken out of it is taken out of the whole of it
        shutil.rmtree(run / plans.FEATURES)
    for other in run.parent.iterdir():
        if other != run:
            _remove(other)


def forget(folder: Path, user: UUID) -> None:
    """Take somebody out of every run: afterwards no file under `folder` holds a row of theirs. Twice is fine.

    Raises `RunBusy` where a run is being made, after the others: try again until it is done.
    """
    _forget(sorted(folder.glob("*/*")), user)


def forget_towards(folder: Path, recipient: PartnerId, user: UUID) -> None:
    """The same of one recipient's runs."""
    _forget(sorted((folder / ids.public("ptn", recipient)).glob("*")), user)


def _forget(runs: list[Path], user: UUID) -> None:
    busy = None
    for run in runs:
        try:
            leaving.forget(run, user)
        except RunBusy as error:
            busy = error
        except FileNotFoundError:
            if run.exists():
                raise
            # It was deleted meanwhile, with everybody in it.
    if busy:
        raise busy


def clear(folder: Path, now: datetime) -> None:
    """Delete runs whose time is over, and what is left of those that were never planned."""
    for run in folder.glob("*/*"):
        if plans.is_over(run, now - KEPT_FOR):
            _remove(run)


def _remove(run: Path) -> None:
    with suppress(RunBusy, FileNotFoundError), plans.alone(run):
        plans.remove(run)
