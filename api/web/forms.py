"""Forms: what a page sends is read only if the same session was given that page."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from babel.numbers import get_currency_precision

from api import sessions
from api.access import AnyRequest
from compliance.refusals import Fault, Refusal, Unacceptable
from compliance.vocabulary import Categories, Category
from consent.grants import RejectionReason
from consent.permits import BUSINESS_ZONE
from consent.statements import LENGTH_MAX

TOKEN = "_csrf_token"  # noqa: S105 - the name of a field, not a secret
FIELDS_MAX = 40
VALUE_LENGTH_MAX = 1_000
PROSE_LENGTH_MAX = LENGTH_MAX + 1
"""One more than is accepted: what is too long is refused, not cut."""
AMOUNT = re.compile(r"\d{1,11}(\.\d{1,4})?")
AMOUNT_MAX = 10**11


class FormExpired(Refusal):
    """The form does not carry the token of this session."""

    status, code, title = 403, "form_expired", "This form is too old"


class Form:
    """The fields of a form whose token was checked."""

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """One line of text; empty where there is none."""
        return self._fields.get(name, [""])[0].strip()

    def ticked(self, name: str) -> bool:
        """Whether a box was ticked."""
        return name in self._fields

    def categories(self) -> Categories:
        """The kinds of data that were ticked."""
        try:
            return frozenset(Category(value) for value in self._fields.get("categories", ()))
        except ValueError:
            raise self.fault("categories", "invalid", "choose among those on the page") from None

    def shaped(self, name: str, shape: Any) -> Any:
        """A value within the bounds that the API has for it: `shape` is the wire's type of a text, number or choice."""
        try:
            return msgspec.convert(self.text(name), shape, strict=False)
        except msgspec.ValidationError:
            raise self.fault(name, "invalid", "a value that the page offers") from None

    def minor(self, name: str, currency: str) -> int:
        """An amount as people write it, in minor units of the currency."""
        written, places = self.text(name).replace(",", ""), get_currency_precision(currency)
        if not AMOUNT.fullmatch(written):  # neither an exponent nor more digits than money has
            raise self.fault(name, "invalid", "an amount in figures")
        amount = Decimal(written).scaleb(places)
        if not 0 < amount < AMOUNT_MAX or amount != amount.to_integral_value():
            raise self.fault(name, "invalid", f"an amount with at most {places} decimal places")
        return int(amount)

    @staticmethod
    def fault(name: str, code: str, detail: str) -> Unacceptable:
        """A refusal that names a field."""
        return Unacceptable("correct the field that is named", Fault(f"/{name}", code, detail))


async def read(request: AnyRequest, *, prose: str | None = None) -> Form:
    """The form, or `FormExpired` where its token is not this session's. `prose`: the field that may have lines."""
    sent = await request.form()
    fields: dict[str, list[str]] = {}
    for name, value in list(sent.multi_items())[:FIELDS_MAX]:
        if name == prose and isinstance(value, str):  # the domain says which characters are text
            fields.setdefault(name, []).append(value.replace("\r\n", "\n").strip()[:PROSE_LENGTH_MAX])
            continue
        if not isinstance(value, str) or not value.isprintable():
            raise Form.fault(name, "invalid", "one line of text")
        fields.setdefault(name, []).append(value[:VALUE_LENGTH_MAX])
    form = Form(fields)
    if not sessions.csrf_holds(request, form.text(TOKEN)):
        raise FormExpired("open the page again and send its form")
    return form


def reason(form: Form) -> RejectionReason | None:
    """Why a person says no, if they say."""
    given = form.text("reason")
    return RejectionReason(given) if given in list(RejectionReason) else None


def day_start(text: str, *, after_days: int = 0) -> datetime | None:
    """The beginning of a day (ISO 8601) in the business zone, or of one some days later; None where there is none."""
    try:
        on = date.fromisoformat(text) + timedelta(days=after_days)
        return datetime.combine(on, time(), BUSINESS_ZONE).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
