"""What is held about a person, table by table: what their copy shows of it, what their deletion does with it, what may stay."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from compliance.act import Act
from compliance.vocabulary import UserId

# ruff: noqa: S608 - every word of these statements is of this code base, none is input
OWN = "user_id = $1"
Forgetting = Callable[[Act, Sequence[UserId]], Awaitable[None]]


class StillHeld(Exception):
    """Files hold some people still, because somebody else works on them: it is tried again."""

    def __init__(self, users: Collection[UserId]) -> None:
        super().__init__(f"{len(users)} people are in files that others work on")
        self.users = frozenset(users)


@dataclass(frozen=True, slots=True)
class Holding:
    """One table; `where` finds a person's rows, their id being `$1`.

    `part` is what the table is called in their copy, and `prefix` the one of its public ids; no part: it says nothing
    that the copy does not show elsewhere. `statement` deletes or empties the rows and answers one row for each.
    `locked`: the rows are locked before anything is deleted, so that nothing is added to them meanwhile.
    `at_once` statements run in the person's own act, behind their own wall; the others when the deletion is finished,
    with the platform's rights. `stays` says what is left in the table and why.
    """

    table: str
    where: str
    part: str | None
    prefix: str | None
    statement: str | None
    at_once: bool
    stays: str | None
    locked: bool = False

    @property
    def lock(self) -> str:
        """The statement that locks a person's rows until the act ends."""
        return f"select 1 from {self.table} where {self.where} for no key update"

    @property
    def rows(self) -> str:
        """The statement that reads a person's rows as JSON, at most `$2` of them."""
        return f"select to_jsonb(t)::text as line from {self.table} t where {self.where} order by 1 limit $2"


_held: dict[str, Holding] = {}


def _declare(holding: Holding) -> None:
    if holding.table in _held:
        raise RuntimeError(f"{holding.table} is declared twice")
    _held[holding.table] = holding


def deletes(
    table: str,
    where: str = OWN,
    *,
    part: str | None,
    prefix: str | None = None,
    at_once: bool = True,
    known_to: Sequence[str] = (),
    but: str = "true",
    stays: str | None = None,
    locked: bool = False,
) -> None:
    """Declare that a person's rows go, but for those that `but` excepts.

    `known_to`: columns of partners who are told `erased` where they ask for a row by its id.
    """
    told = "".join(
        f"""told_{column} as (insert into consent_erased (id, partner)
            select id, {column} from gone where {column} is not null on conflict do nothing), """
        for column in known_to
    )
    columns = ", ".join(("id", *known_to)) if known_to else "1 as row"
    gone = f"gone as (delete from {table} where {where} and {but} returning {columns})"
    statement = f"with {gone}, {told}counted as (select 1 from gone) select 1 from counted"
    _declare(Holding(table, where, part, prefix, statement, at_once, stays, locked))


def empties(
    table: str, changes: str, where: str = OWN, *, part: str, prefix: str | None = None, stays: str
) -> None:
    """Declare that a person's rows stay without their content: `changes` is what SET takes."""
    statement = f"update {table} set {changes}, erased_at = clock_timestamp() where {where} and erased_at is null returning 1"
    _declare(Holding(table, where, part, prefix, statement, at_once=True, stays=stays, locked=True))


def keeps(table: str, stays: str, where: str = OWN, *, part: str | None, prefix: str | None = None) -> None:
    """Declare that a person's rows stay as they are, and why they may."""
    _declare(Holding(table, where, part, prefix, None, at_once=True, stays=stays))


@dataclass(frozen=True, slots=True)
class Filed:
    """Files that hold something about people, outside the database.

    `part` is what they are called in a person's copy (`copies.adds` declares how it is read). `forget` writes them anew
    without some people, when the deletion is finished; it may be called twice. It raises `StillHeld` with those whom it
    could not take out, after it did the others.
    """

    name: str
    part: str
    forget: Forgetting


_filed: dict[str, Filed] = {}


def files(name: str, *, part: str) -> Callable[[Forgetting], Forgetting]:
    """Declare files that hold something about people, by what takes people out of them."""

    def declare(forget: Forgetting) -> Forgetting:
        if name in _filed:
            raise RuntimeError(f"{name} is declared twice")
        _filed[name] = Filed(name, part, forget)
        return forget

    return declare


def filed() -> list[Filed]:
    """Everything about people that lies in files."""
    return list(_filed.values())


def declared() -> list[Holding]:
    """Every table that holds something about a person; what refers to others comes before what it refers to."""
    return list(reversed(_held.values()))
