"""Deletion of a person: all use ends, what is held of them goes, and their key is destroyed.

What was sealed under the key, in the log and in every back-up of it, can then be read by nobody. What a law demands is
sealed away first (`consent.capsules`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from compliance import ids
from compliance.act import Act, Upkeep, View
from compliance.canonical import Json
from compliance.database import ground
from compliance.keys import KeyErased
from compliance.refusals import NotFound, Refusal
from compliance.vocabulary import GrantId, UserId
from consent import capsules, grants, holdings
from consent.capsules import BASIS, Capsule
from consent.holdings import StillHeld
from consent.life import ASK_LAPSES_AFTER, State
from consent.tables import GrantRow

TYPE = "deletion-certificate+jwt"
ANSWERED = """
p.id = s.user_id and p.erased_at is not null and not exists (
    select 1 from consent_effect e where e.user_id = s.user_id and e.recipient = s.partner and e.settled_at is null)
"""
"""A recipient's name for somebody deleted who has nothing left to answer for."""
LEFT_TO_DO = f"""
select 1 from consent_deletion where finished_at is null
union all select 1 from consent_person p, consent_pseudonym s where {ANSWERED} limit 1
"""  # noqa: S608 - words of this file
FINISHING = """
select id, user_id from consent_deletion where finished_at is null order by random() limit $1 for update skip locked
"""
"""In no order: those whom something holds up hold up nobody else."""
FORGET_NAMES = f"""
delete from consent_pseudonym s using consent_person p where {ANSWERED} returning 1
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True)
class Deletion:
    """What became of a deletion; `finished_at`: the key is destroyed and sign-ins are gone."""

    id: UUID
    erased_at: datetime
    finished_at: datetime | None
    certificate: str
    capsule: Capsule | None


async def delete_person(act: Act) -> Deletion:
    """Delete the person whose session this is, in this one act; their key is destroyed after it (`destroy_key`).

    Every consent ends as withdrawn and its recipients are asked to delete. What a law demands stays in a capsule that
    nobody here can open. Answers with a signed certificate (compact JWS, ES256) without anything personal in it.
    Records `person_deleted`. Raises `KeyErased` the second time, as every act of somebody deleted does.
    """
    user = grants.acting_person(act).user
    deletion = ids.random_id()
    await _lock(act, user)
    await grants.withdraw_all(act)
    await _answer_what_waits(act)
    capsule = await capsules.seal(act, user)
    rows = await _forget(act, user, at_once=True)
    certificate = ground().keyring.sign(TYPE, _certificate(act, deletion, capsule, rows))
    await act.db.execute_query(
        """insert into consent_deletion (id, user_id, erased_at, certificate, capsule, keep_until)
           values ($1, $2, $3, $4, $5, $6)""",
        [deletion, user, act.now, certificate, capsule and capsule.id, capsule and capsule.keep_until],
    )
    act.record("person_deleted", {"deletion": ids.public("del", deletion)}, person=user)
    return Deletion(deletion, act.now, None, certificate, capsule)


async def _lock(act: Act, user: UserId) -> None:
    """First of all what others lock to add something about the person: whoever came before is waited for.

    The person before their consents, consents before what rests on them: everybody locks in this order.
    """
    for holding in reversed(holdings.declared()):
        if holding.locked:
            await act.db.execute_query_dict(holding.lock, [user])
    await act.tick()


async def _answer_what_waits(act: Act) -> None:
    """Who goes says no to what they have not answered."""
    waiting = GrantRow.filter(user_id=grants.acting_person(act).user, state=State.REQUESTED)
    for row in await waiting.using_db(act.db).order_by("id"):
        if row.requested_at + ASK_LAPSES_AFTER >= act.now:
            await grants.reject(act, GrantId(row.id))


async def _forget(act: Act, user: UserId, *, at_once: bool) -> dict[str, int]:
    """Run what the packages declared for their tables; how many rows each changed."""
    changed = {}
    for holding in holdings.declared():
        if holding.statement and holding.at_once is at_once:
            changed[holding.table] = len(await act.db.execute_query_dict(holding.statement, [user]))
    return changed


def _certificate(act: Act, deletion: UUID, capsule: Capsule | None, rows: dict[str, int]) -> dict[str, Any]:
    kept: dict[str, Json] | None = None
    if capsule:
        kept = {
            "id": ids.public("cap", capsule.id),
            "basis": BASIS,
            "keep_until": capsule.keep_until.isoformat(),
            "custodians": [str(key.kid) for key in ground().keyring.custodians],
        }
    return {
        "iss": ground().origin,
        "iat": int(act.now.timestamp()),
        "jti": ids.public("del", deletion),
        "rows": {table: count for table, count in sorted(rows.items()) if count},
        "capsule": kept,
    }


async def destroy_key(user: UserId) -> None:
    """Destroy a person's key, once the act that deleted them is committed. Twice is fine."""
    await ground().key_store.erase(user)


async def any_unfinished(upkeep: Upkeep) -> bool:
    """Whether there is anything for `finish` to do."""
    return bool(await upkeep.db.execute_query_dict(LEFT_TO_DO))


async def finish(act: Act, limit: int) -> int:
    """Do what deletions leave to be done: keys, files, sign-ins, what recipients call somebody until they have answered.

    Whatever a crash left undone is done here. Keys go first: whatever fails after that keeps nobody's. Whose files are
    held up is finished another time, and the others without them. Returns how many were finished. Records
    `deletions_finished`. Raises `StillHeld` where nothing could be done.
    """
    found = await act.db.execute_query_dict(FINISHING, [limit])
    users = [UserId(row["user_id"]) for row in found]
    for user in users:
        await destroy_key(user)
    held = await _still_held(act, users)
    done = [row for row in found if row["user_id"] not in held]
    for row in done:
        await _forget(act, UserId(row["user_id"]), at_once=False)
        await act.db.execute_query(
            "update consent_deletion set finished_at = $2 where id = $1", [row["id"], act.now]
        )
    names = await act.db.execute_query_dict(FORGET_NAMES)
    if held and not (done or names):
        raise StillHeld(held)
    told: list[Json] = [ids.public("del", row["id"]) for row in done]
    act.record("deletions_finished", {"deletions": told})
    return len(done)


async def _still_held(act: Act, users: list[UserId]) -> frozenset[UserId]:
    """Take people out of every kind of file; whom some kind holds still."""
    held: frozenset[UserId] = frozenset()
    for files in holdings.filed():
        try:
            await files.forget(act, users)
        except StillHeld as still:
            held |= still.users
    return held


async def mine(view: View) -> Deletion | None:
    """The deletion of the person whose session this is, if they were deleted."""
    rows = await view.db.execute_query_dict("select id from consent_deletion")
    return await look(view, rows[0]["id"]) if rows else None


async def look(view: View, deletion: UUID) -> Deletion:
    """A deletion by its unguessable id, for whoever holds it; or 404."""
    rows = await view.db.execute_query_dict("select * from consent_deletion_of($1)", [deletion])
    if not rows:
        raise NotFound("there is no deletion with this number")
    row = rows[0]
    capsule = Capsule(row["capsule"], row["keep_until"]) if row["capsule"] else None
    return Deletion(deletion, row["erased_at"], row["finished_at"], row["certificate"], capsule)


async def missing(act: Act, what: UUID | None) -> Refusal:
    """What to tell a caller who asks for what is not there: `KeyErased` where it went with its person, else `NotFound`."""
    told = await act.db.execute_query_dict("select 1 from consent_erased where id = $1 limit 1", [what])
    if told:
        return KeyErased("this was deleted at the person's request; delete your own copy too")
    return NotFound()
