"""/v1/me/answers: a person's own incomes, limits and portraits, as they were given to others."""

import msgspec
from litestar import get

from api.access import AnyRequest, person, request_act
from api.v1 import incomes, limits, portraits
from api.v1.incomes import IncomeTold
from api.v1.limits import LimitTold
from api.v1.portraits import PortraitTold
from api.v1.scores import Coverage
from api.v1.wire import Page, when
from compliance import ids
from compliance.vocabulary import PartnerId
from consent import permits, receipts
from scoring.answers import given
from scoring.tables import AnswerRow


class OwnAnswerView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer that somebody was given about you: an estimate, no verdict, no promise, and in no credit record.

    What they were told stands under its `kind`, as they were told it.
    """

    id: str
    kind: str
    recipient: str
    coverage: Coverage
    issued_at: str
    valid_until: str
    income: IncomeTold | None = None
    limit: LimitTold | None = None
    portrait: PortraitTold | None = None
    set_aside_at: str | None = None
    """Since when no partner may use it any more."""


@get("/v1/me/answers", opt=person(), summary="My incomes, limits and portraits")
async def list_own_answers(request: AnyRequest) -> Page[OwnAnswerView]:
    """Every answer beside scores that was given to somebody about you, newest first."""
    async with request_act(request) as act:
        return Page([view(row) for row in await given.mine(act, permits.own_permit(act))])


def view(row: AnswerRow) -> OwnAnswerView:
    """An answer as its person sees it."""
    return OwnAnswerView(
        id=ids.public("ans", row.id),
        kind=row.kind,
        recipient=receipts.party(PartnerId(row.partner)),
        coverage=Coverage(row.used, row.not_used),
        issued_at=when(row.issued_at),
        valid_until=when(row.valid_until),
        set_aside_at=when(row.set_aside_at) if row.set_aside_at else None,
        income=incomes.told(row) if row.kind == "income" else None,
        limit=limits.told(row) if row.kind == "limit" else None,
        portrait=portraits.told(row) if row.kind == "portrait" else None,
    )


routes = [list_own_answers]
