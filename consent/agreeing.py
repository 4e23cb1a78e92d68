"""Who agreed to the same use: of data that are about several people, each of them is asked."""

from collections.abc import Sequence
from uuid import UUID

from compliance.act import Act
from compliance.vocabulary import Category, Purpose, UserId
from consent.people import is_adult
from consent.permits import BUSINESS_ZONE, Permit, PopulationPermit

AGREED = """
select g.user_id, p.born_on, array_agg(distinct concat_ws(' ', g.recipient, g.bureau, g.purpose)) as uses
from consent_grant g join consent_person p on p.id = g.user_id
where g.user_id = any($1::uuid[]) and $2 = any(g.categories) and g.state = 'active' and g.expires_at > $3
  and g.purpose <> all($4::text[]) and p.born_on is not null and p.erased_at is null
  and (g.purpose <> $5 or coalesce(p.objected_to_prescreen_at, p.objected_to_automation_at) is null)
group by g.user_id, p.born_on
"""


def use_of(permit: Permit | PopulationPermit) -> str:
    """A use as two people agree to the same one: by whom, through whom, for what."""
    return named(permit.recipient, permit.bureau, permit.purpose)


def named(recipient: UUID, bureau: UUID | None, purpose: str) -> str:
    """A use by its name, as the database writes it."""
    return " ".join(str(part) for part in (recipient, bureau, purpose) if part)


async def agreed(act: Act, users: Sequence[UserId], category: Category) -> dict[UserId, frozenset[str]]:
    """To which uses of one kind of their data these people agree at present, each who agrees to any.

    Of known age and with a live grant, as for any features (`permits.features_permit`); who objects to lists agrees to
    none. To look at oneself is no use: nobody else is looked at with it.
    """
    values = [
        list(users),
        category,
        act.now,
        [Purpose.MODEL_DEVELOPMENT, Purpose.SELF_VIEW],
        Purpose.PRESCREEN,
    ]
    rows = await act.db.execute_query_dict(AGREED, values)
    today = act.now.astimezone(BUSINESS_ZONE).date()
    return {UserId(row["user_id"]): frozenset(row["uses"]) for row in rows if is_adult(row["born_on"], today)}
