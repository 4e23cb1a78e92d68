"""What sharing can change, before anybody decides: on an invented person, or on one's own data with its own consent."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from compliance import ids
from compliance.act import Act, Upkeep, View
from compliance.refusals import NotFound
from compliance.vocabulary import (
    OPERATOR,
    Categories,
    Category,
    GrantId,
    Language,
    Person,
    Purpose,
    UserId,
)
from consent import grants, permits
from consent.grants import Ask
from consent.permits import Permit
from scoring import companions, leaving_off, population, registry, release, set_changes
from scoring.answers import hints
from scoring.answers.hints import Hint
from scoring.leaving_off import Line
from scoring.manifest import ModelAltered
from scoring.population import Held
from scoring.registry import InUse, NoModel
from scoring.release import Released
from scoring.tables import PreviewRow

PURPOSE = Purpose.SELF_VIEW
SCORED: frozenset[Purpose] = frozenset({Purpose.CREDIT_ASSESSMENT, Purpose.PRESCREEN, PURPOSE})
"""The purposes for which the model in use works out an answer."""
PERIOD_DAYS = 90
SHOWN_MAX = 5
EXAMPLES_MAX = 512
"""As many as there are sets of categories."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a person sees of their own data: what leaving each part off changes, and what would help."""

    held: Held
    lines: tuple[Line, ...]
    hints: tuple[Hint, ...]


async def on_example(at: Act | View, asked: Categories) -> tuple[Line, ...]:
    """The result of the invented person with everything asked for, then without each part; nothing without a model.

    Reads nobody's data.
    """
    try:
        return _on_example((await registry.champion(at)).digest, asked)
    except (NoModel, ModelAltered):  # a person can answer a request all the same
        return ()


@lru_cache(maxsize=EXAMPLES_MAX)
def _on_example(model: str, asked: Categories) -> tuple[Line, ...]:
    """Worked out once for each model and request: the invented person never changes."""
    example = companions.invented_person(model)
    if example is None:
        return ()
    return leaving_off.lines(registry.scorer(model), example.values, example.evidence, asked)


async def possible(at: Act | View) -> bool:
    """Whether a preview could be worked out now: without a model or a lawful channel nobody is asked to agree."""
    try:
        await registry.champion(at)
    except NoModel:
        return False
    return await release.is_open(at, OPERATOR, None)


def ask(user: UserId, categories: Categories) -> Ask:
    """What a person agrees to who wants to see it on their own data: with the operator, and with nobody else."""
    return Ask(
        recipient=OPERATOR,
        bureau=None,
        user=user,
        purpose=PURPOSE,
        categories=categories,
        period_days=PERIOD_DAYS,
        data_life_days=PERIOD_DAYS,
        calls_per_month=grants.TEMPLATES[PURPOSE].calls_per_month_max,
        channel="portal",
    )


async def give(
    act: Act, categories: Categories, language: Language, *, offered: Categories, shown: str
) -> None:
    """The person gives the consent, to the notice whose hash was `shown`; no bank learns of it."""
    user = grants.acting_person(act).user
    await grants.give(act, ask(user, categories), language, offered=offered, shown=shown)


async def work_out(act: Act, wanted: Categories) -> Released[tuple[Line, ...]]:
    """Score the person for themselves, with all that they allowed of what is wanted, and without each part of it.

    Needs their own consent to the operator, counts against its calls of the month, and leaves through the release
    gate like any evaluation. Two different choices of data in 90 days are the most (`SetChangedTooOften`). Records
    `preview_made`, without the result.
    """
    user = _oneself(act)
    permitted = await permits.permit(act, user, PURPOSE, wanted)
    await set_changes.refuse_third_set(act, permitted)
    model = await registry.champion(act)
    scorer = registry.scorer(model.digest)

    async def evaluate() -> Seen:
        held = await population.read(act, permitted, scorer)
        shared, spread = permitted.categories, companions.spread(model.digest)
        return Seen(
            held,
            leaving_off.lines(scorer, held.values, held.evidence, shared),
            hints.hints(scorer, spread, held.values, held.evidence, shared),
        )

    released = await release.release_evaluation(act, permitted, evaluate)
    await _keep(act, permitted, model, released)
    return released.as_kept(released.value.lines)


async def _keep(act: Act, permitted: Permit, model: InUse, released: Released[Seen]) -> None:
    held = released.value.held
    life = (await grants.find(act, permitted.grant)).data_life_days
    await PreviewRow.create(
        id=ids.ordered_id(),
        user_id=permitted.user,
        grant_id=permitted.grant,
        model=model.id,
        lines=[asdict(line) for line in released.value.lines],
        hints=[asdict(hint) for hint in released.value.hints],
        snapshot=held.snapshot,
        permit_digest=permitted.digest,
        made_at=act.now,
        keep_until=act.now + timedelta(days=life),
        using_db=act.db,
    )
    act.record(
        "preview_made",
        {
            "model": model.digest,
            "snapshot": held.snapshot,
            "permit": permitted.digest,
            "channel": released.channel,
            "used": sorted(permitted.categories),
        },
        person=permitted.user,
        grant=permitted.grant,
    )


async def mine(view: View, user: UserId, grant: GrantId) -> list[tuple[PreviewRow, tuple[Line, ...]]]:
    """What was worked out under this consent and is still kept, newest first."""
    kept = PreviewRow.filter(user_id=user, grant_id=grant, keep_until__gt=view.now)
    rows = await kept.using_db(view.db).order_by("-id").limit(SHOWN_MAX)
    return [(row, tuple(_line(told) for told in row.lines)) for row in rows]


def helps(row: PreviewRow, language: Language) -> tuple[tuple[int, str], ...]:
    """What would have raised a result, in words: pairs of the points and the text."""
    return tuple(
        (told["points"], hints.words(told["code"], (move["feature"] for move in told["moves"]), language))
        for told in row.hints
    )


def _line(told: Mapping[str, Any]) -> Line:
    left_off = told["left_off"]
    return Line(Category(left_off) if left_off else None, told["points"], told["band"])


def _oneself(act: Act) -> UserId:
    if not isinstance(act.principal, Person):
        raise NotFound
    act.concern(act.principal.user, None)
    return act.principal.user


async def forget_old(upkeep: Upkeep) -> None:
    """Delete what was kept for as long as was agreed."""
    await upkeep.db.execute_query("delete from scoring_preview where keep_until <= $1", [upkeep.now])
