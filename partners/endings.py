"""What stops here when a grant ends: lines on lists, applications, referrals.

It stands apart from the code that makes them: stopping must work while scoring, lists and delivery do not.
"""

from compliance import ids
from compliance.act import Act
from compliance.canonical import Json
from compliance.vocabulary import OPERATOR, GrantId, Purpose
from consent.endings import Ended, on_grant_ended
from partners import referrals
from partners.referrals import TRANSITIONS, Delivery, State
from partners.tables import ReferralRow
from scoring import endings  # noqa: F401 - what stops there stops wherever this does

RECALL = """
with gone as (
    update partners_entry set recalled_at = $2, recall_reason = $3 where grant_id = $1 and recalled_at is null
    returning id, prescreen, partner
), noted as (
    insert into partners_recall (entry, prescreen, partner, reason, recalled_at)
    select id, prescreen, partner, $3, $2 from gone
)
select id as entry from gone
"""


@on_grant_ended("partners_entry")
async def recall_entries(act: Act, ended: Ended) -> None:
    """Take the person back off every list that rested on the grant, in the act that ends it.

    One statement and one fact however many lists there are: stopping must stay light. The lists are all the recipient's.
    """
    rows = await act.db.execute_query_dict(RECALL, [ended.grant, act.now, ended.code])
    if not rows:
        return
    recalled: list[Json] = [ids.public("ent", row["entry"]) for row in rows]
    what: dict[str, Json] = {"entries": recalled, "reason": ended.code}
    act.record("entries_recalled", what, person=ended.user, grant=ended.grant, partner=ended.recipient)


@on_grant_ended("partners_application")
async def close_application(act: Act, ended: Ended) -> None:
    """Without the consent to matching, an application leads nowhere; a lender already picked has its own consent."""
    if ended.purpose is not Purpose.LOAN_REFERRAL or ended.recipient != OPERATOR:
        return
    rows = await act.db.execute_query_dict(
        "update partners_application set closed_at = $2 where grant_id = $1 and closed_at is null returning id",
        [ended.grant, act.now],
    )
    for row in rows:
        what: dict[str, Json] = {"application": ids.public("app", row["id"]), "code": ended.code}
        act.record("application_closed", what, person=ended.user, grant=GrantId(ended.grant))


@on_grant_ended("partners_referral")
async def stop_referral(act: Act, ended: Ended) -> None:
    """Stop what has not left yet, and withdraw what has not become a contract.

    What may have left is not called stopped: the courier asks the lender by our reference and says what it heard.
    """
    if ended.purpose is not Purpose.LOAN_REFERRAL or ended.recipient == OPERATOR:
        return
    for row in await ReferralRow.filter(grant_id=ended.grant).using_db(act.db).select_for_update():
        if row.delivery == Delivery.QUEUED:
            row.delivery = Delivery.STOPPED
        if State.WITHDRAWN in TRANSITIONS[State(row.state)]:
            await referrals.advance(act, row, State.WITHDRAWN, ended.code)
