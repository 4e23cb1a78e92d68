"""Evidence capsules: what a law demands be kept of somebody who was deleted, sealed to two custodians, then destroyed.

Nothing in the installation can open one: each part is a JWE (RFC 7516, ECDH-ES, A256GCM) to the first custodian's key
around a JWE to the second's. Both have to open it, each with a key of their own.
"""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from joserfc import jwe

from compliance import ids, sequencer
from compliance.act import Act, Upkeep
from compliance.canonical import Json, canonical
from compliance.database import ground
from compliance.refusals import NotFound
from compliance.vocabulary import UserId
from consent.permits import BUSINESS_ZONE

KEPT_YEARS = 3
BASIS = "网络数据安全管理条例 第十二条; 个人信息保护法 第五十六条"
"""Records of what was provided to others, and of processing that needs an assessment: three years at least."""
TYPE = "evidence-capsule+json"
HEADER = {"alg": "ECDH-ES", "enc": "A256GCM"}
PART_FACTS = 1_000
RECEIPTS = """
select distinct on (grant_id) signed from consent_receipt where user_id = $1 order by grant_id, issued_at desc
"""
DESTROY = """
delete from consent_capsule
where id in (select distinct id from consent_capsule where keep_until <= $1 order by id limit $2) returning id
"""
DONE_UNDER_A_CONSENT = """
select id, person, sealed, seq from compliance_fact
where person = $1 and grant_id is not null and kind <> 'refused' and seq > $2 order by seq limit $3
"""


@dataclass(frozen=True, slots=True)
class Capsule:
    """What the person is told of it."""

    id: UUID
    keep_until: date


async def seal(act: Act, user: UserId) -> Capsule | None:
    """Seal what was done under a person's consents: the newest receipt of each, and the openings of the facts.

    None where nothing was ever agreed to. The facts of this very act are part of it.
    """
    receipts = [row["signed"] for row in await act.db.execute_query_dict(RECEIPTS, [user])]
    if not receipts:
        return None
    today = act.now.astimezone(BUSINESS_ZONE).date()
    made = Capsule(ids.random_id(), _kept_until(today))
    sealers, after, part = await ground().key_store.sealers([user]), -1, 1
    openings = [_opening(fact.id, fact.payload, fact.salt) for fact in act.recorded if fact.grant]
    while True:  # as often as the log is long: a right does not end at a number
        rows = await act.db.execute_query_dict(DONE_UNDER_A_CONSENT, [user, after, PART_FACTS])
        found = [(row["id"], sequencer.unseal(row, sealers)) for row in rows]
        openings += [_opening(fact, opened.payload, opened.salt) for fact, opened in found if opened]
        await _keep(act, made, part, receipts, openings)
        if len(rows) < PART_FACTS:
            return made
        after, part, receipts, openings = rows[-1]["seq"], part + 1, [], []


def _kept_until(today: date) -> date:
    """The first of a month, three years and less than a month later: a day of its own would say who it is."""
    year, month = today.year + KEPT_YEARS, today.month + 1
    return date(year + month // 13, (month - 1) % 12 + 1, 1)


def _opening(fact: UUID, payload: bytes, salt: bytes) -> Json:
    return {"fact": ids.public("fct", fact), "payload": payload.decode(), "salt": salt.hex()}


async def _keep(act: Act, made: Capsule, part: int, receipts: list[str], openings: list[Json]) -> None:
    content: dict[str, Json] = {
        "typ": TYPE,
        "capsule": ids.public("cap", made.id),
        "part": part,
        "receipts": list(receipts),
        "facts": openings,
    }
    sealed = canonical(content)
    for custodian in reversed(ground().keyring.custodians):
        sealed = jwe.encrypt_compact(
            HEADER | {"kid": str(custodian.kid)}, sealed, custodian, algorithms=list(HEADER.values())
        ).encode()
    await act.db.execute_query(
        "insert into consent_capsule (id, part, sealed, keep_until) values ($1, $2, $3, $4)",
        [made.id, part, sealed.decode(), made.keep_until],
    )


async def hand_over(act: Act, capsule: UUID, reason: str) -> list[str]:
    """The sealed parts, for the two custodians to open. Records `capsule_handed_over` with the reason."""
    rows = await act.db.execute_query_dict(
        "select sealed from consent_capsule where id = $1 order by part", [capsule]
    )
    if not rows:
        raise NotFound("there is no such capsule, or its time is over and it was destroyed")
    act.record("capsule_handed_over", {"capsule": ids.public("cap", capsule), "reason": reason})
    return [row["sealed"] for row in rows]


async def any_due(upkeep: Upkeep) -> bool:
    """Whether there is anything for `destroy_due` to do."""
    today = upkeep.now.astimezone(BUSINESS_ZONE).date()
    return bool(
        await upkeep.db.execute_query_dict(
            "select 1 from consent_capsule where keep_until <= $1 limit 1", [today]
        )
    )


async def destroy_due(act: Act, limit: int) -> int:
    """Destroy the capsules whose time is over; returns how many. Records `capsules_destroyed`."""
    today = act.now.astimezone(BUSINESS_ZONE).date()
    rows = await act.db.execute_query_dict(DESTROY, [today, limit])
    gone = {row["id"] for row in rows}
    act.record("capsules_destroyed", {"capsules": sorted(ids.public("cap", capsule) for capsule in gone)})
    return len(gone)
