"""A person's answer to a request for consent: the consent itself, and what waits for it elsewhere."""

from dataclasses import dataclass

from api.oauth import authorizations
from compliance.act import Act
from compliance.vocabulary import OPERATOR, Categories, GrantId, Language, PartnerId
from consent import grants
from consent.grants import RejectionReason
from consent.tables import GrantRow
from partners import directory


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of it: the grant, its receipt after a yes, and where a client waits for the person to come back."""

    grant: GrantRow
    receipt: str | None
    back: str | None


async def say_yes(
    act: Act, grant: GrantId, categories: Categories, language: Language, *, issuer: str, shown: str | None
) -> Answered:
    """Yes to these categories; refused towards a partner that is suspended, which could do nothing with it."""
    asked = await grants.find(act, grant)
    for partner in (asked.recipient, asked.bureau):
        if partner not in (None, OPERATOR):
            await directory.refuse_suspended(act, PartnerId(partner))
    await authorizations.refuse_stopped(act, grant)
    row, receipt = await grants.approve(act, grant, categories, language, shown=shown)
    return Answered(row, receipt, await authorizations.answer(act, grant, given=True, issuer=issuer))


async def say_no(act: Act, grant: GrantId, reason: RejectionReason | None, *, issuer: str) -> Answered:
    """No; the client that waits is told so."""
    row = await grants.reject(act, grant, reason)
    return Answered(row, None, await authorizations.answer(act, grant, given=False, issuer=issuer))
