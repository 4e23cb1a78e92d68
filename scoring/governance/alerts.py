"""Which figures of a day's report stand against the model in use, and which of them are news."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compliance.canonical import Json
from scoring.governance import fairness
from scoring.governance.drift import Drift
from scoring.governance.performance import OUTSIDE

RANKS_LIKE_CHANCE = 0.5
Figures = Mapping[str, Json]
Standing = Mapping[str, Figures]
"""Alerts by their code, `<code>` or `<code>:<what it is about>`, each with its figures."""


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began, or one that is over; `figures` are those of the day."""

    alert: str
    raised: bool
    figures: Figures


def standing(report: Mapping[str, Any]) -> dict[str, Figures]:
    """The alerts of a report. What has too little evidence raises none."""
    found: dict[str, Figures] = {}
    stability = report["stability"]
    if stability["state"] == Drift.RED:
        found["points_drifted"] = {"psi": stability["psi"]}
    for each in report["inputs"]:
        if each["state"] == Drift.RED:
            found[f"input_drifted:{each['name']}"] = {"csi": each["csi"]}
    for line in report["calibration"]:
        if line["state"] == OUTSIDE:
            figures = {name: line[name] for name in ("expected", "observed", "low", "high")}
            found[f"calibration_off:{line['band']}"] = figures
    ranking = report["ranking"]
    if ranking["evidence"] == "enough" and float(ranking["auc"]["low"]) <= RANKS_LIKE_CHANCE:
        found["ranks_like_chance"] = {"auc": ranking["auc"]["value"], "low": ranking["auc"]["low"]}
    for column, groups in report["groups"].items():
        for each in groups:
            if fairness.is_red({column: [each]}):
                figures = {name: each[name] for name in ("ratio", "low", "high")}
                found[f"group_worse_off:{column}={each['group']}"] = figures
    return found


def changes(before: Standing, now: Standing) -> list[Change]:
    """What is news: alerts that were not there, and alerts that are gone; what goes on is told once."""
    raised = [Change(alert, raised=True, figures=now[alert]) for alert in sorted(now) if alert not in before]
    over = [Change(alert, raised=False, figures={}) for alert in sorted(before) if alert not in now]
    return raised + over
