"""Train a model on consented behaviour, hiding categories at random so that refusing one is never evidence."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import catboost
import numpy as np
from numpy.typing import NDArray

from compliance.refusals import Refusal
from compliance.vocabulary import Categories
from scoring import boosting, calibration, card, deciles, example, lessons, manifest, policy, scorer, trees
from scoring import rows as matrix_rows
from scoring.boosting import STANDARD, Recipe, Way
from scoring.evaluation import Flags, Floats
from scoring.features import Matrix
from scoring.governance.fairness import Labels
from scoring.lessons import Lesson, Rows
from scoring.manifest import Line, Manifest
from scoring.policy import Scale
from scoring.scorer import Scorer

Progress = Callable[[str, float], None]

MOST_ROWS_FOR_INTERVALS = 5_000
LATER_SHARE = 0.3
KEPT_OF_EXPORT = ("features_info", "oblivious_trees", "scale_and_bias")
CHANGES_BY_RUN = ("model_guid", "train_finish_time")


class CannotTrain(Refusal):
    """The rows given cannot carry a model at all."""

    status, code, title = 422, "cannot_train", "These rows cannot carry a model"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A trained model as files; `digest` is the SHA-256 of the manifest, which holds the hash of each other."""

    digest: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class _Grown:
    """A model in memory with the files that hold its trees."""

    model: Scorer
    files: Mapping[str, bytes]


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
    groups: Mapping[str, Labels] = MappingProxyType({}),
    progress: Progress | None = None,
    learn_again: Flags | None = None,
) -> Artifact:
    """Train, calibrate, measure; the same rows, seed and threads give the same digest.

    `defaulted`, `fit` and `validate` are [row]; a row in neither is left out and counted. Outcomes of
    `validate` are read by the card and by nothing else, unless there are rows to `learn_again`: then one is grown
    from these in the same way, and the card is the first one's, as it says. `about` is recorded as it is.
    `invented` people hold the same features; one of them is kept with the model as its example. `groups` (see
    `card.write`) are compared on the card. Refuses `CannotTrain`.
    """
    lesson = lessons.prepare(matrix, defaulted)
    fitted = _rows(lesson, fit, validate)
    steps = recipe.folds + recipe.twins + 1
    way = Way(recipe, seed, threads, counter(progress, (1 + (learn_again is not None)) * steps + 1))
    measured_on = "itself" if learn_again is None else "first_70_30"
    told = {**about, **made(matrix, asdict(recipe), seed, threads), "measured_on": measured_on}
    grown = _grow(lesson, fitted, way, scale, horizon_days, told)
    measured = card.write(
        grown.model, matrix, defaulted, fit=fit, validate=validate, seed=seed, groups=groups
    )
    way.tell("card")
    if learn_again is not None:
        carried = scorer.may_carry(lesson.categories, lesson.enough)
        grown = _grow(lesson, np.flatnonzero(learn_again & carried), way, scale, horizon_days, told)
    files = {**grown.files, manifest.CARD: measured}
    chosen = example.choose(grown.model, invented) if invented else None
    return _bind(grown.model.manifest, files | ({manifest.EXAMPLE: chosen} if chosen else {}))


def _grow(
    lesson: Lesson, rows: Rows, way: Way, scale: Scale, horizon_days: int, about: Mapping[str, str]
) -> _Grown:
    """Grow one model from these rows: its size and its calibration from folds of people it has not seen."""
    unseen, enough = _cross_fit(lesson, rows, way)
    teacher = boosting.boost(lesson, rows, enough)
    booster = boosting.student(lesson, rows, teacher, enough)
    way.tell("model")
    held, bad = lesson.enough[rows], lesson.defaulted[rows]
    known = (lesson.categories, held, bad, _later(lesson, rows))
    found = calibration.calibrated(unseen, _raw(booster, lesson, rows), *known)
    of_teacher = calibration.calibrated(unseen, _raw(teacher, lesson, rows), *known)
    exported, native = _export(booster)
    stated = Manifest(
        inputs=lesson.inputs,
        calibration=found.lines,
        half_widths=dict.fromkeys(found.lines, (0.0,) * policy.STEPS),
        minimum=lesson.minimum,
        cutoffs=_cutoffs(scale, calibration.together(found.raw, found.lines, lesson.categories, held)),
        scale=scale,
        horizon_days=horizon_days,
        about={**about, "trees": str(booster.tree_count_), "teacher_trees": str(teacher.tree_count_)},
        files={},
    )
    draft = Scorer("draft", stated, trees.read(exported))
    stated = replace(stated, half_widths=_half_widths(draft, of_teacher.lines, lesson, rows, enough))
    files = {
        manifest.TREES: exported,
        manifest.CATBOOST: native,
        manifest.DECILES: deciles.write(lesson.matrix, rows),
    }
    return _Grown(Scorer("draft", stated, draft.trees), files)


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


def _rows(lesson: Lesson, fit: Flags, validate: Flags) -> Rows:
    """Rows to fit, of those that have enough data to be scored at all; refuses where there are too few, or to hold out."""
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
    return fitted


def counter(progress: Progress | None, steps: int) -> Callable[[str], None]:
    """Tell of each step as a share of all."""
    done = 0

    def tell(step: str) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(step, done / steps)

    return tell


