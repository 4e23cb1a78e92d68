"""A consent receipt as a PDF in the person's language: a copy for people, with the signed receipt inside."""

import asyncio
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
import typst

from api.oauth.endpoints import KEYS_PATH
from api.web.texts import Names, Words
from consent import receipts
from consent.receipts import Event, Receipt

TEMPLATE = Path(__file__).parent / "papers" / "receipt.typ"
FONTS = "noto_cjk_sans_otc"
STANDARDS: list["typst.PDFStandard"] = ["a-3a", "ua-1"]
"""PDF/A-3 may carry files (ISO 19005-3); level a and PDF/UA-1 (ISO 14289-1) are tagged for screen readers."""
ATTACHMENT = "receipt.jws"
TEXT_LENGTH_MAX = 400
"""A longer text is cut: what a partner is called has no bound in the database."""
LATIN_END = 0x100
IDEOGRAPHS = (range(0x3400, 0x4DB6), range(0x4E00, 0x9FF0))


@dataclass(frozen=True, slots=True)
class Line:
    """A label and what it says, each value on a line of its own; digests are set so that they can be compared."""

    label: str
    values: tuple[str, ...]
    digest: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Sentences under a heading, then lines, then numbered steps."""

    heading: str
    before: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Paper:
    """Everything the paper says."""

    language: str
    title: str
    operator: str
    subject: str
    notes: tuple[str, ...]
    record: str
    parts: tuple[Part, ...]
    attachment: str
    attached: str


async def printed(signed: str, said: Words, names: Names, issuer: str) -> bytes:
    """The PDF of a receipt of our own; the same bytes for the same receipt, words and names.

    It says what the receipt says, and adds names, the address of the page and how to check it.
    """
    receipt = receipts.read(signed)
    said = replace(said, operator=_fit(said.operator))
    names = {one: {lang: _fit(name) for lang, name in called.items()} for one, called in names.items()}
    recipient = _party(receipt.parties.recipient, said, names)
    paper = Paper(
        language=said.language,
        title=said.t("paper.title"),
        operator=said.operator,
        subject=said.t("grant.title", recipient=recipient, purpose=_purpose(receipt, said)),
        notes=(*([said.t("paper.fictional")] if receipt.fictional else []), said.t("paper.zone")),
        record=receipt.record_id,
        parts=(
            Part(said.t("paper.agreed_heading"), lines=_agreed(receipt, said, names)),
            _happened(receipt, said, recipient),
            *_stop(receipt, said, issuer),
            _proof(receipt, signed, said, issuer),
        ),
        attachment=ATTACHMENT,
        attached=said.t("paper.attached"),
    )
    return await asyncio.to_thread(_set, paper, signed, receipt.iat)


def _set(paper: Paper, signed: str, at: int) -> bytes:
    """Texts go in as data, never as markup; nothing is read but the template and our font, nothing is fetched."""
    return typst.compile(
        str(TEMPLATE),
        root=str(TEMPLATE.parent),
        font_paths=_fonts(),
        ignore_system_fonts=True,
        sys_inputs={"paper": msgspec.json.encode(paper).decode(), "signed": signed},
        pdf_standards=STANDARDS,
        timestamp=at,
    )


@cache
def _fonts() -> typst.Fonts:
    folder = str(files(FONTS))
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[folder])


def _agreed(receipt: Receipt, said: Words, names: Names) -> tuple[Line, ...]:
    """Who agreed to what, for whom, from when until when, having read which text."""
    t, allowed, notice = said.t, receipt.pii_processing, receipt.notice
    given = next((event.time for event in receipt.events if event.type == "consent_given"), None)
    often, language = allowed.calls_per_month, notice.language.lower().replace("-", "_")
    rows: list[tuple[str, str | None]] = [
        ("paper.who_agreed", t("paper.you", id=receipt.pii_principal_id)),
        ("paper.operator", t("paper.issued_by", operator=said.operator, issuer=receipt.iss)),
        ("paper.recipient", _with_id(receipt.parties.recipient, said, names)),
        ("ask.relay", _with_id(receipt.parties.bureau, said, names)),
        ("ask.what_for", _purpose(receipt, said)),
        ("grant.categories", "\n".join(map(said.category_name, allowed.pii_categories))),
        ("ask.told", t(f"ask.told_{allowed.answer}")),
        ("ask.how_often", t("ask.calls_per_month", count=often) if often else None),
        ("paper.from", said.when(given) if given else None),
        ("grant.until", said.when(allowed.expires_at) if allowed.expires_at else None),
        ("ask.data_life", t("ask.data_life_days", days=allowed.storage_days_at_recipient)),
        ("paper.how_agreed", t(f"channel.{allowed.collection_method}")),
        ("grant.notice_shown", t(f"paper.notice_in_{language}", id=notice.id)),
    ]
    lines = [Line(t(label), tuple(text.split("\n"))) for label, text in rows if text]
    return (*lines, Line(t("paper.notice_digest"), (notice.sha256,), digest=True))


def _happened(receipt: Receipt, said: Words, recipient: str) -> Part:
    """The events up to the signature, and what state they led to."""
    signed_at = said.when(datetime.fromtimestamp(receipt.iat, UTC))
    state = said.t("paper.event.signed", state=said.t(f"state.grant.{receipt.state}"))
    lines = [line for event in receipt.events for line in _event(event, said, recipient)]
    return Part(
        said.t("paper.events_heading"),
        lines=(*lines, Line(signed_at, (state, said.t("paper.later")))),
    )


def _event(event: Event, said: Words, recipient: str) -> tuple[Line, ...]:
    """One event in words; an end with its code, a longer period with the text that was agreed to."""
    t, at, code = said.t, said.when(event.time), event.type.removeprefix("consent_")
    if event.expires_at and event.notice_sha256:
        longer = f"paper.event.consent_extended_{event.asked_by}"
        text = t(longer, recipient=recipient, time=said.when(event.expires_at))
        return Line(at, (text,)), Line(t("paper.notice_digest"), (event.notice_sha256,), digest=True)
    if ended := said.said(f"state.ended.{code}"):
        return (Line(at, (t("paper.event.consent_ended", what=ended, code=code),)),)
    return (Line(at, (t(f"paper.event.{event.type}", recipient=recipient),)),)


def _stop(receipt: Receipt, said: Words, issuer: str) -> tuple[Part, ...]:
    """How to withdraw, while there is something to withdraw."""
    if receipt.state == "ended":
        return ()
    address = f"{issuer}{receipt.pii_processing.withdrawal_method}"
    return (Part(said.t("paper.stop_heading"), before=(said.t("paper.stop", address=address),)),)


def _proof(receipt: Receipt, signed: str, said: Words, issuer: str) -> Part:
    """How anybody checks the signed receipt inside, with the published key."""
    t = said.t
    return Part(
        t("paper.proof_heading"),
        before=(t("paper.copy", file=ATTACHMENT),),
        lines=(
            Line(t("paper.record"), (receipt.record_id,)),
            Line(t("paper.receipt"), (receipt.jti,)),
            Line(t("paper.digest"), (hashlib.sha256(signed.encode()).hexdigest(),), digest=True),
            Line(t("paper.key"), (receipts.key_id(signed),), digest=True),
        ),
        steps=(
            t("paper.how_save", file=ATTACHMENT),
            t("paper.how_key", address=f"{issuer}{KEYS_PATH}"),
            t("paper.how_verify"),
            t("paper.how_type", type=receipts.TYPE),
        ),
    )


def _purpose(receipt: Receipt, said: Words) -> str:
    return said.purpose_name(receipt.pii_processing.purpose)


def _party(named: str, said: Words, names: Names) -> str:
    return said.party(receipts.party_named(named), names)


def _with_id(named: str | None, said: Words, names: Names) -> str | None:
    """A party's name, with the id that the receipt knows it by."""
    return named and said.t("paper.named", name=_party(named, said, names), id=named)


def _fit(text: str) -> str:
    """A text that our font can show: any other character as its number, and no more than so many."""
    return "".join(one if is_in_font(one) else f"[U+{ord(one):04X}]" for one in text[:TEXT_LENGTH_MAX])


def is_in_font(one: str) -> bool:
    """Latin-1, GB 2312 and the ideographs beyond it, as far as printable: PDF/A wants every character drawn."""
    if not one.isprintable():
        return False
    if ord(one) < LATIN_END or any(ord(one) in block for block in IDEOGRAPHS):
        return True
    try:
        return bool(one.encode("gb2312"))
    except UnicodeEncodeError:
        return False
