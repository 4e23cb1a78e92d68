"""People as an operator brings them: who is new, who is known, who is set aside with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from compliance.act import Act
from consent import people
from consent.people import NewPerson
from consent.permits import BUSINESS_ZONE
from scoring import behaviour
from scoring.behaviour_files import LINE
from scoring.store import incoming
from scoring.store.incoming import Fault

AGE_MAX = 120
"""In years, counted from a new year: nobody is older, and an older date stands for one that nobody knew."""


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of people who were brought.

    `accepted` are new, `completed` were known without a birth date, `quarantined` were set aside, each with its fault.
    """

    accepted: int
    completed: int
    duplicate: int
    quarantined: tuple[Fault, ...]


async def receive(act: Act, cells: pl.DataFrame, *, fictional: bool) -> Brought:
    """Register people whom an operator brings, each once; `cells` are as they came (`behaviour.people_of`).

    A birth date that is known is never replaced: whoever comes with another is set aside. Records `people_brought`, and
    `birth_dates_added` where some were known without one.
    """
    good, faults = _sorted_out(cells, act.now.astimezone(BUSINESS_ZONE).date())
    known = await people.births(act, good["user"].unique().to_list())
    new, completed, other = _told_apart(good, known)
    await people.bring(act, [NewPerson(user, born_on, fictional) for user, born_on in new.items()])
    if completed:
        await people.add_births(act, completed)
    faults += other
    kept = len(new) + len(completed)
    return Brought(
        accepted=len(new),
        completed=len(completed),
        duplicate=cells.height - len(faults) - kept,
        quarantined=tuple(sorted(faults, key=lambda fault: fault.line)),
    )


def _sorted_out(cells: pl.DataFrame, today: date) -> tuple[pl.DataFrame, list[Fault]]:
    """Part people into those that can be registered, as far as they say it themselves, and the faults of the others."""
    born_on, oldest = pl.col("born_on"), date(today.year - AGE_MAX, 1, 1)
    return incoming.parted(
        *behaviour.checked_people(cells),
        ("born_on", "in_future", born_on > today),
        ("born_on", "date_out_of_range", born_on < oldest),
    )


def _told_apart(
    good: pl.DataFrame, known: Mapping[str, date | None]
) -> tuple[dict[str, date | None], dict[str, date], list[Fault]]:
    """Who is new, who gets a birth date, and who comes with another than the one that we have or that came first."""
    born = dict(known)
    new: dict[str, date | None] = {}
    completed: dict[str, date] = {}
    other = []
    for line, user, born_on in good.select(LINE, "user", "born_on").iter_rows():
        if user not in born:
            new[user] = born[user] = born_on
        elif born_on is None or born_on == born[user]:
            continue
        elif born[user] is not None:
            other.append(Fault(line, "born_on", "other_birth_date"))
        elif user in new:
            new[user] = born[user] = born_on
        else:
            completed[user] = born[user] = born_on
    return new, completed, other
