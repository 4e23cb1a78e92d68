"""Who was in touch with whom comes in: kept once for both ends, of whom both must be known, and gone with either."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from compliance.act import Act
from compliance.vocabulary import UserId
from consent import people
from scoring import behaviour
from scoring.behaviour_cells import UTC_TIME
from scoring.behaviour_files import LINE
from scoring.buckets import bucket_of
from scoring.store import incoming, intake, locks
from scoring.store.incoming import Fault
from scoring.store.intake import Received

RELATIONS_MAX = 10_000
"""Of one person; what comes beyond is set aside: whoever has more is no person."""
ENDS = ("user_a", "user_b")
KEY = ("user_id", "other", "kind", "at")
KEEP = """
insert into scoring_relation (user_id, other, bucket, other_bucket, kind, weight, at, late, received_at)
select *, $9::timestamptz from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::float8[],
    $7::timestamptz[], $8::bool[])
on conflict (user_id, other, kind, at) do nothing returning late
"""
KEPT = ("user_id", "other", "bucket", "other_bucket", "kind", "weight", "at", "late")
THERE = """
select r.user_id::text, r.other::text, r.kind, r.at, r.weight from scoring_relation r
join unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) k (user_id, other, kind, at)
  using (user_id, other, kind, at)
"""
COUNT = """
select u.id::text as person, (select count(*) from scoring_relation r where r.user_id = u.id)
  + (select count(*) from scoring_relation r where r.other = u.id) as many
from unnest($1::uuid[]) u (id)
"""
TOUCHING = """
select user_id::text as user_a, other::text as user_b, kind, weight, at, received_at from scoring_relation
where user_id = any($1::uuid[]) and at < $2 and received_at <= coalesce($3, 'infinity'::timestamptz)
union
select user_id::text, other::text, kind, weight, at, received_at from scoring_relation
where other = any($1::uuid[]) and at < $2 and received_at <= coalesce($3, 'infinity'::timestamptz)
"""
COUNT_OF_BUCKET = """
select (select count(*) from scoring_relation where bucket = $1)
  + (select count(*) from scoring_relation where other_bucket = $1) as many
"""
PEOPLE = """
select user_id from scoring_relation where bucket >= $1 and bucket < $2
union select other from scoring_relation where other_bucket >= $1 and other_bucket < $2
union select user_id from scoring_feature where cardinality(contacts_for) > 0
  and get_byte(sha256(uuid_send(user_id)), 0) >= $1 and get_byte(sha256(uuid_send(user_id)), 0) < $2
