"""The access log: what is recorded about a person, as they see it, and as staff see it for a stated reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from compliance import facts, ids, sequencer
from compliance.act import Act, View
from compliance.canonical import Json
from compliance.database import ground
from compliance.keys import KeyErased
from compliance.refusals import NotFound
from compliance.vocabulary import Categories, Category, FactId, GrantId, PartnerId, Purpose, UserId
from consent.permits import BUSINESS_ZONE, OwnPermit, StaffPermit

PAGE_MAX = 50
COLUMNS = "f.id, f.kind, f.recorded_at, f.partner, f.person, f.grant_id, f.purpose, f.principal"
ONE = "select {columns}, f.sealed from compliance_fact f where f.id = $1"
BY_OTHERS = (
    "f.principal <> 'person' and f.kind not in ('link_made', 'grant_requested', 'grant_extension_requested')"
)
MINE = """
select {columns} from compliance_fact f
where f.person = $1 and {whose} and ($2::uuid is null or f.grant_id = $2)
  and ($3::uuid is null or f.seq < (select seq from compliance_fact where id = $3))
order by f.seq desc limit $4
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded fact, without its content."""

    fact: FactId
    kind: str
    at: datetime
    partner: PartnerId
    person: UserId | None
    purpose: str | None
    principal: str


@dataclass(frozen=True, slots=True)
class Opened:
    """One recorded fact with its content: what was done, and the salt that lets anybody check the commitment."""

    entry: Entry
    payload: bytes
    salt: bytes

    @property
    def what(self) -> Mapping[str, Json]:
        """The content."""
        return facts.read_opening(self.payload, self.salt).payload


@dataclass(frozen=True, slots=True)
class Use:
    """How much a grant was used this month, and when last."""

    calls_this_month: int
    last_used_at: datetime


async def mine(
    view: View | Act,
    user: UserId,
    *,
    by_others: bool = False,
    grant: GrantId | None = None,
    before: UUID | None = None,
    limit: int = PAGE_MAX,
) -> list[Entry]:
    """A person's own entries, newest first; `by_others` leaves out what they did themselves."""
    sql = MINE.format(columns=COLUMNS, whose=BY_OTHERS if by_others else "true")
    return [entry(row) for row in await view.db.execute_query_dict(sql, [user, grant, before, limit])]


async def uses(view: View, user: UserId) -> dict[GrantId, Use]:
    """How each of a person's grants was used."""
    month = view.now.astimezone(BUSINESS_ZONE).date().replace(day=1)
    rows = await view.db.execute_query_dict(
        """select u.grant_id, max(u.last_used_at) as last, coalesce(sum(u.calls) filter (where u.month = $2), 0) as calls
           from consent_use u join consent_grant g on g.id = u.grant_id where g.user_id = $1 group by u.grant_id""",
        [user, month],
    )
    return {GrantId(row["grant_id"]): Use(int(row["calls"]), row["last"]) for row in rows}


async def sets_used(
    at: View | Act, user: UserId, purpose: Purpose, recipient: PartnerId, since: datetime
) -> frozenset[Categories]:
    """The different choices of data with which a person's consents of this purpose were used since then, by whichever way."""
    rows = await at.db.execute_query_dict(
        "select categories from consent_sets_used($1, $2, $3, $4)",
        [user, purpose, recipient, since],
    )
    return frozenset(frozenset(Category(c) for c in row["categories"]) for row in rows)


async def open_own(act: Act, own: OwnPermit, fact: FactId) -> Opened:
    """A person reads the content of an entry about them. Records `own_fact_read`."""
    opened = await _open(act, fact)
    if opened.entry.person != own.user:
        raise NotFound
    act.record("own_fact_read", {"fact": ids.public("fct", fact)}, person=own.user)
    return opened


async def open_as_staff(act: Act, looks: StaffPermit, fact: FactId) -> Opened:
    """Staff read the content of an entry, for the reason that the permit has recorded. Records `fact_read`."""
    opened = await _open(act, fact)
    told: dict[str, Json] = {"fact": ids.public("fct", fact), "reason": looks.reason}
    act.record("fact_read", told, person=opened.entry.person)
    return opened


async def find(at: Act | View, fact: FactId) -> Entry:
    """One entry that the caller may see, without its content; or 404."""
    return entry(await _row(at, fact))


def entry(row: Mapping[str, Any]) -> Entry:
    """An entry from its columns."""
    person = UserId(row["person"]) if row["person"] else None
    partner, purpose = PartnerId(row["partner"]), row["purpose"]
    return Entry(
        FactId(row["id"]), row["kind"], row["recorded_at"], partner, person, purpose, row["principal"]
    )


async def _open(act: Act, fact: FactId) -> Opened:
    row = await _row(act, fact)
    sealers = await ground().key_store.sealers([row["person"]] if row["person"] else [])
    content = sequencer.unseal(row, sealers)
    if content is None:
        raise KeyErased("the content was deleted and cannot be read again")
    return Opened(entry(row), content.payload, content.salt)


async def _row(at: Act | View, fact: FactId) -> Mapping[str, Any]:
    rows = await at.db.execute_query_dict(ONE.format(columns=COLUMNS), [fact])
    if not rows:
        raise NotFound
    found: Mapping[str, Any] = rows[0]
    return found
