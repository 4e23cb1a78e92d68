"""How a model in use does: what it ranked and promised, against what lenders reported."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compliance.canonical import Json
from scoring import evaluation
from scoring.evaluation import Flags, Floats, Measure
from scoring.governance.fairness import Labels
from scoring.policy import BANDS

LEAST_ROWS, LEAST_DEFAULTS = 100, 20
"""Published: fewer matured outcomes, or fewer defaults among them, are not judged."""
LEAST_DECIDED = 100
MOST_VINTAGES = 24
SEED = 20_261_128
HONOUR_DECIDED = ("kept", "worse_terms", "declined")
HONOUR = (*HONOUR_DECIDED, "undecided", "not_verified", "withdrawn", "too_late", "waiting")
"""What becomes of an application that somebody made upon a list; the first three are what the rate is of."""
INSUFFICIENT, AGREES, OUTSIDE = "insufficient_evidence", "agrees", "outside"


@dataclass(frozen=True, slots=True, eq=False)
class Issued:
    """Scores of one model as they were issued, a row each, and what lenders reported of them.

    `month` is the month of the lender's decision (YYYY-MM), empty while there is none. `matured`: approved, and
    observed for the model's horizon. `challenger` are another model's log-odds, NaN where it did not answer.
    """

    points: NDArray[np.int16]
    log_odds: Floats
    bands: Labels
    month: Labels
    approved: Flags
    matured: Flags
    defaulted: Flags
    challenger: Floats


def ranking(issued: Issued) -> dict[str, Json]:
    """AUC and KS on matured outcomes with their 95 % intervals, or that there are too few."""
    rows = issued.matured
    return _ranked(issued.log_odds[rows], issued.defaulted[rows])


def _ranked(risk: Floats, bad: Flags) -> dict[str, Json]:
    told: dict[str, Json] = {"rows": len(bad), "defaults": int(bad.sum()), "evidence": INSUFFICIENT}
    if len(bad) < LEAST_ROWS or not LEAST_DEFAULTS <= bad.sum() < len(bad):
        return told
    return told | {
        "evidence": "enough",
        "auc": _measured(evaluation.auc, risk, bad),
        "ks": _measured(evaluation.ks, risk, bad),
    }


def _measured(measure: Measure, risk: Floats, bad: Flags) -> Json:
    low, high = evaluation.bootstrap(measure, risk, bad, seed=SEED)
    return {"value": f"{measure(risk, bad):.4f}", "low": f"{low:.4f}", "high": f"{high:.4f}"}


def calibration(issued: Issued) -> list[Mapping[str, Json]]:
    """By band: what was expected of the matured and what happened, with a Wilson interval that should hold it."""
    told: list[Mapping[str, Json]] = []
    for band in BANDS:
        rows = issued.matured & (issued.bands == band)
        count, bad = int(rows.sum()), int(issued.defaulted[rows].sum())
        line: dict[str, Json] = {"band": band, "rows": count, "defaults": bad, "state": INSUFFICIENT}
        if count >= LEAST_ROWS:
            expected = float(evaluation.probability(issued.log_odds[rows]).mean())
            low, high = evaluation.wilson(bad, count)
            line |= {
                "state": AGREES if low <= expected <= high else OUTSIDE,
                "expected": f"{expected:.4f}",
                "observed": f"{bad / count:.4f}",
                "low": f"{low:.4f}",
                "high": f"{high:.4f}",
            }
        told.append(line)
    return told


def vintages(issued: Issued) -> list[Mapping[str, Json]]:
    """By month of the lender's decision, the newest months: approved, matured, defaults and their share."""
    months = [str(month) for month in np.unique(issued.month) if month][-MOST_VINTAGES:]
    return [_vintage(issued, month) for month in months]


def _vintage(issued: Issued, month: str) -> Mapping[str, Json]:
    decided = issued.month == month
    matured = decided & issued.matured
    bad, count = int(issued.defaulted[matured].sum()), int(matured.sum())
    counts: dict[str, Json] = {
        "month": month,
        "decided": int(decided.sum()),
        "approved": int((decided & issued.approved).sum()),
        "matured": count,
        "defaults": bad,
    }
    return counts | _share(bad, count, least=LEAST_ROWS)


def approvals(issued: Issued) -> list[Mapping[str, Json]]:
    """By band: how many of the decided the lenders approved."""
    told: list[Mapping[str, Json]] = []
    for band in BANDS:
        decided = (issued.month != "") & (issued.bands == band)
        count, approved = int(decided.sum()), int((decided & issued.approved).sum())
        counts: dict[str, Json] = {"band": band, "decided": count, "approved": approved}
        told.append(counts | _share(approved, count, least=LEAST_DECIDED))
    return told


def honoured(kept: int, approved: int) -> dict[str, Json]:
    """How many approvals came at no less than what was picked, with a Wilson interval; at least 100."""
    counts: dict[str, Json] = {"approved": approved, "kept": kept}
    return counts | _share(kept, approved, least=LEAST_DECIDED)


def honour_rate(counted: Mapping[str, int]) -> dict[str, Json]:
    """How many of a list's applications, decided in time, were approved at no worse limit and price; the rest apart.

    In the rate are those that were kept, that came at worse terms and that were declined; at least 100.
    """
    told: dict[str, Json] = {name: counted.get(name, 0) for name in HONOUR}
    kept, decided = counted.get("kept", 0), sum(counted.get(name, 0) for name in HONOUR_DECIDED)
    return told | {"decided": decided} | _share(kept, decided, least=LEAST_DECIDED)


def _share(hits: int, trials: int, *, least: int) -> dict[str, Json]:
    if trials < least:
        return {"evidence": INSUFFICIENT}
    low, high = evaluation.wilson(hits, trials)
    return {
        "evidence": "enough",
        "share": f"{hits / trials:.4f}",
        "low": f"{low:.4f}",
        "high": f"{high:.4f}",
    }


def comparison(issued: Issued) -> dict[str, Json]:
    """The challenger beside the champion, on the scores that both answered."""
    both = np.isfinite(issued.challenger)
    known = both & issued.matured
    told: dict[str, Json] = {"rows": int(both.sum()), "matured": int(known.sum())}
    bad = issued.defaulted[known]
    told["champion"] = _ranked(issued.log_odds[known], bad)
    told["challenger"] = _ranked(issued.challenger[known], bad)
    if told["challenger"]["evidence"] != "enough":  # type: ignore[index, call-overload]
        return told | {"evidence": INSUFFICIENT}
    return told | {"evidence": "enough", "difference": _difference(issued, known)}


def _difference(issued: Issued, known: Flags) -> Json:
    """The challenger's AUC less the champion's, on the same resampled rows."""
    rows, bad = np.flatnonzero(known), issued.defaulted

    def gained(risk: Floats, _: Flags) -> float:
        drawn = risk.astype(np.intp)
        challenger = evaluation.auc(issued.challenger[drawn], bad[drawn])
        return challenger - evaluation.auc(issued.log_odds[drawn], bad[drawn])

    return _measured(gained, rows.astype(np.float64), bad[rows])
