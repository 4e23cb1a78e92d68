"""What a partner asks a person for, as it comes over the wire: in a call, and in an authorization request."""

from typing import Annotated

import msgspec

from api.v1.wire import Id
from compliance import ids
from compliance.act import Act
from compliance.vocabulary import AnswerForm, Category, PartnerId, Purpose, UserId
from consent import grants, people
from consent.grants import Ask
from consent.people import Pseudonym
from partners import directory


class GrantRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom you ask for what. Without `user`, whoever opens the page and signs in is asked."""

    purpose: Purpose
    categories: Annotated[list[Category], msgspec.Meta(min_length=1, max_length=9)]
    user: Id | None = None
    recipient: Id | None = None
    """A bureau that relays names the bank."""
    period_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 90
    data_life_days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 90
    calls_per_month: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    """Absent: as many as the template of the purpose allows."""
    answer: AnswerForm = AnswerForm.FULL
    """How much of an evaluation you want to be told; the person reads it."""


async def of_caller(act: Act, data: GrantRequest) -> Ask:
    """The request of the calling partner, or of the lender that the calling bureau relays for."""
    caller: PartnerId = act.tenant
    recipient = await directory.relayed_for(act, data.recipient) if data.recipient else caller
    user: UserId | None = None
    if data.user:
        user = await people.by_pseudonym(act, Pseudonym(ids.private("usr", data.user)))
    return Ask(
        recipient=recipient,
        bureau=caller if recipient != caller else None,
        user=user,
        purpose=data.purpose,
        categories=frozenset(data.categories),
        period_days=data.period_days,
        data_life_days=data.data_life_days,
        calls_per_month=data.calls_per_month or grants.TEMPLATES[data.purpose].calls_per_month_max,
        channel="bank_redirect",
        answer=data.answer,
    )
