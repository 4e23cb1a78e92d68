"""What people stated or were recorded with comes in: kept column by column, of one moment only once, never overwritten."""

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from compliance.act import Act
from compliance.vocabulary import Category, UserId
from consent import people
from scoring import behaviour
from scoring.behaviour_cells import EARLIEST, UTC_TIME
from scoring.behaviour_files import LINE
from scoring.behaviour_schema import ProfileColumn, Role, Schema
from scoring.buckets import bucket_of
from scoring.measures import forbidden
from scoring.store import incoming, intake, locks, profiles
from scoring.store.incoming import NOT_TAKEN, Fault
from scoring.store.intake import Received

KEY = ("user", "name", "known_at")
SAID = ("category", "type", "said")
KEPT = ("user", "bucket", "name", "category", "known_at", "type", "said", "late")
KEEP = """
insert into scoring_statement (user_id, bucket, name, category, known_at, type, said, late, received_at)
select *, $9::timestamptz from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::text[],
    $7::text[], $8::bool[])
on conflict (user_id, name, known_at) do nothing returning late
"""
THERE = """
select s.user_id::text as user, s.name, s.known_at, s.category, s.type, s.said from scoring_statement s
join unnest($1::uuid[], $2::text[], $3::timestamptz[]) k (user_id, name, known_at) using (user_id, name, known_at)
"""
COUNT = "select count(*) as many from scoring_statement where bucket = $1"
PEOPLE = "select distinct user_id from scoring_statement where bucket >= $1 and bucket < $2"
READ = """
select user_id::text as user, known_at, name, category, type, said, received_at from scoring_statement
where user_id = any($1::uuid[]) and known_at < $2 and received_at <= coalesce($3, 'infinity'::timestamptz)
"""
LONG = {
    LINE: pl.UInt32(),
    "user": pl.String(),
    "known_at": UTC_TIME,
    "name": pl.String(),
    "category": pl.String(),
    "type": pl.String(),
    "said": pl.String(),
}
STATED = {name: kind for name, kind in LONG.items() if name != LINE} | {"received_at": UTC_TIME}


def not_taken(schema: Schema) -> tuple[Fault, ...]:
    """The columns of a folder's profiles that are never kept, each with the reason: nobody could use them."""
    reasons = [(column.name, _reason(column)) for column in schema.profiles]
    return tuple(Fault(0, name, reason) for name, reason in reasons if reason)


def _reason(column: ProfileColumn) -> str | None:
    is_listed = column.name in profiles.LISTED and column.category is Category.DECLARED
    if Role.FEATURE not in column.roles and not is_listed:
        return "role_not_taken"
    if column.category in NOT_TAKEN:
        return "category_not_taken"
    return "forbidden_name" if forbidden.ban_of(column.name) else None


async def receive(act: Act, cells: pl.DataFrame, schema: Schema) -> Received:
    """Keep what an operator's profiles say, each filled cell of a column that is taken being one statement.

    `cells` are as they came (`behaviour.profiles_of`). What is known from no moment is known from the beginning. Of one
    moment a column of somebody's has one value: another one is set aside. Records `behaviour_received`.
    """
    ahead = ("known_at", "in_future", pl.col("known_at") > act.now)
    good, faults = incoming.parted(*behaviour.checked_profiles(cells, schema), ahead)
    known = await people.of_operator(act, good["user"].unique().to_list())
    good, strange = incoming.of_known(good, known, "user")
    await locks.keep_cutoff(act)
    said = _said(good, schema)
    users = [known[reference] for reference in said["user"]]
    since = await intake.latest_cutoff(act)
    ready = said.with_columns(
        pl.Series("user", [str(user) for user in users], pl.String),
        pl.Series("bucket", [bucket_of(user) for user in users], pl.Int32),
        incoming.is_late(said["known_at"], since),
    )
    accepted, late, other = await _kept(act, ready)
    duplicate = ready.height - accepted - len(other)
    return intake.record(act, "profiles", accepted, duplicate, late, [*faults, *strange, *other])


def _said(good: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Each filled cell of a column that is taken, as text of its type."""
    parts = [pl.DataFrame(schema=LONG)]
    for column in schema.profiles:
        if _reason(column):
            continue
        parts.append(
            good.filter(pl.col(column.name).is_not_null()).select(
                pl.col(LINE).cast(LONG[LINE]),
                "user",
                pl.col("known_at").fill_null(EARLIEST),
                name=pl.lit(column.name),
                category=pl.lit(column.category.value),
                type=pl.lit(column.type),
                said=_text(column),
            )
        )
    return pl.concat(parts).sort(LINE, maintain_order=True)


def _text(column: ProfileColumn) -> pl.Expr:
    cell = pl.col(column.name)
    # Zero has no sign: what is equal is the same text.
    return (cell + 0.0 if column.type == "float" else cell).cast(pl.String)


async def _kept(act: Act, ready: pl.DataFrame) -> tuple[int, int, list[Fault]]:
    """Keep what is new; how many that is and how many of them come late, and the faults of what is there otherwise."""
    # In one order everywhere: two loads with the same statements wait for each other in turn.
    first = ready.unique(list(KEY), keep="first", maintain_order=True).sort(*KEY)
    columns = [first[name].to_list() for name in KEPT]
    kept = await act.db.execute_query_dict(KEEP, [*columns, act.now])
    found = await act.db.execute_query_dict(THERE, [first[name].to_list() for name in KEY])
    there = pl.DataFrame(found, schema={name: LONG[name] for name in (*KEY, *SAID)})
    is_the_same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_right") for name in SAID)
    other = ready.join(there, on=list(KEY), maintain_order="left").filter(~is_the_same)
    faults = [Fault(line, name, "other_value") for line, name in other.select(LINE, "name").iter_rows()]
    return len(kept), sum(row["late"] for row in kept), faults


async def count(act: Act, bucket: int) -> int:
    """How many statements of a bucket's people there are."""
    rows = await act.db.execute_query_dict(COUNT, [bucket])
    return int(rows[0]["many"])


async def people_of(act: Act, first: int, after: int) -> list[UserId]:
    """Who stated anything, of the buckets from the first one to the one before `after`."""
    rows = await act.db.execute_query_dict(PEOPLE, [first, after])
    return [UserId(row["user_id"]) for row in rows]


async def read(act: Act, users: Sequence[UserId], before: datetime, came_by: datetime | None) -> pl.DataFrame:
    """What these people stated that was known before a moment, and came in by another: whoever may use it."""
    rows = await act.db.execute_query_dict(READ, [list(users), before, came_by])
    return pl.DataFrame(rows, schema=STATED)
