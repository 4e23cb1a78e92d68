"""How a model in use does: what it ranked and promised, against what lenders reported."""

from collections.abc import Mapping, Sequence
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
LEAST_COUNTED = 10
"""So many loans of a month and a band at least are added to what is counted for good: nobody stands alone in it."""
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
    observed for the model's horizon. `counted` rows are in cells already. `challenger` are another model's log-odds, NaN
    where it did not answer.
    """

    points: NDArray[np.int16]
    log_odds: Floats
    bands: Labels
    month: Labels
    approved: Flags
    matured: Flags
    defaulted: Flags
    counted: Flags
    challenger: Floats


@dataclass(frozen=True, slots=True)
class Cell:
    """Loans of a month and a band that were counted when they were seen through, while their consents were alive."""

    month: str
    band: str
    loans: int
    defaults: int
    expected: float
    """The sum of what their scores promised."""


def to_count(issued: Issued) -> list[tuple[Cell, Flags]]:
    """What can be counted for good now, with its rows: what is seen through, for each month and band ten or more."""
    found = []
    fresh = issued.matured & ~issued.counted
    for month in np.unique(issued.month[fresh]):
        for band in BANDS:
            rows = fresh & (issued.month == month) & (issued.bands == band)
            if rows.sum() >= LEAST_COUNTED:
                found.append((_cell(issued, rows, str(month), band), rows))
    return found


def _cell(issued: Issued, rows: Flags, month: str, band: str) -> Cell:
    expected = float(evaluation.probability(issued.log_odds[rows]).sum())
    return Cell(month, band, int(rows.sum()), int(issued.defaulted[rows].sum()), expected)


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


def calibration(issued: Issued, cells: Sequence[Cell]) -> list[Mapping[str, Json]]:
    """By band: what was expected of the matured and what happened, with a Wilson interval that should hold it.

    `cells` are what was counted before, `issued` adds what is not counted yet.
    """
    told: list[Mapping[str, Json]] = []
    for band in BANDS:
        fresh = _cell(issued, issued.matured & ~issued.counted & (issued.bands == band), "", band)
        whole = [fresh, *(cell for cell in cells if cell.band == band)]
        count, bad = sum(cell.loans for cell in whole), sum(cell.defaults for cell in whole)
        line: dict[str, Json] = {"band": band, "rows": count, "defaults": bad, "state": INSUFFICIENT}
        if count >= LEAST_ROWS:
            expected = sum(cell.expected for cell in whole) / count
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


def vintages(issued: Issued, cells: Sequence[Cell]) -> list[Mapping[str, Json]]:
    """By month of the lender's decision, the newest months: approved, matured, defaults and their share.

    `cells` are what was counted before, `issued` adds what is not counted yet.
    """
    months = {str(month) for month in issued.month if month} | {cell.month for cell in cells}
    return [_vintage(issued, cells, month) for month in sorted(months)[-MOST_VINTAGES:]]


def _vintage(issued: Issued, cells: Sequence[Cell], month: str) -> Mapping[str, Json]:
    decided = (issued.month == month) & ~issued.counted
    matured = decided & issued.matured
    known = sum(cell.loans for cell in cells if cell.month == month)
    count = known + int(matured.sum())
    bad = sum(cell.defaults for cell in cells if cell.month == month) + int(issued.defaulted[matured].sum())
    counts: dict[str, Json] = {
        "month": month,
        "decided": known + int(decided.sum()),
        "approved": known + int((decided & issued.approved).sum()),
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
