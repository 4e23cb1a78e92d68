"""Train a model on consented behaviour, hiding categories at random so that refusing one is never evidence."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import catboost
import numpy as np
from numpy.typing import NDArray

from compliance.refusals import Refusal
from compliance.vocabulary import Categories
from scoring import calibration, card, deciles, example, lessons, manifest, policy, scorer, trees
from scoring.evaluation import Flags, Floats
from scoring.features import Matrix
from scoring.lessons import Lesson, Rows
from scoring.manifest import Line, Manifest
from scoring.policy import Scale
from scoring.scorer import Scorer

Progress = Callable[[str, float], None]

MOST_ROWS_FOR_INTERVALS = 5_000
KEPT_OF_EXPORT = ("features_info", "oblivious_trees", "scale_and_bias")
CHANGES_BY_RUN = ("model_guid", "train_finish_time")


class CannotTrain(Refusal):
    """The rows given cannot carry a model at all."""

    status, code, title = 422, "cannot_train", "These rows cannot carry a model"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much is grown: `copies` of each row with other categories hidden, `twins` for the intervals."""

    trees: int = 300
    depth: int = 5
    learning_rate: float = 0.03
    copies: int = 3
    folds: int = 5
    twins: int = 8


STANDARD = Recipe()


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained model as files; `digest` is the SHA-256 of the manifest, which holds the hash of each other."""

    digest: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _Way:
    """How one booster is grown, and who is told."""

    recipe: Recipe
    seed: int
    threads: int
    tell: Callable[[str], None]


def train(
    matrix: Matrix,
    defaulted: Flags,
    *,
    fit: Flags,
    validate: Flags,
    seed: int,
    threads: int,
    scale: Scale,
    horizon_days: int,
    about: Mapping[str, str],
    recipe: Recipe = STANDARD,
    invented: Matrix | None = None,
    progress: Progress | None = None,
) -> Artifact:
    """Train, calibrate, measure; the same rows, seed and threads give the same digest.

    `defaulted`, `fit` and `validate` are [row]; a row in neither is left out and counted. Outcomes of
    `validate` are read by the card and by nothing else. `about` is recorded as it is. `invented` people hold the
    same features; one of them is kept with the model as its example. Refuses `CannotTrain`.
    """
    lesson = lessons.prepare(matrix, defaulted)
    fitted, held = _rows(lesson, fit, validate)
    way = _Way(recipe, seed, threads, _counter(progress, 2 + recipe.folds + recipe.twins))
    booster = _boost(lesson, fitted, way)
    way.tell("model")
    lines = _calibrate(lesson, fitted, way)
    exported, native = _export(booster)
    stated = Manifest(
        inputs=lesson.inputs,
        calibration=lines,
        half_widths=dict.fromkeys(lines, (0.0,) * policy.STEPS),
        minimum=lesson.minimum,
        cutoffs=policy.STANDARD_CUTOFFS,
        scale=scale,
        horizon_days=horizon_days,
        about={**about, **_made(matrix, way)},
        files={},
    )
    draft = Scorer("draft", stated, trees.read(exported))
    stated = replace(
        stated,
        half_widths=_half_widths(draft, lesson, fitted, held, way),
        cutoffs=_cutoffs(draft, lesson, held),
    )
    draft = Scorer("draft", stated, draft.trees)
    measured = card.write(draft, matrix, defaulted, fit=fit, validate=validate, seed=seed)
    way.tell("card")
    spread = deciles.write(matrix, fitted)
    files = {
        manifest.TREES: exported,
        manifest.CATBOOST: native,
        manifest.CARD: measured,
        manifest.DECILES: spread,
    }
    chosen = example.choose(draft, invented) if invented else None
    return _bind(stated, files | ({manifest.EXAMPLE: chosen} if chosen else {}))


def save(artifact: Artifact, folder: Path) -> Path:
    """Write the model to `folder/<digest>` in one step, so that nobody sees half of it; return that folder."""
    home = folder / artifact.digest
    if home.exists():
        return home
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / artifact.digest
        built.mkdir()
        for name, data in artifact.files.items():
            (built / name).write_bytes(data)
        built.rename(home)
    return home


def _bind(stated: Manifest, files: Mapping[str, bytes]) -> Artifact:
    """Name every file's hash in the manifest, and the model by the manifest's."""
    hashes = {name: manifest.sha256(data) for name, data in files.items()}
    encoded = manifest.encode(replace(stated, files=hashes))
    return Artifact(manifest.sha256(encoded), {manifest.MANIFEST: encoded, **files})


def _rows(lesson: Lesson, fit: Flags, validate: Flags) -> tuple[Rows, Rows]:
    """Rows to fit and rows held out, of those that have enough data to be scored at all."""
    if (fit & validate).any():
        raise ValueError("a row cannot be fitted and validated on")
    carried = scorer.may_carry(lesson.categories, lesson.enough)
    fitted, held = np.flatnonzero(fit & carried), np.flatnonzero(validate & carried)
    least = min(lesson.defaulted[fitted].sum(), (~lesson.defaulted[fitted]).sum())
    if min(least, len(held)) < calibration.LEAST_ROWS:
        raise CannotTrain(
            f"{least} rows of the rarer outcome with enough data to fit and {len(held)} to validate; "
            f"{calibration.LEAST_ROWS} of both are the least"
        )
    return fitted, held


def _counter(progress: Progress | None, steps: int) -> Callable[[str], None]:
    done = 0

    def tell(step: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(step, done / steps)

    return tell


def _boost(lesson: Lesson, rows: Rows, way: _Way) -> catboost.CatBoostClassifier:
    """Grow oblivious trees on the rows, each also with categories hidden at random.

    No monotone constraint is set: every category can be hidden, CatBoost reads a hidden value as the
    smallest, and a constraint would make hiding it the best or the worst there is. The card reports instead
    how often the trees run against a feature's stated direction.
    """
    shown, source = lessons.copies(lesson, rows, way.recipe.copies, np.random.default_rng(way.seed))
    booster = catboost.CatBoostClassifier(
        iterations=way.recipe.trees,
        depth=way.recipe.depth,
        learning_rate=way.recipe.learning_rate,
        loss_function="Logloss",
        boosting_type="Plain",
        grow_policy="SymmetricTree",
        nan_mode="Min",
        random_seed=way.seed,
        thread_count=way.threads,
        allow_writing_files=False,
        verbose=False,
    )
    values = np.asfortranarray(lessons.shown(lesson, source, shown))
    return booster.fit(catboost.Pool(values, lesson.defaulted[source].astype(np.float32)))


def _predict(booster: catboost.CatBoostClassifier, lesson: Lesson, rows: Rows, used: Flags) -> Floats:
    """Raw log-odds of rows of which only the `used` categories are shown."""
    values = np.asfortranarray(lessons.shown(lesson, rows, np.broadcast_to(used, (len(rows), len(used)))))
    return np.asarray(booster.predict(values, prediction_type="RawFormulaVal"), np.float64)


def _calibrate(lesson: Lesson, rows: Rows, way: _Way) -> dict[Categories, Line]:
    """Calibrate every set of categories on predictions by models that had not seen the user."""
    users = np.random.default_rng(way.seed).permutation(lesson.user_of.max() + 1)
    fold_of = users[lesson.user_of[rows]] % way.recipe.folds
    subsets = lessons.subsets(lesson)
    raw = {used: np.full(len(rows), np.nan) for used in subsets}
    for fold in range(way.recipe.folds):
        booster = _boost(lesson, rows[fold_of != fold], way)
        for used, flags in subsets.items():
            here = np.flatnonzero((fold_of == fold) & lessons.having(lesson, rows, flags))
            if here.size:
                raw[used][here] = _predict(booster, lesson, rows[here], flags)
        way.tell("calibration")
    return calibration.lines(raw, lesson.categories, lesson.enough[rows], lesson.defaulted[rows])


def _half_widths(
    draft: Scorer, lesson: Lesson, fitted: Rows, held: Rows, way: _Way
) -> dict[Categories, tuple[float, ...]]:
    """Half the 80 % interval of the points, by set of categories and step of the scale.

    From the spread of `twins`: models of half the trees at twice the rate, each on users drawn with
    replacement (Efron 1979). Features of held-out rows are read, their outcomes are not.
    """
    held = held[:: 1 + len(held) // MOST_ROWS_FOR_INTERVALS]
    lines = draft.manifest.calibration
    rows = {
        used: (flags, held[lessons.having(lesson, held, flags)])
        for used, flags in lessons.subsets(lesson).items()
        if used in lines
    }
    rows = {
        used: (flags, some) for used, (flags, some) in rows.items() if len(some) >= calibration.LEAST_ROWS
    }
    twins = _twins(lesson, fitted, way)
    raw = {
        used: np.array([_predict(twin, lesson, some, flags) for twin in twins])
        for used, (flags, some) in rows.items()
    }
    return {
        used: calibration.half_widths(_points(draft, lesson, some, flags), lines[used].slope * raw[used])
        for used, (flags, some) in rows.items()
    }


def _twins(lesson: Lesson, fitted: Rows, way: _Way) -> list[catboost.CatBoostClassifier]:
    recipe = replace(way.recipe, trees=1 + way.recipe.trees // 2, learning_rate=2 * way.recipe.learning_rate)
    random = np.random.default_rng(way.seed)
    people = lesson.user_of.max() + 1
    twins = []
    for number in range(recipe.twins):
        drawn = np.bincount(random.integers(people, size=people), minlength=people)
        again = np.repeat(fitted, drawn[lesson.user_of[fitted]])
        twins.append(_boost(lesson, again, replace(way, recipe=recipe, seed=way.seed + 1 + number)))
        way.tell("intervals")
    return twins


def _points(draft: Scorer, lesson: Lesson, rows: Rows, used: Flags) -> NDArray[np.int16]:
    """Points of rows of which only the `used` categories are shown."""
    return draft.evaluate_many(
        lesson.matrix.values[rows],
        {category: lesson.matrix.events[category][rows] for category in lesson.categories},
        {category: lesson.matrix.active_days[category][rows] for category in lesson.categories},
        np.broadcast_to(used, (len(rows), len(used))),
    ).points


def _cutoffs(draft: Scorer, lesson: Lesson, held: Rows) -> tuple[int, ...]:
    """Least points of bands A to D: fixed on the standard scale, else fifths of the held-out people."""
    if draft.manifest.scale is Scale.STANDARD:
        return policy.STANDARD_CUTOFFS
    points = _points(draft, lesson, held, np.ones(len(lesson.categories), np.bool_))
    answered = points[points != scorer.NO_ANSWER]
    if not answered.size:
        raise CannotTrain("no held-out row can be scored, so the product's bands have no cut-offs")
    return tuple(int(cutoff) for cutoff in np.quantile(answered, [0.8, 0.6, 0.4, 0.2]))


def _export(booster: catboost.CatBoostClassifier) -> tuple[bytes, bytes]:
    """Return the trees as canonical JSON and the model in CatBoost's own form, without what changes by run."""
    metadata = booster.get_metadata()
    for name in CHANGES_BY_RUN:
        del metadata[name]
    with tempfile.TemporaryDirectory() as scratch:
        as_json, native = Path(scratch) / manifest.TREES, Path(scratch) / manifest.CATBOOST
        booster.save_model(str(as_json), format="json")
        booster.save_model(str(native))
        exported = json.loads(as_json.read_bytes())
        kept = {name: exported[name] for name in KEPT_OF_EXPORT}
        return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode(), native.read_bytes()


def _made(matrix: Matrix, way: _Way) -> dict[str, str]:
    recipe = {f"recipe_{name}": str(value) for name, value in asdict(way.recipe).items()}
    return recipe | {
        "matrix": matrix.digest,
        "seed": str(way.seed),
        "threads": str(way.threads),
        "catboost": catboost.__version__,
    }
