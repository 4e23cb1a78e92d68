"""Grow the trees of one model, on rows whose categories are hidden at random, and no more of them than help."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import catboost
import numpy as np

from scoring import lessons
from scoring.evaluation import Flags, Floats
from scoring.lessons import Lesson, Rows

WORTHLESS_TREES = 60
"""So many trees in a row that do not help people the model has not seen, and it has grown enough."""
LEAST_TREES = 20
LEAF_PENALTY, SEEN_ROWS = 20.0, 0.7
LEAST_SEEN_SHARE, SEEN_COLUMNS = 0.3, 12
"""Each split chooses among a third of the columns, each tree among some of the rows: steadier, and quicker."""
LOSS = "CrossEntropy"
"""Of an outcome it is the log loss, of a probability what a student learns by."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How much is grown.

    At most `trees` on `copies` of each row with other categories hidden; where there is anything to hide a student of
    so many trees more, from copies of its own; `twins` for intervals. What a teacher says has no chance in it: a student
    may learn it fast and almost unpenalised.
    """

    trees: int = 1_500
    depth: int = 5
    learning_rate: float = 0.03
    student_trees: int = 300
    student_copies: int = 6
    student_rate: float = 0.15
    student_penalty: float = 3.0
    copies: int = 3
    folds: int = 5
    twins: int = 8


STANDARD = Recipe()
MANY_ROWS, OF_MANY = 30_000, Recipe(trees=800, learning_rate=0.06, copies=2, folds=3, twins=4)
"""With so many rows a faster recipe loses nothing that could be measured."""


def recipe_for(rows: int) -> Recipe:
    """How much is grown from so many rows."""
    return STANDARD if rows < MANY_ROWS else OF_MANY


@dataclass(frozen=True, slots=True)
class Way:
    """How boosters are grown, and who is told of each step."""

    recipe: Recipe
    seed: int
    threads: int
    tell: Callable[[str], None]


def boost(lesson: Lesson, rows: Rows, way: Way, watched: Rows | None = None) -> catboost.CatBoostClassifier:
    """Grow oblivious trees on the rows, each also with categories hidden at random.

    With `watched` rows growing stops when trees no longer help these. No monotone constraint is set: every category
    can be hidden, CatBoost reads a hidden value as the smallest, and a constraint would make hiding it the best or
    the worst there is. The card reports instead how often the trees run against a feature's stated direction.
    """
    booster = _booster(lesson, way, LEAF_PENALTY)
    copies, outcomes = way.recipe.copies, lesson.defaulted
    learned = _pool(lesson, rows, outcomes, copies, way)
    if watched is None:
        return booster.fit(learned)
    return booster.fit(
        learned,
        eval_set=_pool(lesson, watched, outcomes, copies, way),
        early_stopping_rounds=WORTHLESS_TREES,
        use_best_model=False,
    )


def student(
    lesson: Lesson, rows: Rows, teacher: catboost.CatBoostClassifier, way: Way
) -> catboost.CatBoostClassifier:
    """Let a teacher grow on until it says of each row, whatever of it is hidden, what it said of all that the row holds.

    Distillation (Bucila, Caruana, Niculescu-Mizil 2006). An outcome is one of two; the teacher's probability has no
    such noise, so that even what a single category tells is learnt to its ends: the mean of what a set says is the
    mean of what everything says. Of everything the student says what its teacher does. With one category there is
    nothing to hide and the teacher is the model.
    """
    if len(lesson.categories) == 1:
        return teacher
    said = np.zeros(len(lesson.defaulted))
    whole = np.asfortranarray(lessons.shown(lesson, rows, lesson.enough[rows]))
    said[rows] = teacher.predict_proba(whole)[:, 1]
    recipe = way.recipe
    grown = replace(
        way, recipe=replace(recipe, trees=recipe.student_trees, learning_rate=recipe.student_rate)
    )
    booster = _booster(lesson, grown, recipe.student_penalty)
    learned = _pool(lesson, rows, said, recipe.student_copies, way, sizes_alike=True)
    return booster.fit(learned, init_model=teacher)


def _booster(lesson: Lesson, way: Way, penalty: float) -> catboost.CatBoostClassifier:
    return catboost.CatBoostClassifier(
        iterations=way.recipe.trees,
        depth=way.recipe.depth,
        learning_rate=way.recipe.learning_rate,
        l2_leaf_reg=penalty,
        rsm=min(1.0, max(LEAST_SEEN_SHARE, SEEN_COLUMNS / len(lesson.inputs))),
        bootstrap_type="Bernoulli",
        subsample=SEEN_ROWS,
        loss_function=LOSS,
        boosting_type="Plain",
        grow_policy="SymmetricTree",
        nan_mode="Min",
        random_seed=way.seed,
        thread_count=way.threads,
        allow_writing_files=False,
        verbose=False,
    )


def _pool(
    lesson: Lesson, rows: Rows, target: Flags | Floats, copies: int, way: Way, *, sizes_alike: bool = False
) -> catboost.Pool:
    """Copies of the rows (`lessons.copies`), each with its row's `target` [row of the lesson]."""
    random = np.random.default_rng(way.seed)
    shown, source = lessons.copies(lesson, rows, copies, random, sizes_alike=sizes_alike)
    values = np.asfortranarray(lessons.shown(lesson, source, shown))
    return catboost.Pool(values, target[source].astype(np.float32))


def predict(
    booster: catboost.CatBoostClassifier, lesson: Lesson, rows: Rows, used: Flags, trees: int = 0
) -> Floats:
    """Raw log-odds of rows of which only the `used` categories are shown, by its first `trees` or all of them."""
    values = np.asfortranarray(lessons.shown(lesson, rows, np.broadcast_to(used, (len(rows), len(used)))))
    last = min(trees, booster.tree_count_)
    return np.asarray(booster.predict(values, prediction_type="RawFormulaVal", ntree_end=last), np.float64)


def grown_enough(boosters: list[catboost.CatBoostClassifier], way: Way) -> Way:
    """The same way with as many trees as helped, on average, people whom the boosters had not seen."""
    helped = round(float(np.mean([1 + booster.get_best_iteration() for booster in boosters])))
    return replace(way, recipe=replace(way.recipe, trees=min(max(helped, LEAST_TREES), way.recipe.trees)))


def twins(lesson: Lesson, rows: Rows, way: Way) -> list[tuple[catboost.CatBoostClassifier, Flags]]:
    """Models of half the trees at twice the rate, each on users drawn with replacement (Efron 1979).

    Beside each stands which users [user] it has not seen.
    """
    recipe = replace(way.recipe, trees=1 + way.recipe.trees // 2, learning_rate=2 * way.recipe.learning_rate)
    random = np.random.default_rng(way.seed)
    people = lesson.user_of.max() + 1
    made = []
    for number in range(recipe.twins):
        drawn = np.bincount(random.integers(people, size=people), minlength=people)
        again = np.repeat(rows, drawn[lesson.user_of[rows]])
        made.append(
            (boost(lesson, again, replace(way, recipe=recipe, seed=way.seed + 1 + number)), drawn == 0)
        )
        way.tell("intervals")
    return made
