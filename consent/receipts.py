"""Signed consent receipts that anybody can verify with the published key (shape of ISO/IEC TS 27560:2023)."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from joserfc import jws

from compliance import ids
from compliance.act import Act, View
from compliance.database import ground
from compliance.vocabulary import OPERATOR, GrantId, PartnerId
from consent import endings
from consent.tables import ExtensionRow, GrantRow, ReceiptRow

SCHEMA = "https://w3id.org/dpv/schema/27560-2023"
TYPE = "consent-receipt+jwt"


class NoticeShown(msgspec.Struct, frozen=True):
    """The text that was agreed to."""

    id: str
    sha256: str
    language: str


class Processing(msgspec.Struct, frozen=True):
    """What was allowed. Receipts older than the member say nothing of `calls_per_month`."""

    purpose: str
    pii_categories: tuple[str, ...]
    collection_method: str
    storage_days_at_recipient: int
    answer: str
    expires_at: datetime | None
    withdrawal_method: str
    calls_per_month: int | None = None


class Parties(msgspec.Struct, frozen=True):
    """Who may use it, as the outside knows them."""

    recipient: str
    bureau: str | None

    @property
    def partners(self) -> set[PartnerId]:
        """Both, as we know them."""
        return {party_named(named) for named in (self.recipient, self.bureau) if named}


class Event(msgspec.Struct, frozen=True):
    """What happened, when and by whom; the last three only where a longer period was given."""

    type: str
    time: datetime
    by: str
    asked_by: str | None = None
    expires_at: datetime | None = None
    notice_sha256: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What a receipt says."""

    iss: str
    iat: int
    jti: str
    record_id: str
    pii_principal_id: str
    notice: NoticeShown
    pii_processing: Processing
    parties: Parties
    state: str
    fictional: bool
    events: tuple[Event, ...]


endings.keep(
    "consent_receipt", "proof of what was agreed to and how it ended, for the person and the recipient"
)
endings.keep(
    "consent_use", "how often and when last a consent was used: the person may ask after it has ended"
)


async def issue(act: Act, grant: GrantRow, *, subject: str) -> str:
    """Sign and keep a receipt of a grant's state now; `subject` is what the recipient knows the person by.

    Lists every extension that was given, so that the newest receipt alone tells until when, and by how many yeses.

    Compact JWS, ES256, `typ` consent-receipt+jwt, key in the JWKS.
    """
    given = ExtensionRow.filter(grant_id=grant.id, answer="yes").using_db(act.db)
    claims = record(grant, subject, act.now, await given.order_by("answered_at"))
    signed = ground().keyring.sign(TYPE, claims)
    await ReceiptRow.create(
        grant_id=grant.id,
        user_id=grant.user_id,
        recipient=grant.recipient,
        signed=signed,
        issued_at=act.now,
        using_db=act.db,
    )
    return signed


async def newest(at: Act | View, grant: GrantId) -> ReceiptRow | None:
    """The newest receipt of a grant that the caller may see."""
    return await ReceiptRow.filter(grant_id=grant).using_db(at.db).order_by("-issued_at").first()


def record(
    grant: GrantRow, subject: str, at: datetime, extensions: Sequence[ExtensionRow]
) -> dict[str, object]:
    """The consent record: header, notice, processing, parties and the events so far, times in RFC 3339."""
    events = [{"type": "consent_requested", "time": _when(grant.requested_at), "by": "recipient"}]
    if grant.given_at:
        events.append({"type": "consent_given", "time": _when(grant.given_at), "by": "data_subject"})
    events += [_extended(extension) for extension in extensions]
    if grant.ended_at:
        events.append(
            {"type": f"consent_{grant.ended_code}", "time": _when(grant.ended_at), "by": str(grant.ended_by)}
        )
    return {
        "iss": ground().origin,
        "iat": int(at.timestamp()),
        "jti": ids.public("rcp", ids.random_id()),
        "schema_version": SCHEMA,
        "record_id": ids.public("gnt", grant.id),
        "pii_principal_id": subject,
        "notice": {
            "id": f"{grant.notice_id}@{grant.notice_version}",
            "sha256": grant.notice_sha256,
            "language": grant.language,
        },
        "pii_processing": {
            "purpose": grant.purpose,
            "pii_categories": sorted(grant.categories),
            "collection_method": grant.channel,
            "storage_days_at_recipient": grant.data_life_days,
            "calls_per_month": grant.calls_per_month,
            "answer": grant.answer,
            "expires_at": _when(grant.expires_at) if grant.expires_at else None,
            "withdrawal_method": "/me",
        },
        "parties": {
            "pii_controller": "operator",
            "recipient": party(PartnerId(grant.recipient)),
            "bureau": party(PartnerId(grant.bureau)) if grant.bureau else None,
        },
        "state": grant.state,
        "fictional": grant.fictional,
        "events": events,
    }


def read(signed: str) -> Receipt:
    """What a receipt of our own says; its signature is for others to check."""
    return msgspec.json.decode(jws.extract_compact(signed.encode()).payload, type=Receipt)


def key_id(signed: str) -> str:
    """Which of the published keys a receipt of our own is signed with."""
    return str(jws.extract_compact(signed.encode()).headers()["kid"])


def _extended(extension: ExtensionRow) -> dict[str, str]:
    """A yes to a longer period: when, asked for by whom, to which end, having read which text."""
    if extension.answered_at is None or extension.to_expires_at is None:
        raise ValueError("only an extension that was given is part of a receipt")
    return {
        "type": "consent_extended",
        "time": _when(extension.answered_at),
        "by": "data_subject",
        "asked_by": "recipient" if extension.asked_by == "partner" else "data_subject",
        "expires_at": _when(extension.to_expires_at),
        "notice_sha256": str(extension.notice_sha256),
    }


def party(partner: PartnerId) -> str:
    """A recipient as the outside knows it."""
    return "operator" if partner == OPERATOR else ids.public("ptn", partner)


def party_named(named: str) -> PartnerId:
    """Who a receipt means: the reverse of `party`."""
    return OPERATOR if named == "operator" else PartnerId(ids.private("ptn", named))


def _when(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
