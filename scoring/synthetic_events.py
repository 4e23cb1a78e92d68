"""What invented people did: sessions, page views, orders and loans, each line written after it happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from compliance.vocabulary import Category
from scoring import synthetic_people
from scoring.synthetic_people import Numbers, People, normal_rank, share, shown

ZONE = ZoneInfo("Asia/Shanghai")
LOG_DAYS = 120
"""Device and app logs exist for this long before the decision and before the cut-off, as under a retention rule."""
HISTORY_DAYS = 540
"""Orders and loans go back this far before the decision."""
MONTH_DAYS = 30
LOANS_PER_YEAR = 2.0
DAILY_INTEREST = 0.0005
NIGHT_SHARE = sum(synthetic_people.shares("hour_of_use").values())
MICROSECONDS = 86_400_000_000

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shard:
    """Some people with their names, how many days before the cut-off a lender decided, and random streams by topic."""

    users: pl.Series
    people: People
    decided_days: Numbers
    streams: Mapping[str, np.random.Generator]
    cutoff: datetime


def moments(cutoff: datetime, days_before: Numbers) -> pl.Series:
    """Turn days before the cut-off into moments (UTC, microseconds)."""
    end = np.datetime64(cutoff.astimezone(UTC).replace(tzinfo=None), "us")
    back = (days_before * MICROSECONDS).astype(np.int64).astype("timedelta64[us]")
    return pl.Series(end - back).dt.replace_time_zone("UTC")


def draw(shard: Shard) -> pl.DataFrame:
    """Draw everybody's events; the column `person` is the place in the shard."""
    return pl.concat([*_device(shard), *_app(shard), *_shopping(shard), *_credit(shard)])


def _device(shard: Shard) -> list[pl.DataFrame]:
    rng, traits = shard.streams["device"], shard.people.traits
    active = 0.1 + 0.5 * normal_rank(shown(rng, traits, "device_days"))
    person, days = log_days(shard, rng, active)
    evenness = shown(rng, traits, "device_evenness")[person]
    # An uneven user has quiet and loud days of the same mean.
    loudness = np.exp(np.exp(-0.5 - 0.3 * evenness) * rng.standard_normal(len(person)))
    sessions = 1 + rng.poisson(4 * loudness)
    base = np.log(NIGHT_SHARE / (1 - NIGHT_SHARE))
    at_night = 1 / (1 + np.exp(-(base + 0.6 * shown(rng, traits, "night_use"))))
    return [
        table(
            shard,
            (Category.DEVICE_USAGE, "session"),
            person,
            days,
            value=np.round(sessions * rng.gamma(2, 4, len(person)), 1),
            count=sessions,
            attributes={"night": rng.binomial(sessions, at_night[person])},
        )
    ]


def _app(shard: Shard) -> list[pl.DataFrame]:
    rng, traits = shard.streams["app"], shard.people.traits
    use = normal_rank(shown(rng, traits, "app_use"))
    days_a_month = synthetic_people.at_quantile("page_view_days_per_month", use)
    views_a_day = synthetic_people.at_quantile("page_views_per_month", use) / days_a_month
    active = np.where(use < share("without_app"), 0, np.minimum(days_a_month / MONTH_DAYS, 1))
    person, days = log_days(shard, rng, active)
    views = 1 + rng.poisson(views_a_day[person])
    checks = rng.uniform(size=len(person)) < 0.3 * normal_rank(shown(rng, traits, "bill_checks"))[person]
    return [
        table(shard, (Category.APP_ACTIVITY, "page_view"), person, days, count=views),
        table(shard, (Category.APP_ACTIVITY, "bill_check"), person[checks], days[checks]),
    ]


def _shopping(shard: Shard) -> list[pl.DataFrame]:
    rng, traits = shard.streams["shopping"], shard.people.traits
    rank = normal_rank(shown(rng, traits, "orders"))
    a_day = synthetic_people.at_quantile("purchases_per_half_year", rank) * share("purchases_seen") / 182
    a_day = np.where(rng.uniform(size=len(rank)) < share("without_shop"), 0, a_day)
    person, days = scattered(rng, a_day, shard.decided_days + HISTORY_DAYS)
    typical = np.log(synthetic_people.chosen("order_amount")[""]) + 0.6 * shown(rng, traits, "order_amount")
    amount = np.round(np.exp(typical[person] + 0.8 * rng.standard_normal(len(person))), 2)
    refunds = 1 / (1 + np.exp(-(-2.8 + 0.7 * shown(rng, traits, "refunds"))))
    later = days - rng.uniform(1, 10, len(person))
    back = (rng.uniform(size=len(person)) < refunds[person]) & (later > 0)
    return [
        table(shard, (Category.SHOPPING, "order"), person, days, value=amount),
        table(shard, (Category.SHOPPING, "refund"), person[back], later[back], value=amount[back]),
    ]


