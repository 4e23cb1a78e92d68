"""/compliance/models and /compliance/monitoring: the register of models, the card of each, and how the one in use does."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from api import model_steps
from api.access import AnyRequest, principal_of, request_act, request_view, staff
from api.web import forms, page
from compliance.vocabulary import Staff, StaffRole
from partners import monitoring
from scoring import kinds, registry
from scoring.answers import income_card
from scoring.governance import drift, fairness
from scoring.policy import HIGHEST_POINTS, LOWEST_POINTS

READING = (StaffRole.COMPLIANCE_OFFICER, StaffRole.AUDITOR, StaffRole.RISK_OFFICER)
DECIDING = (StaffRole.COMPLIANCE_OFFICER, StaffRole.RISK_OFFICER)
INPUTS_SHOWN = 15


@get("/compliance/models", opt=staff(*READING), include_in_schema=False)
async def models(request: AnyRequest) -> Response[str]:
    """Every registered model, the newest first."""
    async with request_view(request) as view:
        rows = await registry.everything(view)
    return page.show(request, "models.html", rows=rows)


@get("/compliance/models/{digest:str}", opt=staff(*READING), include_in_schema=False)
async def model(request: AnyRequest, digest: FromPath[str]) -> Response[str]:
    """The card of a model, drawn, with what stands against it and the steps that the reader may take."""
    async with request_view(request) as view:
        row = await registry.find(view, digest)
    caller = principal_of(request)
    steps = model_steps.open_to(row.state, caller.role) if isinstance(caller, Staff) else []
    points = row.card.get("points", {})
    return page.show(
        request,
        "model_income.html" if row.product == kinds.INCOME else "model.html",
        row=row,
        card=row.card,
        slices=[(name, told) for name, told in row.card["slices"].items()],
        against=registry.obstacles(row),
        steps=steps,
        measures=income_card.MEASURES,
        tenths=row.card.get("calibration", []),
        points=_shares(points.get("earlier"), points.get("later")),
        groups=row.card.get("fairness", {}),
        four_fifths=fairness.FOUR_FIFTHS,
        least_rows=fairness.LEAST_ROWS,
    )


@post(
    "/compliance/models/{digest:str}/{step:str}",
    opt=staff(*DECIDING),
    include_in_schema=False,
    status_code=303,
)
async def take_step(request: AnyRequest, digest: FromPath[str], step: FromPath[str]) -> Redirect:
    """Validate, approve, put in use, shadow, retire or roll back, in the reader's own name."""
    await forms.read(request)
    async with request_act(request) as act:
        await model_steps.take(act, step, digest)
    return page.go(request, f"/compliance/models/{digest}")


@get("/compliance/monitoring", opt=staff(*READING), include_in_schema=False)
async def watched(request: AnyRequest) -> Response[str]:
    """The last day's figures about the model in use; counts and shares, nobody's data."""
    async with request_view(request) as view:
        made = await monitoring.newest(view)
    figures = made.figures if made else {}
    stability = figures.get("stability", {})
    return page.show(
        request,
        "monitoring.html",
        made=made,
        told=figures,
        points=_shares(stability.get("then"), stability.get("now")),
        inputs=figures.get("inputs", [])[:INPUTS_SHOWN],
        inputs_count=len(figures.get("inputs", [])),
        bands=[each for each in figures.get("calibration", []) if "expected" in each],
        four_fifths=fairness.FOUR_FIFTHS,
        least_rows=fairness.LEAST_ROWS,
    )


def _shares(
    then: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> Sequence[tuple[str, float, float]]:
    """For each bin of the points, from the lowest that is filled to the highest: its name, and its share of either population."""
    if not then or not now:
        return []
    one, other = drift.decode(then), drift.decode(now)
    edges = [LOWEST_POINTS, *(int(edge) for edge in one.edges), HIGHEST_POINTS + 1]
    names = [f"{low}–{high - 1}" for low, high in pairwise(edges)]
    bins = [
        (name, a / max(one.rows, 1), b / max(other.rows, 1))
        for name, a, b in zip(names, one.counts, other.counts, strict=True)
    ]
    filled = [place for place, (_, a, b) in enumerate(bins) if a or b]
    return bins[filled[0] : filled[-1] + 1] if filled else []


routes = [models, model, take_step, watched]
