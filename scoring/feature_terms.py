"""The small language in which a feature says, readably and once, what it measures.

mean(loan_first_repaid_days_late.value)         a statistic of one kind of event
share(loan_first_repaid_days_late.value > 0)    of those beyond a bound
mean(loan_closed_after_days.value - loan.term_days)    loan.x: attribute x of the loan's opening
sum(payment.value) / sum(statement_balance.value)      of two statistics
count(order in 30 days) / count(order)          of a shorter window than the feature's own
share(order.hour < 6)                           hour: of the local day; weekday: 1 (Monday) to 7
deviation(order.gap)                            gap: days since the event of this kind before it
concentration(page_view.hour)                   the chance that two of them fall into one hour
distinct(page_view.page), distinct(*.name)      how many different texts, or names of events
active_days(*)                                  of all events of the feature's category
count("page view")                              a name that is not one word stands in quotes (JSON)
profile(credit_limit)                           a profile column; a date counts the days since
profile(employment_status) = "Permanent"        one value of it
asked(amount)                                   a term of the loan asked for
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

EXPRESSIONS_KEPT = 4_096
ANY = "*"
WORKED_OUT = frozenset({"hour", "weekday", "gap"})
"""What the engine works out of each event; an attribute of such a name is not read."""
OPENING = "loan_opened"
"""The event whose attributes `loan.x` reads, found by the attribute `loan` of the same user."""

TERM = re.compile(
    r'(?P<how>[a-z_]+)\((?P<event>\*|\w+|"(?:[^"\\]|\\.)+")'
    r"(?:\.(?P<take>\w+(?: [-/] \w+(?:\.\w+)?)?))?"
    r"(?: (?P<compare>>=|>|<) (?P<bound>-?\d+(?:\.\d+)?))?"
    r"(?: in (?P<within>[1-9]\d{0,2}) days)?\)"
)
TAKE = re.compile(r"(\w+)(?: ([-/]) (\w+(?:\.\w+)?))?")
VALUE_OF = re.compile(r'profile\((\w+)\) = (".*")', re.DOTALL)
BETWEEN = re.compile(r" ([-/]) ")


@dataclass(frozen=True, slots=True)
class Term:
    """One statistic.

    `take` is what of each event, `beyond` a comparison on it, e.g. (">", 0.0), `within` a window of its own in days.
    """

    how: str
    event: str
    take: str | None = None
    beyond: tuple[str, float] | None = None
    within: int | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """One term, or two and what stands between them; `equals` for one value of a profile column."""

    terms: tuple[Term, ...]
    between: str | None = None
    equals: str | None = None


@lru_cache(EXPRESSIONS_KEPT)
def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        ValueError: it is not one; the catalogue is ours, so this is a mistake in it.

    """
    if match := VALUE_OF.fullmatch(text):
        return Expression((Term("profile", match[1]),), equals=json.loads(match[2]))
    first = TERM.match(text)
    if first is None:
        raise ValueError(f"not a term: {text!r}")
    if first.end() == len(text):
        return Expression((_term(first),))
    between = BETWEEN.match(text, first.end())
    second = TERM.fullmatch(text, between.end()) if between else None
    if between is None or second is None:
        raise ValueError(f"not a term: {text!r}")
    return Expression((_term(first), _term(second)), between[1])


def _term(match: re.Match[str]) -> Term:
    if match["how"] not in {*STATISTICS, "profile", "asked"}:
        raise ValueError(f"not a term: {match[0]!r}")
    beyond = (match["compare"], float(match["bound"])) if match["compare"] else None
    within = int(match["within"]) if match["within"] else None
    event = json.loads(match["event"]) if match["event"].startswith('"') else match["event"]
    return Term(match["how"], event, match["take"], beyond, within)


def written(event: str) -> str:
    """Write the name of an event as it stands in a term."""
    return event if re.fullmatch(r"\w+", event) else json.dumps(event, ensure_ascii=False)


def column(term: Term) -> str:
    """Name the column in which `taken` stands ready for `statistic`."""
    return f"{'kind' if term.how in OF_KINDS else 'take'} {term.take}"


def taken(term: Term) -> pl.Expr:
    """Read what a term takes of each event: a number, or where only likeness counts the text as it is.

    What the engine works out of each event (`loan.x`, hour, weekday, gap) stands ready in a column of that name.
    """
    if term.how not in OF_KINDS:
        return _number(term.take or "")
    if term.take in {*WORKED_OUT, "name"}:
        return pl.col(str(term.take))
    return pl.col("attributes").str.json_path_match(f"$['{term.take}']")


