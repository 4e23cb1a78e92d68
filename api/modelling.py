"""What a developer of models runs: train on a research set, and try a model on people it never saw."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from api.running import Standing
from compliance import canonical
from compliance import database as databases
from compliance.act import open_act
from compliance.database import ground
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Category, Purpose, Worker
from consent import permits
from consent.permits import PopulationPermit
from scoring import behaviour, development, named, registry, training, trial
from scoring.behaviour import Behaviour

DEVELOPER = Worker("operator")
SEED = 20_261_128
THREADS = 2
"""Part of a model's identity: CatBoost's training changes with it."""


async def train(found: Standing, data: Path, name: str) -> int:
    """Train on a folder in the canonical shape, register the model as a candidate, and call it by a name.

    Prints the card as one line of JSON. The same folder gives the same digest.
    """
    named.refuse_unusable(name)
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        read, permit = await _read(data)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("training", total=1.0)
            developed = development.develop(
                permit,
                read,
                frozenset(Category),
                seed=SEED,
                threads=THREADS,
                name=name,
                keep_learning=True,
                progress=lambda step, share: bar.update(task, description=step, completed=share),
            )
        artifact = developed.artifact
        training.save(artifact, ground().home / "models")
        async with open_act(DEVELOPER, Purpose.MODEL_DEVELOPMENT) as act:
            row = await registry.register(act, artifact.digest)
        named.give(name, artifact.digest)
    _tell(
        {"name": name, "model": artifact.digest, "state": row.state, "quarantined": read.quarantined},
        row.card,
    )
    return 0


async def evaluate(found: Standing, data: Path, name: str, *, as_json: bool) -> int:
    """Try a named model on the people of a folder and print what came of it."""
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        digest = named.find(name)
        read, permit = await _read(data)
        tried = trial.run(permit, registry.scorer(digest), read)
    told = {"name": name, "model": digest, "quarantined": read.quarantined, **_flat(asdict(tried))}
    if as_json:
        sys.stdout.write(json.dumps(told, sort_keys=True) + "\n")
        return 0
    out = Console(highlight=False)
    out.print(f"{tried.n} people answered of {tried.n / tried.answered:.0f}, {tried.defaults} defaulted")
    for figure, value in tried.figures.items():
        low, high = tried.intervals[figure]
        out.print(f"{figure:24} {value:8.4f}  [{low:.4f}, {high:.4f}]")
    out.print(f"{'ece of a perfect model':24} {tried.ece_envelope:8.4f}  at most, in 95 of 100")
    return 0


async def _read(data: Path) -> tuple[Behaviour, PopulationPermit]:
    """Read a research set under its permit; bad rows are set aside in the installation's quarantine."""
    folder, aside = _folder(data), ground().home / "quarantine"
    async with open_act(DEVELOPER, Purpose.MODEL_DEVELOPMENT) as act:
        permit = permits.research_permit(act, folder.name, act.now)
    read = behaviour.read(folder, aside / folder.name)
    if read.quarantined:
        sys.stderr.write(
            f"{read.quarantined} bad rows were set aside, each with its reason: {aside / folder.name}\n"
        )
    return read, permit


def _folder(data: Path) -> Path:
    if not data.is_dir():
        raise Unacceptable(f"{data} is not a folder", Fault("/data", "not_a_folder", "name a folder"))
    return data.resolve()


def _flat(told: dict[str, Any]) -> dict[str, Any]:
    """Figures beside the rest, so that each can be read by its own name; what is unknown is null."""
    told |= told.pop("figures")
    told["intervals"] = {name: [*map(_known, pair)] for name, pair in told["intervals"].items()}
    return {name: _known(value) if isinstance(value, float) else value for name, value in told.items()}


def _known(value: float) -> float | None:
    return value if value == value else None  # noqa: PLR0124 - NaN, which JSON does not know


def _tell(about: dict[str, Any], card: dict[str, Any]) -> None:
    sys.stdout.write(canonical.canonical({**about, "card": card}).decode() + "\n")
