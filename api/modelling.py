"""What a developer of models runs: train on a research set, and try a model on people it never saw."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from api import model_steps, staff
from api.running import Standing
from compliance import canonical
from compliance import database as databases
from compliance.act import open_act, open_upkeep
from compliance.canonical import Json
from compliance.database import ground
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import Category, Purpose, Staff, Worker
from consent import permits
from consent.permits import PopulationPermit
from scoring import behaviour, development, kinds, named, registry, training, trial
from scoring.answers import income_development
from scoring.behaviour import Behaviour
from scoring.manifest import CARD
from scoring.training import Artifact
from scoring.training import Progress as Told
from scoring.trial import Trial

DEVELOPER = Worker("operator")
SEED = 20_261_128
MADE = "made"
"""The state of a model that nobody has registered: files with a name."""
THREADS = 2
"""Part of a model's identity: CatBoost's training changes with it."""


async def train(found: Standing, data: Path, name: str, *, target: str, by: str | None) -> int:
    """Train on a folder in the canonical shape, keep the model's files, and call it by a name.

    `target`: default or income. In the name of `by`, who is a risk officer, it becomes a candidate of the register;
    without, it is a candidate for it. Prints the card as one line of JSON. The same folder gives the same digest.
    """
    named.refuse_unusable(name)
    async with databases.opened(found.database, found.settings.home, found.settings.origin):
        developer = await _developer(by) if by else None
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
        named.give(name, artifact.digest)
        state = await _registered(developer, artifact.digest) if developer else MADE
    told: dict[str, Json] = {"name": name, "model": artifact.digest, "state": state}
    told["quarantined"] = read.quarantined
    told["card"] = json.loads(artifact.files[CARD])
    sys.stdout.write(canonical.canonical(told).decode() + "\n")
    if developer is None:
        sys.stderr.write(f"candidate: register it with xinqiao models register {artifact.digest} --as NAME\n")
    return 0


async def _developer(name: str) -> Staff:
    """Who is to register it: refused before the training and not after it."""
    async with open_upkeep() as upkeep:
        who = await staff.named(upkeep, name)
    model_steps.refuse_other_roles(who, "register")
    return who


async def _registered(developer: Staff, digest: str) -> str:
    async with open_act(developer, Purpose.MODEL_DEVELOPMENT) as act:
        return (await model_steps.take(act, "register", digest)).state


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
        product = kinds.read(registry.folder(digest)).product
        read, permit = await _read(data)
        if product == kinds.INCOME:
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