def _number(take: str) -> pl.Expr:
    match = TAKE.fullmatch(take)
    if match is None:
        raise ValueError(f"not a part of an event: {take!r}")
    left = _operand(match[1])
    if match[2] is None:
        return left
    right = _operand(match[3])
    return left - right if match[2] == "-" else pl.when(right != 0).then(left / right)


def _operand(name: str) -> pl.Expr:
    if name in {"value", "count", *WORKED_OUT}:
        return pl.col(name).cast(pl.Float64)
    return pl.col(name) if "." in name else attribute(name)


def attribute(name: str) -> pl.Expr:
    """Read one attribute of an event as a number, null where it is absent or not one."""
    return pl.col("attributes").str.json_path_match(f"$['{name}']").cast(pl.Float64, strict=False)


def loan_attributes(terms: set[Term]) -> set[str]:
    """Name the attributes of loan openings that the terms look up."""
    return {name for term in terms for name in re.findall(r"loan\.(\w+)", term.take or "")}


def statistic(term: Term) -> pl.Expr:
    """Write a term as an aggregation over events in the order of time, each with `age_days` and `day`.

    What the term takes stands in the column named by `column`.
    """
    rows = pl.lit(value=True)
    if term.take is not None:
        of = pl.col(column(term))
        rows = of.is_not_null()
        if term.beyond is not None and term.how != "share":
            rows = rows & _beyond(of, term.beyond)
    return STATISTICS[term.how](term, rows)


def _of(rows: pl.Expr, name: str) -> pl.Expr:
    return pl.col(name).filter(rows)


def _beyond(of: pl.Expr, beyond: tuple[str, float]) -> pl.Expr:
    compare, bound = beyond
    return {">": of > bound, ">=": of >= bound, "<": of < bound}[compare]


def _share(term: Term, rows: pl.Expr) -> pl.Expr:
    if term.take is None or term.beyond is None:
        raise ValueError(f"a share needs a bound: {term}")
    return _beyond(_of(rows, column(term)), term.beyond).mean()


def _on_values(statistic: Callable[[pl.Expr], pl.Expr]) -> Callable[[Term, pl.Expr], pl.Expr]:
    def over(term: Term, rows: pl.Expr) -> pl.Expr:
        if term.take is None:
            raise ValueError(f"{term.how} needs to know of what: {term}")
        return statistic(_of(rows, column(term)))

    return over


def _concentration(of: pl.Expr) -> pl.Expr:
    """The chance that two of the events, drawn at random, are of one kind (Simpson 1949); none with fewer than two.

    Unlike the sum of squared shares it does not grow where there are few events. Of whole numbers, so that no order of
    adding shows in it.
    """
    times = of.unique_counts().cast(pl.Float64)
    pairs = times.sum() * (times.sum() - 1)
    return pl.when(pairs > 0).then((times * (times - 1)).sum() / pairs)


def _distinct(of: pl.Expr) -> pl.Expr:
    kinds = of.n_unique()
    return pl.when(kinds > 0).then(kinds)


def _mean_gap(_: Term, rows: pl.Expr) -> pl.Expr:
    age = _of(rows, "age_days")
    return pl.when(age.len() > 1).then((age.max() - age.min()) / (age.len() - 1))


STATISTICS: dict[str, Callable[[Term, pl.Expr], pl.Expr]] = {
    "count": lambda _, rows: _of(rows, "count").sum(),
    "active_days": lambda _, rows: _of(rows, "day").n_unique(),
    "days_since_last": lambda _, rows: _of(rows, "age_days").min(),
    "days_since_first": lambda _, rows: _of(rows, "age_days").max(),
    "mean_gap": _mean_gap,
    "share": _share,
    "sum": _on_values(lambda of: of.sum()),
    "mean": _on_values(lambda of: of.mean()),
    "deviation": _on_values(lambda of: of.std()),
    "max": _on_values(lambda of: of.max()),
    "min": _on_values(lambda of: of.min()),
    "first": _on_values(lambda of: of.first()),
    "last": _on_values(lambda of: of.last()),
    "previous": _on_values(lambda of: of.get(-2, null_on_oob=True)),
    "distinct": _on_values(_distinct),
    "concentration": _on_values(_concentration),
}
OF_KINDS = frozenset({"distinct", "concentration"})
"""Statistics for which only likeness counts."""
NOTHING_IS_ZERO = frozenset({"count", "active_days", "sum"})
"""With data of the category and none in the window these are 0; every other statistic has no value."""
