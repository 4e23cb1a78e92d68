"""What a developer of models runs: train on a research set, and try a model on people it never saw."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from api.running import Standing
from compliance import canonical
from compliance import database as databases
from compliance.act import open_act, open_upkeep
from compliance.canonical import Json
from compliance.database import ground
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Category, Purpose, Worker
from consent import permits
from consent.permits import PopulationPermit
from scoring import behaviour, development, named, registry, training, trial
from scoring.answers import income_development, incomes
from scoring.behaviour import Behaviour
from scoring.training import Artifact
from scoring.training import Progress as Told
from scoring.trial import Trial

DEVELOPER = Worker("operator")
SEED = 20_261_128
PRODUCTS = {"default": registry.PRODUCT, "income": incomes.PRODUCT}
THREADS = 2
"""Part of a model's identity: CatBoost's training changes with it."""


async def train(found: Standing, data: Path, name: str, *, target: str) -> int:
    """Train on a folder in the canonical shape, register the model as a candidate, and call it by a name.

    `target`: default or income. Prints the card as one line of JSON. The same folder gives the same digest.
    """
    named.refuse_unusable(name)
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        read, permit = await _read(data)
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("training", total=1.0)
            artifact = _developed(
                target,
                permit,
                read,
                name,
                lambda step, share: bar.update(task, description=step, completed=share),
            )
        training.save(artifact, ground().home / "models")
        async with open_act(DEVELOPER, Purpose.MODEL_DEVELOPMENT) as act:
            row = await registry.register(act, artifact.digest, PRODUCTS[target])
        named.give(name, artifact.digest)
    told: dict[str, Json] = {"name": name, "model": row.digest, "state": row.state}
    told["quarantined"] = read.quarantined
    sys.stdout.write(canonical.canonical({**told, "card": row.card}).decode() + "\n")
    return 0


def _developed(target: str, permit: PopulationPermit, read: Behaviour, name: str, progress: Told) -> Artifact:
    everything = frozenset(Category)
    if target == "income":
        return income_development.develop(
            permit, read, everything, seed=SEED, threads=THREADS, name=name, progress=progress
        )
    return development.develop(
        permit, read, everything, seed=SEED, threads=THREADS, name=name, keep_learning=True, progress=progress
    ).artifact


async def evaluate(found: Standing, data: Path, name: str, *, as_json: bool) -> int:
    """Try a named model on the people of a folder and print what came of it."""
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        digest = named.find(name)
        async with open_upkeep(DEVELOPER) as upkeep:
            row = await registry.find(upkeep, digest)
        read, permit = await _read(data)
        if row.product == incomes.PRODUCT:
            told = _of_income(income_development.run(permit, digest, read))
        else:
            told = _of_default(trial.run(permit, registry.scorer(digest), read))
    told = {"name": name, "model": digest, "set": read.name, "quarantined": read.quarantined, **told}
    if as_json:
        sys.stdout.write(json.dumps(told, sort_keys=True) + "\n")
    else:
        _show(told)
    return 0


def _of_default(tried: Trial) -> dict[str, Any]:
    """Figures beside the rest, so that each can be read by its own name."""
    return {
        "target": "default",
        "n": tried.n,
        "defaults": tried.defaults,
        "answered": tried.answered,
        "ece_envelope": tried.ece_envelope,
        **{figure: _known(value) for figure, value in tried.figures.items()},
        "intervals": {figure: [*map(_known, pair)] for figure, pair in tried.intervals.items()},
    }


def _of_income(tried: Mapping[str, Any]) -> dict[str, Any]:
    """Each measure of the model, the constant's under `constant`, the interval of the gain under `gain`."""
    beside = {figure: told for figure, told in tried.items() if isinstance(told, Mapping)}
    gained = {figure: told for figure, told in beside.items() if "gain_low" in told}
    return {
        "target": "income",
        "n": tried["rows"],
        "answered": tried["rows"] / tried["asked"],
        **{figure: float(told["model"]) for figure, told in beside.items()},
        "constant": {figure: float(told["constant"]) for figure, told in beside.items()},
        "gain": {
            figure: [float(told["gain_low"]), float(told["gain_high"])] for figure, told in gained.items()
        },
        "intervals": {
            figure: [float(told["low"]), float(told["high"])]
            for figure, told in beside.items()
            if "low" in told
        },
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON knows no NaN


def _show(told: dict[str, Any]) -> None:
    out = Console(highlight=False)
    for figure, value in told.items():
        if not isinstance(value, dict):
            low_high = told["intervals"].get(figure) or told.get("gain", {}).get(figure)
            out.print(f"{figure:24} {value}" + (f"  {low_high}" if low_high else ""), markup=False)
    for figure, value in told.get("constant", {}).items():
        out.print(f"a constant's {figure:24} {value}", markup=False)


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
