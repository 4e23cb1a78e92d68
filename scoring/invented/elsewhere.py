"""Where invented people stayed, how they moved, what ran in their homes, and whom they were in touch with."""

import numpy as np
import polars as pl

from compliance.vocabulary import Category
from scoring import synthetic_events, synthetic_people
from scoring.synthetic_events import HISTORY_DAYS, Counts, Shard, log_days, scattered, table
from scoring.synthetic_people import Numbers, normal_rank, share, shown

TOPICS = ("location", "fitness", "home", "contacts")
PLACES_MAX = 40
APPLIANCES = ("light", "speaker", "vacuum", "thermostat", "lock", "oven")
TRIPS_A_YEAR = 5.0
KINDS = ("call", "message")
NEAR = 250
"""How far apart, in a shard ordered by like traits, two people who know each other usually stand."""


def draw(shard: Shard) -> pl.DataFrame:
    """Draw everybody's events of these kinds; the column `person` is the place in the shard."""
    return pl.concat([*_location(shard), *_fitness(shard), *_home(shard)])


def edges(shard: Shard) -> pl.DataFrame:
    """Draw who was in touch with whom, inside the shard; `a` and `b` are places in it.

    Contacts are as many as measured elsewhere, of which a part is here as well; people of like traits know each other
    only a little more often, so that the graph alone says little.
    """
    rng, traits = shard.streams["contacts"], shard.people.traits
    rank = normal_rank(shown(rng, traits, "contacts"))
    a_month = synthetic_people.at_quantile("contacts_per_month", rank) * share("contacts_seen")
    known = np.where(rng.uniform(size=len(rank)) < share("without_contacts"), 0, a_month)
    likeness = np.argsort(shown(rng, traits, "homophily"))
    standing = np.argsort(likeness)
    first = np.repeat(np.arange(len(rank)), rng.poisson(known))
    apart = np.round(rng.normal(0, NEAR, len(first))).astype(np.int64)
    second = likeness[(standing[first] + apart) % len(rank)]
    is_tie = (first != second) & (known[second] > 0)
    times = 1 + rng.poisson(2, int(is_tie.sum()))
    a, b = np.repeat(first[is_tie], times), np.repeat(second[is_tie], times)
    days = rng.uniform(0, 1, len(a)) * (shard.decided_days[a] + HISTORY_DAYS - 1) + 1
    return pl.DataFrame({"a": a, "b": b}).select(
        "a",
        "b",
        user_a=shard.users.gather(a),
        user_b=shard.users.gather(b),
        kind=pl.Series(np.array(KINDS)[rng.integers(len(KINDS), size=len(a))]),
        weight=pl.Series(np.round(rng.gamma(2, 3, len(a)), 1)),
        at=synthetic_events.moments(shard.cutoff, days),
    )


def _location(shard: Shard) -> list[pl.DataFrame]:
    rng, traits = shard.streams["location"], shard.people.traits
    active = np.where(rng.uniform(size=len(shard.users)) < share("without_location"), 0, 0.7)
    person, days = _several(rng, *log_days(shard, rng, active), 0.6)
    roaming = 0.8 + 1.6 * normal_rank(shown(rng, traits, "places"))
    place = np.minimum(rng.exponential(roaming[person]), PLACES_MAX).astype(np.int64)
    days = days + _hours_back(rng, person, shown(rng, traits, "day_rhythm"), 19.0)
    far, travelled = scattered(
        rng,
        np.where(active > 0, TRIPS_A_YEAR / 365 * np.exp(0.5 * shown(rng, traits, "trips")), 0),
        shard.decided_days + HISTORY_DAYS,
    )
    kilometres: Numbers = np.exp(4 + rng.standard_normal(len(far)))
    return [
        table(
            shard,
            (Category.LOCATION_RHYTHM, "stay"),
            person,
            days,
            value=np.round(rng.gamma(3, 2, len(person)), 1),
            attributes={"place": np.char.add("p", place.astype("U2"))},
        ),
        table(
            shard,
            (Category.LOCATION_RHYTHM, "trip"),
            far,
            travelled,
            value=np.round(kilometres, 1),
        ),
    ]


def _fitness(shard: Shard) -> list[pl.DataFrame]:
    rng, traits = shard.streams["fitness"], shard.people.traits
    active = np.where(rng.uniform(size=len(shard.users)) < share("without_wearable"), 0, 0.85)
    person, days = log_days(shard, rng, active)
    typical = 6_500 * np.exp(0.3 * shown(rng, traits, "steps"))
    habit = shown(rng, traits, "exercise")
    spread = np.exp(-0.6 - 0.25 * habit)
    steps = np.round(typical[person] * np.exp(spread[person] * rng.standard_normal(len(person))))
    does = rng.uniform(size=len(person)) < 0.4 * normal_rank(habit)[person]
    who = person[does]
    return [
        table(shard, (Category.FITNESS, "steps"), person, days, value=steps),
        table(
            shard,
            (Category.FITNESS, "workout"),
            who,
            days[does] + _hours_back(rng, who, habit, 18.0),
            value=np.round(rng.gamma(6, 7, len(who))),
        ),
    ]


def _home(shard: Shard) -> list[pl.DataFrame]:
    rng, traits = shard.streams["home"], shard.people.traits
    active = np.where(rng.uniform(size=len(shard.users)) < share("without_smart_home"), 0, 0.85)
    metered, read = log_days(shard, rng, active)
    rhythm, owned = shown(rng, traits, "home_rhythm"), normal_rank(shown(rng, traits, "appliances"))
    person, days = _several(rng, metered, read, 1.0)
    kinds = 1 + np.floor(owned * len(APPLIANCES))
    kind = np.floor(rng.uniform(size=len(person)) * kinds[person]).astype(np.int64)
    spread = np.exp(-1.2 - 0.25 * rhythm)[metered]
    energy = (4 + 8 * owned)[metered] * np.exp(spread * rng.standard_normal(len(metered)))
    return [
        table(
            shard,
            (Category.SMART_HOME, "appliance"),
            person,
            days + _hours_back(rng, person, rhythm, 20.0),
            attributes={"kind": np.array(APPLIANCES)[np.minimum(kind, len(APPLIANCES) - 1)]},
        ),
        table(shard, (Category.SMART_HOME, "energy"), metered, read, value=np.round(energy, 2)),
    ]


def _several(
    rng: np.random.Generator, person: Counts, days: Numbers, further: float
) -> tuple[Counts, Numbers]:
    """Let each day have one event, and as many more as `further` says on average."""
    times = 1 + rng.poisson(further, len(person))
    return np.repeat(person, times), np.repeat(days, times)


def _hours_back(rng: np.random.Generator, person: Counts, rhythm: Numbers, usual_hour: float) -> Numbers:
    """Say how long before the end of its day each event happened, the closer to the usual hour the more rhythm."""
    spread = 5 * np.exp(-0.4 * rhythm)[person]
    hour = (usual_hour + spread * rng.standard_normal(len(person))) % 24
    return np.asarray((24 - hour) / 24 * 0.999)
