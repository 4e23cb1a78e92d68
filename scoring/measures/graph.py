"""Who was in touch with whom: an edge is something that both its ends did, and counts only if both granted it."""

from collections.abc import Collection
from dataclasses import replace

import polars as pl

from compliance.vocabulary import Category
from scoring.behaviour import EVENTS, Behaviour
from scoring.behaviour_cells import DTYPES
from scoring.behaviour_schema import Role

GRAPH = Category.SOCIAL_GRAPH


def both_granted(behaviour: Behaviour, sharers: Collection[str]) -> Behaviour:
    """Keep of the social graph what may count outside a research set.

    That is edges of which both ends are among `sharers`, who granted the category. What somebody counted beforehand,
    in a profile or as events, does not say who the others are, so that nobody can know whether they granted it.
    """
    columns = tuple(
        replace(c, roles=c.roles - {Role.FEATURE}) if c.category is GRAPH else c
        for c in behaviour.schema.profiles
    )
    return replace(
        behaviour,
        schema=replace(behaviour.schema, profiles=columns),
        events=behaviour.events.filter(pl.col("category") != GRAPH),
        edges=among(behaviour.edges, sharers),
    )


def among(edges: pl.DataFrame, sharers: Collection[str]) -> pl.DataFrame:
    """The edges of which both ends are among `sharers`."""
    return edges.filter(*(pl.col(end).is_in(list(sharers)) for end in ("user_a", "user_b")))


def as_events(edges: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    """Write the edges of `users` as events of theirs, named by kind, the weight as value.

    Each brings along `other`, and `reach`: with how many people the other end had been in touch before that moment.
    An edge from somebody to themselves is none.
    """
    ways = [("user_a", "user_b"), ("user_b", "user_a")]
    ends = pl.concat(edges.select("at", "kind", "weight", user=a, other=b) for a, b in ways)
    ends = ends.filter(pl.col("user") != pl.col("other"))
    met = ends.group_by("user", "other").agg(pl.col("at").min()).sort("at")
    met = met.select("at", other="user", reach=pl.int_range(1, pl.len() + 1).over("user"))
    theirs = ends.filter(pl.col("user").is_in(users.unique().implode())).sort("at")
    found = theirs.join_asof(met, on="at", by="other", allow_exact_matches=False, check_sortedness=False)
    brought = pl.struct("other", pl.col("reach").fill_null(0))
    types = {column.name: DTYPES[column.kind] for column in EVENTS}
    return found.select(
        user="user",
        at="at",
        category=pl.lit(GRAPH.value),
        name="kind",
        value="weight",
        count=pl.lit(1, dtype=types["count"]),
        attributes=brought.struct.json_encode(),
    )