def _credit(shard: Shard) -> list[pl.DataFrame]:
    rng, people = shard.streams["credit"], shard.people
    thin = normal_rank(shown(rng, people.traits, "thin_file")) < share("thin_file")
    a_day = np.where(thin, 0, LOANS_PER_YEAR / 365 * np.exp(0.4 * shown(rng, people.traits, "loans")))
    person, opened = scattered(rng, a_day, shard.decided_days + HISTORY_DAYS)
    n = len(person)
    term = rng.choice([30, 60, 90], n)
    amount = np.round(people.income[person] * rng.uniform(0.3, 1.5, n), -2) + 100
    late = np.round(-2 + 5 * shown(rng, people.traits, "lateness")[person] + 6 * rng.standard_normal(n))
    late = np.maximum(late, 1.0 - term)
    repaid = opened - term - late
    closed = repaid - rng.uniform(0, 2, n)
    loan = np.arange(n)
    of_person = loan - np.searchsorted(person, person) + 1
    terms = {
        "loan": loan,
        "loan_number": of_person,
        "term_days": term,
        "total_due": np.round(amount * (1 + DAILY_INTEREST * term), 2),
    }
    is_repaid, is_closed = repaid > 0, closed > 0
    credit = Category.CREDIT_HISTORY
    return [
        table(shard, (credit, "loan_opened"), person, opened, value=amount, attributes=terms),
        table(
            shard,
            (credit, "loan_first_repaid_days_late"),
            person[is_repaid],
            repaid[is_repaid],
            value=late[is_repaid],
            attributes={"loan": loan[is_repaid]},
        ),
        table(
            shard,
            (credit, "loan_closed_after_days"),
            person[is_closed],
            closed[is_closed],
            value=(opened - closed)[is_closed],
            attributes={"loan": loan[is_closed]},
        ),
    ]


def log_days(shard: Shard, rng: np.random.Generator, active: Numbers) -> tuple[Counts, Numbers]:
    """Draw the active days of both log periods, as (person, days before the cut-off).

    A day's line is written in its last second, so that nothing is known before it happened.
    """
    local = shard.cutoff.astimezone(ZONE)
    since_midnight = (local.hour * 3600 + local.minute * 60 + local.second + 1) / 86_400
    person, day = np.nonzero(rng.uniform(size=(len(active), 2 * LOG_DAYS)) < active[:, None])
    whole_days = np.ceil(shard.decided_days[person] - since_midnight)
    days = np.where(day < LOG_DAYS, day, whole_days + day - LOG_DAYS)
    return person, days + since_midnight


def scattered(rng: np.random.Generator, a_day: Numbers, period_days: Numbers) -> tuple[Counts, Numbers]:
    """Scatter events evenly over each person's period before the cut-off, the earliest first."""
    person = np.repeat(np.arange(len(a_day)), rng.poisson(a_day * period_days))
    days = rng.uniform(0, 1, len(person)) * (period_days[person] - 1) + 1
    order = np.lexsort((-days, person))
    return person[order], days[order]


def table(
    shard: Shard,
    what: tuple[Category, str],
    person: Counts,
    days_before: Numbers,
    *,
    value: Numbers | None = None,
    count: Counts | None = None,
    attributes: Mapping[str, npt.NDArray[np.generic]] | None = None,
) -> pl.DataFrame:
    """Write events of one kind in canonical columns; `person` is the place in the shard."""
    category, name = what
    events = pl.DataFrame({"person": person}).with_columns(
        user=shard.users.gather(person),
        at=moments(shard.cutoff, days_before),
        category=pl.lit(category.value),
        name=pl.lit(name),
        value=pl.lit(None, dtype=pl.Float64) if value is None else pl.Series(value),
        count=pl.lit(1, dtype=pl.Int32) if count is None else pl.Series(count, dtype=pl.Int32),
        attributes=pl.lit(None, dtype=pl.String),
    )
    if attributes is None:
        return events
    written = pl.DataFrame({key: pl.Series(key, of) for key, of in attributes.items()})
    return events.with_columns(
        attributes=written.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    )