def _cross_fit(lesson: Lesson, rows: Rows, way: Way) -> tuple[dict[Categories, Floats], Way]:
    """Raw log-odds [row] of every set of categories by models that had not seen the user, and how much these grew."""
    present, of = np.unique(lesson.user_of[rows], return_inverse=True)
    fold_of = np.random.default_rng(way.seed).permutation(len(present))[of] % way.recipe.folds
    boosters = []
    for fold in range(way.recipe.folds):
        boosters.append(boosting.boost(lesson, rows[fold_of != fold], way, rows[fold_of == fold]))
        way.tell("calibration")
    enough = boosting.grown_enough(boosters, way)
    raw = {used: np.full(len(rows), np.nan) for used in lessons.subsets(lesson)}
    for fold, booster in enumerate(boosters):
        here = np.flatnonzero(fold_of == fold)
        # All with the same number: the best one of each fold would be partly its luck.
        for used, said in _raw(booster, lesson, rows[here], enough.recipe.trees).items():
            raw[used][here] = said
    return raw, enough


def _raw(
    booster: catboost.CatBoostClassifier, lesson: Lesson, rows: Rows, trees: int = 0
) -> dict[Categories, Floats]:
    """Raw log-odds [row] of every set of categories, NaN where the row lacks enough data of it."""
    raw = {}
    for used, flags in lessons.subsets(lesson).items():
        raw[used] = np.full(len(rows), np.nan)
        having = lessons.having(lesson, rows, flags)
        if having.any():
            raw[used][having] = boosting.predict(booster, lesson, rows[having], flags, trees)
    return raw


def _later(lesson: Lesson, rows: Rows) -> Flags:
    """Which rows are of the later 30 % in time; none where there is only one time."""
    moments = np.array([cutoff.timestamp() for cutoff in lesson.matrix.cutoffs])[rows]
    return np.asarray(moments > np.quantile(moments, 1 - LATER_SHARE))


def _half_widths(
    draft: Scorer, lines: Mapping[Categories, Line], lesson: Lesson, rows: Rows, way: Way
) -> dict[Categories, tuple[float, ...]]:
    """Half the 80 % interval of the points, by set of categories and step of the scale.

    From the spread of the teacher's twins over people whom each of them has not seen; `lines` calibrate the teacher.
    """
    some = rows[:: 1 + len(rows) // MOST_ROWS_FOR_INTERVALS]
    subsets = lessons.subsets(lesson)
    having = {used: some[lessons.having(lesson, some, subsets[used])] for used in lines}
    having = {used: of for used, of in having.items() if len(of) >= calibration.LEAST_ROWS}
    raw: dict[Categories, list[Floats]] = {used: [] for used in having}
    for twin, unseen in boosting.twins(lesson, rows, way):
        for used, of in having.items():
            predicted = boosting.predict(twin, lesson, of, subsets[used])
            raw[used].append(np.where(unseen[lesson.user_of[of]], predicted, np.nan))
    return {
        used: calibration.half_widths(
            _points(draft, lesson, of, subsets[used]), lines[used].slope * np.array(raw[used])
        )
        for used, of in having.items()
    }


def _points(draft: Scorer, lesson: Lesson, rows: Rows, used: Flags) -> NDArray[np.int16]:
    """Points of rows of which only the `used` categories are shown."""
    return draft.evaluate_many(
        *matrix_rows.of(lesson.matrix, rows),
        np.broadcast_to(used, (len(rows), len(used))),
    ).points


def _cutoffs(scale: Scale, log_odds: Floats) -> tuple[int, ...]:
    """Least points of bands A to D: fixed on the standard scale, else fifths of people, each by models unlike theirs."""
    if scale is Scale.STANDARD:
        return policy.STANDARD_CUTOFFS
    known = log_odds[np.isfinite(log_odds)]
    if not known.size:
        raise CannotTrain("no row can be scored, so the product's bands have no cut-offs")
    points = [policy.points(each) for each in known.tolist()]
    return tuple(int(cutoff) for cutoff in np.quantile(points, [0.8, 0.6, 0.4, 0.2]))


def _export(booster: catboost.CatBoostClassifier) -> tuple[bytes, bytes]:
    """Return the trees as canonical JSON and the model in CatBoost's own form, without what changes by run."""
    metadata = booster.get_metadata()
    for name in list(metadata.keys()):
        if name.rpartition(":")[2] in CHANGES_BY_RUN:  # a student has its teacher's too
            del metadata[name]
    with tempfile.TemporaryDirectory() as scratch:
        as_json, native = Path(scratch) / manifest.TREES, Path(scratch) / manifest.CATBOOST
        booster.save_model(str(as_json), format="json")
        booster.save_model(str(native))
        return trees_of(as_json), native.read_bytes()


def trees_of(exported: Path) -> bytes:
    """The trees of CatBoost's JSON export as canonical JSON."""
    told = json.loads(exported.read_bytes())
    kept = {name: told[name] for name in KEPT_OF_EXPORT}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def made(matrix: Matrix, recipe: Mapping[str, object], seed: int, threads: int) -> dict[str, str]:
    """How a model was made, as text."""
    return {f"recipe_{name}": str(value) for name, value in recipe.items()} | {
        "matrix": matrix.digest,
        "seed": str(seed),
        "threads": str(threads),
        "catboost": catboost.__version__,
    }
