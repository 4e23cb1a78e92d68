"""What is held about a person, table by table: what their deletion does with it, and why what stays may stay."""

from collections.abc import Sequence
from dataclasses import dataclass

# ruff: noqa: S608 - every word of these statements is of this code base, none is input
OWN = "user_id = $1"


@dataclass(frozen=True, slots=True)
class Holding:
    """One table. `statement` takes the person's id as `$1` and says which rows it changed, one row each.

    `at_once` statements run in the person's own act, behind their own wall; the others when the deletion is finished,
    with the platform's rights. `stays` says what is left in the table and why.
    """

    table: str
    statement: str | None
    at_once: bool
    stays: str | None


_held: dict[str, Holding] = {}


def _declare(holding: Holding) -> None:
    if holding.table in _held:
        raise RuntimeError(f"{holding.table} is declared twice")
    _held[holding.table] = holding


def deletes(
    table: str,
    where: str = OWN,
    *,
    at_once: bool = True,
    known_to: Sequence[str] = (),
    stays: str | None = None,
) -> None:
    """Declare that a person's rows go. `known_to`: columns of partners who are told `erased` where they ask for its id."""
    told = "".join(
        f"""told_{column} as (insert into consent_erased (id, partner)
            select id, {column} from gone where {column} is not null on conflict do nothing), """
        for column in known_to
    )
    columns = ", ".join(("id", *known_to)) if known_to else "1 as row"
    gone = f"gone as (delete from {table} where {where} returning {columns})"
    statement = f"with {gone}, {told}counted as (select 1 from gone) select 1 from counted"
    _declare(Holding(table, statement, at_once, stays))


def empties(table: str, changes: str, where: str = OWN, *, stays: str) -> None:
    """Declare that a person's rows stay without their content: `changes` is what SET takes."""
    statement = f"update {table} set {changes} where {where} returning 1"
    _declare(Holding(table, statement, at_once=True, stays=stays))


def keeps(table: str, stays: str) -> None:
    """Declare that a person's rows stay as they are, and why they may."""
    _declare(Holding(table, None, at_once=True, stays=stays))


def declared() -> list[Holding]:
    """Every table that holds something about a person; what refers to others comes before what it refers to."""
    return list(reversed(_held.values()))
