"""The release gate: every evaluation leaves through the one lawful channel, or not at all.

征信业务管理办法 Art 3-5: analysis derived from any data used to judge creditworthiness is credit information; only a
licensed bureau may supply it. A new installation starts with no channel until a licence or a relay is recorded by
one person and approved by another.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from compliance import facts, ids
from compliance.act import Act, View
from compliance.facts import describe
from compliance.refusals import NotFound, Refusal, SamePerson
from compliance.vocabulary import Channel, PartnerId
from consent.permits import Permit, PopulationPermit
from scoring.tables import LicenceRow

Held = tuple[str, PartnerId | None, PartnerId | None]
"""A licence in force: its kind, and of a relay the bureau and the lender."""
T = TypeVar("T")
U = TypeVar("U")


class NoLawfulChannel(Refusal):
    """No licence and no relay lets this evaluation leave."""

    status, code, title = 403, "no_lawful_channel", "No lawful channel is open for this evaluation"


@dataclass(frozen=True, slots=True)
class Relay:
    """A licensed bureau that passes evaluations on to one lender."""

    bureau: PartnerId
    lender: PartnerId


@dataclass(frozen=True, slots=True)
class Released(Generic[T]):
    """An evaluation that may be shown, and the channel it leaves by. Only `release_evaluation` makes one."""

    value: T
    channel: Channel

    def as_kept(self, kept: U) -> "Released[U]":
        """The same release, of the stored form of the same evaluation."""
        return Released(kept, self.channel)


async def release_evaluation(
    act: Act, permit: Permit | PopulationPermit, evaluate: Callable[[], Awaitable[T]]
) -> Released[T]:
    """Evaluate and let it out by the channel that is lawful now, or refuse before anything is read or computed."""
    return Released(
        channel=await refuse_unless_open(act, permit.recipient, permit.bureau), value=await evaluate()
    )


async def refuse_unless_open(at: Act | View, recipient: PartnerId, bureau: PartnerId | None) -> Channel:
    """The channel that is lawful towards a recipient now; refuses where there is none."""
    found = channel(await _held(at), recipient, bureau)
    if found is Channel.NONE:
        raise NoLawfulChannel(
            "ask through a licensed credit bureau that relays, or wait for a recorded licence"
        )
    return found


async def is_open(at: Act | View, recipient: PartnerId, bureau: PartnerId | None) -> bool:
    """Whether any evaluation could leave to a recipient now, directly or through this bureau."""
    return channel(await _held(at), recipient, bureau) is not Channel.NONE


async def _held(at: Act | View) -> frozenset[Held]:
    rows = await at.db.execute_query_dict(
        "select kind, bureau, lender from scoring_licence where approved_at is not null and removed_at is null"
    )
    return frozenset((r["kind"], r["bureau"], r["lender"]) for r in rows)


def channel(held: frozenset[Held], recipient: PartnerId, bureau: PartnerId | None) -> Channel:
    """Which channel is lawful, from the licences held now and the bureau that the grant names.

    A relay is recorded for one bureau and one lender.
    """
    if bureau is not None:
        return Channel.LICENSED_BUREAU_RELAY if ("relay", bureau, recipient) in held else Channel.NONE
    return Channel.OPERATOR_LICENSED if ("operator", None, None) in held else Channel.NONE


async def record_licence(
    act: Act,
    *,
    text_zh: str,
    text_en: str,
    fictional: bool,
    relay: Relay | None = None,
) -> LicenceRow:
    """Record the operator's licence, or a bureau's relay to a lender; it counts once another person approves it."""
    row = await LicenceRow.create(
        id=ids.ordered_id(),
        kind="relay" if relay else "operator",
        bureau=relay.bureau if relay else None,
        lender=relay.lender if relay else None,
        text_zh=text_zh,
        text_en=text_en,
        fictional=fictional,
        recorded_by=describe(act.principal),
        recorded_at=act.now,
        using_db=act.db,
    )
    act.record("licence_recorded", {"kind": row.kind, "text": text_en, "fictional": fictional})
    return row


async def approve_licence(act: Act, licence: LicenceRow) -> None:
    """The second pair of eyes."""
    if facts.same_hands(licence.recorded_by, act.principal):
        raise SamePerson("ask a colleague to approve what you recorded")
    licence.approved_by, licence.approved_at = describe(act.principal), act.now
    await licence.save(using_db=act.db)
    act.record("licence_approved", {"kind": licence.kind})


async def remove_licence(act: Act, kind: str) -> None:
    """The licence no longer holds: nothing leaves by it from now on."""
    rows = await LicenceRow.filter(kind=kind, removed_at=None).using_db(act.db)
    if not rows:
        raise NotFound("no such licence is recorded")
    for row in rows:
        row.removed_by, row.removed_at = describe(act.principal), act.now
        await row.save(using_db=act.db)
    act.record("licence_removed", {"kind": kind, "count": len(rows)})
