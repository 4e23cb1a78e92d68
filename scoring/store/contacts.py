"""Relations as what both ends did: counted for somebody only where the other end agreed to every use that they agreed to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import polars as pl

from compliance.act import Act
from compliance.vocabulary import UserId
from consent import agreeing, disputes
from consent.disputes import Wrong
from consent.permits import PopulationPermit
from scoring.measures import graph
from scoring.measures.graph import GRAPH
from scoring.store import incoming, relations
from scoring.store.relations import ENDS


@dataclass(frozen=True, slots=True)
class Contacts:
    """The contacts of some people as events of theirs, and the uses that each of them is counted for."""

    events: pl.DataFrame
    uses: Mapping[UserId, frozenset[str]]


async def right(
    act: Act, users: Sequence[UserId], before: datetime, came_by: datetime | None
) -> pl.DataFrame:
    """The relations of these people that may count at all: none that came in before it was found wrong, by either end."""
    found = await relations.touching(act, users, before, came_by)
    return _right(found, await disputes.found_wrong(act, _ends(found)))


def _right(found: pl.DataFrame, wrong: Sequence[Wrong]) -> pl.DataFrame:
    until = [(str(each.user), each.until) for each in wrong if each.category is GRAPH]
    known = pl.DataFrame(
        until, schema={"user": pl.String(), "until": relations.EDGES["received_at"]}, orient="row"
    )
    for end in ENDS:
        found = incoming.still_right(found, known.rename({"user": end}), [end])
    return found.filter(~incoming.is_forbidden(found["kind"]))


def _ends(found: pl.DataFrame) -> list[UserId]:
    return [UserId(UUID(user)) for user in sorted({user for end in ENDS for user in found[end]})]


async def counted(
    act: Act, own: pl.DataFrame, permit: PopulationPermit, before: datetime, came_by: datetime | None
) -> Contacts:
    """What of their `own` relations counts for the people of a permit, as if nobody else had agreed to anything.

    A person's features serve every use that they agreed to, so that an end counts only who agreed to each of these
    uses; how many people it had been in touch with is counted in the same way.
    """
    asking = [user for user, mask in permit.masks.items() if GRAPH in mask]
    is_theirs = pl.any_horizontal(pl.col(end).is_in([str(user) for user in asking]) for end in ENDS)
    around = await right(act, _ends(own.filter(is_theirs)), before, came_by)
    agreed = await agreeing.agreed(act, sorted({*asking, *_ends(around)}), GRAPH)
    uses = {user: agreed[user] for user in asking if user in agreed}
    events = []
    for each in sorted(set(uses.values()), key=sorted):
        sharers = [str(user) for user, theirs in agreed.items() if each <= theirs]
        same = pl.Series([str(user) for user, theirs in uses.items() if theirs == each], dtype=pl.String)
        events.append(graph.as_events(graph.among(around, sharers), same))
    nothing = graph.as_events(around.clear(), pl.Series([], dtype=pl.String))
    return Contacts(pl.concat([nothing, *events]), uses)
