"""The groups that a research set names for checks of fairness; no model and no rule ever reads them."""

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np
import polars as pl

from scoring.behaviour import Behaviour
from scoring.behaviour_schema import ProfileColumn, Role
from scoring.governance import fairness
from scoring.governance.fairness import UNKNOWN, Labels


def of(behaviour: Behaviour, users: Sequence[str], at: Sequence[datetime]) -> dict[str, Labels]:
    """For each profile column with the role `fairness`, the label of each row; a date is taken for a date of birth.

    Columns of numbers name no groups and are left out, and so are those of more labels than are compared.
    """
    columns = [
        each for each in behaviour.schema.profiles if Role.FAIRNESS in each.roles and each.type != "float"
    ]
    asked = pl.DataFrame({"user": list(users)}, schema={"user": pl.String})
    found = asked.join(behaviour.profiles, on="user", how="left", maintain_order="left")
    labels = {each.name: _labels(each, found[each.name], at) for each in columns}
    return {name: each for name, each in labels.items() if len(np.unique(each)) <= fairness.GROUPS_MAX}


def _labels(column: ProfileColumn, values: pl.Series, at: Sequence[datetime]) -> Labels:
    if column.type == "date":
        return fairness.age_bands([_age(born, on) for born, on in zip(values, at, strict=True)])
    return np.array([UNKNOWN if value is None else str(value).lower() for value in values], np.str_)


def _age(born: date | None, on: datetime) -> int | None:
    """Age in whole years."""
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day)) if born else None
