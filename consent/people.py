"""People: the random id inside, the operator's own reference, and a random pseudonym per partner."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NewType
from uuid import UUID

from compliance import ids
from compliance.act import Act, View, before_own_acts
from compliance.database import ground
from compliance.keys import KeyErased
from compliance.refusals import NotFound
from compliance.vocabulary import PartnerId, UserId
from consent.tables import PersonRow, PseudonymRow

Pseudonym = NewType("Pseudonym", UUID)
ADULT_YEARS = 18
BATCH = 2_000
BRINGING = 7_000_004
"""The advisory lock of whoever brings people: two who bring the same person at once would make two of them."""
ADD_BIRTHS = """
update consent_person p set born_on = d.born_on from unnest($1::bytea[], $2::date[]) d (reference_index, born_on)
where p.reference_index = d.reference_index and p.born_on is null
"""


@before_own_acts
async def refuse_erased(act: Act) -> None:
    """Who was deleted acts no more, in no session of theirs (`KeyErased`); waits for a deletion that is on its way."""
    if await act.db.execute_query_dict("select 1 from consent_person where erased_at is not null"):
        raise KeyErased("you were deleted, as you asked for")


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Somebody the operator brings: its own reference, and the birth date if it is known."""

    reference: str
    born_on: date | None
    fictional: bool


async def bring(act: Act, people: Iterable[NewPerson]) -> dict[str, UserId]:
    """Register people by the operator's references; who is known keeps the id. Records `people_brought`.

    A reference is sealed under the person's own key and found again by its keyed index.
    """
    wanted = list(people)
    found: dict[str, UserId] = {}
    await _alone(act)
    for start in range(0, len(wanted), BATCH):
        found |= await _bring_batch(act, wanted[start : start + BATCH])
    act.record("people_brought", {"count": len(wanted), "fictional": any(p.fictional for p in wanted)})
    return found


async def _bring_batch(act: Act, batch: list[NewPerson]) -> dict[str, UserId]:
    store, ring = ground().key_store, ground().keyring
    index = {ring.blind_index(p.reference): p for p in batch}
    known = await act.db.execute_query_dict(
        "select id, reference_index from consent_person where reference_index = any($1::bytea[])",
        [list(index)],
    )
    found = {index[bytes(r["reference_index"])].reference: UserId(r["id"]) for r in known}
    new = {UserId(ids.random_id()): p for p in batch if p.reference not in found}
    await store.make(new)
    sealers = await store.sealers(new)
    await PersonRow.bulk_create(
        [
            PersonRow(
                id=user,
                reference_index=ring.blind_index(p.reference),
                reference_sealed=sealers[user].seal(p.reference.encode(), user.bytes),
                born_on=p.born_on,
                fictional=p.fictional,
                made_at=act.now,
            )
            for user, p in new.items()
        ],
        using_db=act.db,
    )
    return found | {p.reference: user for user, p in new.items()}


async def births(act: Act, references: Iterable[str]) -> dict[str, date | None]:
    """The birth dates of those of these people who are known; nobody else brings anybody until the act ends."""
    await _alone(act)
    index = {ground().keyring.blind_index(reference): reference for reference in references}
    rows = await act.db.execute_query_dict(
        "select reference_index, born_on from consent_person where reference_index = any($1::bytea[])",
        [list(index)],
    )
    return {index[bytes(row["reference_index"])]: row["born_on"] for row in rows}


async def add_births(act: Act, born: Mapping[str, date]) -> None:
    """Note the birth dates of people of whom none was known; one that is known stays. Records `birth_dates_added`."""
    index = [ground().keyring.blind_index(reference) for reference in born]
    await act.db.execute_query(ADD_BIRTHS, [index, list(born.values())])
    act.record("birth_dates_added", {"count": len(born)})


async def _alone(act: Act) -> None:
    await act.db.execute_query_dict("select pg_advisory_xact_lock($1)", [BRINGING])


async def hold(act: Act, user: UserId) -> None:
    """Lock a person's row until the act ends: before anything that is about them, as a deletion does."""
    await act.db.execute_query_dict("select 1 from consent_person where id = $1 for no key update", [user])


async def pseudonym(act: Act, user: UserId, partner: PartnerId) -> Pseudonym:
    """What `partner` knows this person by; made at the first need. The act is the person's own or the platform's."""
    await act.db.execute_query(
        """insert into consent_pseudonym (id, user_id, partner, made_at) values ($1, $2, $3, $4)
           on conflict (user_id, partner) do nothing""",
        [ids.random_id(), user, partner, act.now],
    )
    row = await PseudonymRow.get(user_id=user, partner=partner, using_db=act.db)
    return Pseudonym(row.id)


async def by_pseudonym(act: Act | View, known_as: Pseudonym) -> UserId:
    """The person behind the calling partner's pseudonym; another tenant's is as unknown as none (404)."""
    rows = await act.db.execute_query_dict("select user_id from consent_pseudonym where id = $1", [known_as])
    if not rows:
        raise NotFound("no person of yours has this id")
    return UserId(rows[0]["user_id"])


async def known_as(at: Act | View, user: UserId) -> Pseudonym | None:
    """The calling partner's pseudonym of a person, if it was ever given one."""
    rows = await at.db.execute_query_dict("select id from consent_pseudonym where user_id = $1", [user])
    return Pseudonym(rows[0]["id"]) if rows else None


async def of_operator(act: Act, references: Iterable[str]) -> dict[str, UserId]:
    """Who has these references of the operator's, as far as anybody has; nobody of them is deleted until the act ends.

    Only the operator's own software and processes find anybody.
    """
    index = {ground().keyring.blind_index(reference): reference for reference in references}
    rows = await act.db.execute_query_dict(
        "select id, reference_index from consent_people_of_operator($1::bytea[])", [list(index)]
    )
    return {index[bytes(row["reference_index"])]: UserId(row["id"]) for row in rows}


async def by_reference(view: View, reference: str) -> UserId | None:
    """Who has this reference of the operator's, if anybody has."""
    rows = await view.db.execute_query_dict(
        "select id from consent_person where reference_index = $1",
        [ground().keyring.blind_index(reference)],
    )
    return UserId(rows[0]["id"]) if rows else None


async def reference_of(at: Act | View, user: UserId) -> str:
    """The operator's reference of a person; raises `KeyErased` where it was deleted."""
    rows = await at.db.execute_query_dict("select reference_sealed from consent_person where id = $1", [user])
    sealer = await ground().key_store.sealer(user)
    return sealer.open(bytes(rows[0]["reference_sealed"]), user.bytes).decode()


def is_adult(born_on: date | None, day: date) -> bool:
    """Whether somebody is known to be of age on a day."""
    return born_on is not None and age_on(born_on, day) >= ADULT_YEARS


def age_on(born_on: date, day: date) -> int:
    """Full years of age on a day; a birthday on 29 February counts from 1 March in other years."""
    return day.year - born_on.year - ((day.month, day.day) < (born_on.month, born_on.day))
