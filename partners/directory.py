"""The directory of licensed institutions: who they are, what they may do, where people are handed over to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from compliance import ids
from compliance.act import Act, View
from compliance.refusals import NotFound, Refusal
from compliance.vocabulary import OPERATOR, Language, PartnerId, PartnerKind
from consent.permits import BUSINESS_ZONE
from partners.tables import PartnerRow
from scoring import release

PARTNERS_MAX = 1_000
OPERATOR_CODE = "operator"
LENDERS = frozenset({PartnerKind.BANK, PartnerKind.CONSUMER_FINANCE, PartnerKind.MICROLENDER})


class PartnerSuspended(Refusal):
    """The partner is frozen: it gets nothing, may learn what was withdrawn, and do nothing else."""

    status, code, title = 403, "partner_suspended", "The partner is suspended"

    def __init__(self, detail: str = "ask the operator; what people withdraw can still be read") -> None:
        super().__init__(detail)


class NotARelay(Refusal):
    """Only a licensed credit bureau may ask for another institution."""

    status, code, title = 403, "not_a_relay", "Only a licensed credit bureau may relay"


@dataclass(frozen=True, slots=True)
class Institution:
    """A licensed institution that becomes a partner."""

    code: str
    name_zh: str
    name_en: str
    kind: PartnerKind
    licence: str
    licence_from: date
    licence_until: date
    owned_hosts: tuple[str, ...]
    lender_class: str | None = None
    operator_stake: bool = False


async def admit(act: Act, institution: Institution) -> PartnerRow:
    """Make an institution a partner, or note its hosts anew if its code is known. Records `partner_admitted`."""
    row = await PartnerRow.filter(code=institution.code).using_db(act.db).first()
    if row is None:
        row = await PartnerRow.create(
            id=ids.random_id(),
            code=institution.code,
            name_zh=institution.name_zh,
            name_en=institution.name_en,
            kind=institution.kind,
            lender_class=institution.lender_class,
            licence=institution.licence,
            licence_from=institution.licence_from,
            licence_until=institution.licence_until,
            owned_hosts=list(institution.owned_hosts),
            operator_stake=institution.operator_stake,
            made_at=act.now,
            using_db=act.db,
        )
    row.owned_hosts = list(institution.owned_hosts)
    await row.save(using_db=act.db, update_fields=["owned_hosts"])
    act.record("partner_admitted", {"code": row.code, "kind": row.kind}, partner=PartnerId(row.id))
    return row


async def operator(act: Act) -> PartnerId:
    """The operator as the owner of its own clients; entered when it is first needed. Records `partner_admitted`."""
    if not await PartnerRow.exists(id=OPERATOR, using_db=act.db):
        await PartnerRow.create(
            id=OPERATOR,
            code=OPERATOR_CODE,
            name_zh="平台运营方",
            name_en="The operator",
            kind=PartnerKind.OPERATOR,
            licence="",
            licence_from=act.now.date(),
            licence_until=act.now.date(),
            owned_hosts=[],
            operator_stake=False,
            made_at=act.now,
            using_db=act.db,
        )
    act.record("partner_admitted", {"code": OPERATOR_CODE, "kind": PartnerKind.OPERATOR}, partner=OPERATOR)
    return OPERATOR


async def find(at: Act | View, partner: PartnerId) -> PartnerRow:
    """One partner, or 404."""
    row = await PartnerRow.filter(id=partner).using_db(at.db).first()
    if row is None:
        raise NotFound
    return row


async def refuse_suspended(at: Act | View, partner: PartnerId) -> None:
    """Raises `PartnerSuspended` while the partner is."""
    if (await find(at, partner)).suspended_at is not None:
        raise PartnerSuspended("this institution can be given nothing now")


async def names(at: Act | View, partners: Iterable[PartnerId]) -> dict[PartnerId, Mapping[Language, str]]:
    """What these partners are called; the operator is not in the directory."""
    return _named(await PartnerRow.filter(id__in=set(partners)).using_db(at.db))


async def everybody(at: Act | View) -> dict[PartnerId, Mapping[Language, str]]:
    """What all partners are called."""
    return _named(await PartnerRow.all().using_db(at.db).order_by("code").limit(PARTNERS_MAX))


def _named(rows: list[PartnerRow]) -> dict[PartnerId, Mapping[Language, str]]:
    called: dict[PartnerId, Mapping[Language, str]] = {
        PartnerId(row.id): {Language.ZH_CN: row.name_zh, Language.EN: row.name_en} for row in rows
    }
    called.pop(OPERATOR, None)  # the operator is called as its settings say
    return called


def is_licensed(row: PartnerRow, day: date) -> bool:
    """Whether the institution's licence is valid on a day."""
    return row.licence_from <= day < row.licence_until


async def relayed_for(act: Act, recipient: str) -> PartnerId:
    """The lender that the calling bureau names; refuses callers that are no bureau."""
    caller = await find(act, act.tenant)
    named = await find(act, PartnerId(ids.private("ptn", recipient)))
    if named.id == caller.id:
        return PartnerId(caller.id)
    if caller.kind != PartnerKind.CREDIT_BUREAU:
        raise NotARelay("leave `recipient` out: it is yours to use only if you are a licensed bureau")
    today = act.now.astimezone(BUSINESS_ZONE).date()
    if PartnerKind(named.kind) not in LENDERS or named.suspended_at or not is_licensed(named, today):
        raise NotARelay("this institution can be given nothing now")
    if not await release.is_open(act, PartnerId(named.id), PartnerId(caller.id)):
        raise NotARelay("no relay from you to this lender is recorded")
    return PartnerId(named.id)
