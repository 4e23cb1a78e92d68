"""/v1/me/answers: a person's own incomes, limits and portraits, as they were given to others."""

from typing import Any

import msgspec
from litestar import get

from api.access import AnyRequest, person, request_act
from api.v1.scores import Coverage
from api.v1.wire import Page, when
from compliance import ids
from compliance.vocabulary import PartnerId
from consent import permits, receipts
from scoring.answers import given


class OwnAnswerView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer that somebody was given about you: an estimate, no verdict, no promise, and in no credit record.

    `told` is all that they were told; amounts are a month's, in whole units of the currency.
    """

    id: str
    kind: str
    recipient: str
    told: dict[str, Any]
    coverage: Coverage
    issued_at: str
    valid_until: str
    set_aside_at: str | None = None
    """Since when no partner may use it any more."""


@get("/v1/me/answers", opt=person(), summary="My incomes, limits and portraits")
async def list_own_answers(request: AnyRequest) -> Page[OwnAnswerView]:
    """Every answer beside scores that was given to somebody about you, newest first."""
    async with request_act(request) as act:
        rows = await given.mine(act, permits.own_permit(act))
        return Page(
            [
                OwnAnswerView(
                    id=ids.public("ans", row.id),
                    kind=row.kind,
                    recipient=receipts.party(PartnerId(row.partner)),
                    told=row.told,
                    coverage=Coverage(row.used, row.not_used),
                    issued_at=when(row.issued_at),
                    valid_until=when(row.valid_until),
                    set_aside_at=when(row.set_aside_at) if row.set_aside_at else None,
                )
                for row in rows
            ]
        )


routes = [list_own_answers]