"""
ORDERED = {
    "user_id": pl.String(),
    "other": pl.String(),
    "bucket": pl.Int32(),
    "other_bucket": pl.Int32(),
}
EDGES = {
    "user_a": pl.String(),
    "user_b": pl.String(),
    "kind": pl.String(),
    "weight": pl.Float64(),
    "at": UTC_TIME,
    "received_at": UTC_TIME,
}


async def receive(act: Act, cells: pl.DataFrame) -> Received:
    """Keep relations that an operator brings (`behaviour.edges_of`), each once, whichever end is named first.

    Of two people, a kind and a moment there is one: another weight is set aside. Records `behaviour_received`.
    """
    good, faults = _sorted_out(cells, act.now)
    named = {reference for end in ENDS for reference in good[end]}
    known = await people.of_operator(act, sorted(named))
    good, strange = incoming.of_known(good, known, *ENDS)
    await locks.keep_cutoff(act)
    since = await intake.latest_cutoff(act)
    ready = _ordered(good, known).with_columns(incoming.is_late(good["at"], since))
    accepted, late, refused = await _kept(act, ready)
    duplicate = ready.height - accepted - len(refused)
    return intake.record(act, "edges", accepted, duplicate, late, [*faults, *strange, *refused])


def _sorted_out(cells: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, list[Fault]]:
    """Part relations into those that can be kept, as far as they say it themselves, and the faults of the others."""
    good, bad = behaviour.checked_edges(cells)
    return incoming.parted(
        good,
        bad,
        ("at", "in_future", pl.col("at") > now),
        ("user_b", "with_oneself", pl.col("user_a") == pl.col("user_b")),
        ("kind", "forbidden_name", incoming.is_forbidden(good["kind"])),
    )


def _ordered(good: pl.DataFrame, known: Mapping[str, UserId]) -> pl.DataFrame:
    """The two ends in the order of their ids, as the database compares them; zero has no sign."""
    named = good.select(ENDS).iter_rows()
    ends = [sorted(known[reference] for reference in both) for both in named]
    rows = [(str(low), str(high), bucket_of(low), bucket_of(high)) for low, high in ends]
    return pl.concat(
        [
            good.select(LINE, "kind", pl.col("weight") + 0.0, "at"),
            pl.DataFrame(rows, schema=ORDERED, orient="row"),
        ],
        how="horizontal",
    )


async def _kept(act: Act, ready: pl.DataFrame) -> tuple[int, int, list[Fault]]:
    """Keep what is new; how many that is and how many of them come late, and the faults of what cannot be kept."""
    # In one order everywhere: two loads with the same relations wait for each other in turn.
    first = ready.unique(list(KEY), keep="first", maintain_order=True).sort(*KEY)
    new = first.join(await _there(act, first), on=list(KEY), how="anti", maintain_order="left")
    full = await _full(act, new)
    is_over = pl.col("user_id").is_in(full) | pl.col("other").is_in(full)
    columns = [new.filter(~is_over)[name].to_list() for name in KEPT]
    kept = await act.db.execute_query_dict(KEEP, [*columns, act.now])
    both = ready.join(
        await _there(act, first), on=list(KEY), how="left", maintain_order="left", coalesce=True
    )
    there = both.filter(pl.col("is_there").fill_null(value=False))
    other = there.filter(pl.col("weight").ne_missing(pl.col("weight_right")))[LINE]
    over = both.filter(pl.col("is_there").is_null())[LINE]
    faults = [Fault(line, "weight", "other_value") for line in other]
    faults += [Fault(line, "user_a", "too_many_relations") for line in over]
    return len(kept), sum(row["late"] for row in kept), faults


async def _there(act: Act, keys: pl.DataFrame) -> pl.DataFrame:
    rows = await act.db.execute_query_dict(THERE, [keys[name].to_list() for name in KEY])
    types = {name: EDGES.get(name, pl.String()) for name in (*KEY, "weight")}
    return pl.DataFrame(rows, schema=types).with_columns(pl.lit(value=True).alias("is_there"))


async def _full(act: Act, new: pl.DataFrame) -> list[str]:
    """Who would have more relations than anybody has."""
    coming = pl.concat([new["user_id"], new["other"].alias("user_id")]).value_counts(name="coming")
    rows = await act.db.execute_query_dict(COUNT, [coming["user_id"].to_list()])
    there = {row["person"]: int(row["many"]) for row in rows}
    return [user for user, more in coming.iter_rows() if there[user] + more > RELATIONS_MAX]


async def count(act: Act, bucket: int) -> int:
    """How many relations of a bucket's people there are."""
    rows = await act.db.execute_query_dict(COUNT_OF_BUCKET, [bucket])
    return int(rows[0]["many"])


async def people_of(act: Act, first: int, after: int) -> list[UserId]:
    """Who has any relation, or had one that their features may count, of the buckets from `first` to before `after`."""
    rows = await act.db.execute_query_dict(PEOPLE, [first, after])
    return [UserId(row["user_id"]) for row in rows]


async def touching(
    act: Act, users: Sequence[UserId], before: datetime, came_by: datetime | None
) -> pl.DataFrame:
    """The relations that any of these people has, of before a moment, that came in by another: whoever may use them."""
    rows = await act.db.execute_query_dict(TOUCHING, [list(users), before, came_by])
    return pl.DataFrame(rows, schema=EDGES)
