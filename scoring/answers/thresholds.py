"""Above or below one cut-off: the shortest answer there is, kept for 90 days so that asking again teaches nothing."""

from datetime import timedelta
from uuid import UUID

from compliance import facts, ids
from compliance.act import Act, View
from compliance.canonical import Json
from compliance.facts import describe
from compliance.refusals import NotFound, Refusal, SamePerson
from compliance.vocabulary import AnswerForm, Categories, PartnerId, UserId
from consent import permits
from scoring import scores
from scoring.release import Released
from scoring.scores import Against, Given
from scoring.tables import CutoffRow, ScoreRow

KEPT_FOR = CHANGED_EVERY = timedelta(days=90)
"""An answer is given again for as long as a cut-off stays as it is."""
WAITS_FOR = timedelta(days=7)
"""How long a cut-off that nobody approved stands in the way of another."""
SETTING = 7_005
"""Advisory locks of this class: one for each product whose cut-off is being set."""
LISTED_MAX = 500
KEPT = """
select id, grant_id, cutoff from scoring_score
where user_id = $1 and partner = $2 and product = $3 and issued_at > $5 and set_aside_at is null
order by grant_id = $4 desc, issued_at desc limit 1
"""


class NoCutoff(Refusal):
    """The product has no cut-off that two people stand behind."""

    status, code, title = 409, "no_cutoff", "No cut-off is in force for this product"


class CutoffChangedTooOften(Refusal):
    """The cut-off was set less than 90 days ago, or a change waits for its approval."""

    status, code, title = 409, "cutoff_changed_too_often", "This cut-off was changed not long ago"


async def record_cutoff(act: Act, partner: PartnerId, product: UUID, points: int) -> CutoffRow:
    """Record the points from which on a product's answers say `above`; they count once another person approves them.

    Raises `CutoffChangedTooOften` within 90 days of the last approval, and while another waits for its approval, for
    seven days at most. Records `cutoff_recorded`.
    """
    await _refuse_too_often(act, product)
    waiting = CutoffRow.filter(product=product, approved_at=None, recorded_at__gt=act.now - WAITS_FOR)
    if await waiting.using_db(act.db).exists():
        raise CutoffChangedTooOften("another cut-off waits for its approval")
    row = await CutoffRow.create(
        id=ids.ordered_id(),
        partner=partner,
        product=product,
        points=points,
        recorded_by=describe(act.principal),
        recorded_at=act.now,
        using_db=act.db,
    )
    act.record("cutoff_recorded", {"product": ids.public("prd", product), "points": points}, partner=partner)
    return row


async def approve_cutoff(act: Act, cutoff: UUID) -> CutoffRow:
    """The second pair of eyes; approved twice is fine. Records `cutoff_approved`."""
    row = await CutoffRow.filter(id=cutoff).using_db(act.db).select_for_update().first()
    if row is None:
        raise NotFound
    if facts.same_hands(row.recorded_by, act.principal):
        raise SamePerson("ask a colleague to approve what you recorded")
    if row.approved_at is None:
        await _refuse_too_often(act, row.product)
        row.approved_by, row.approved_at = describe(act.principal), act.now
        await row.save(using_db=act.db, update_fields=["approved_by", "approved_at"])
    told: dict[str, Json] = {"product": ids.public("prd", row.product), "points": row.points}
    act.record("cutoff_approved", told, partner=PartnerId(row.partner))
    return row


async def listed(view: View) -> list[CutoffRow]:
    """The latest cut-offs and those that wait for their approval, newest first."""
    return await CutoffRow.all().using_db(view.db).order_by("-id").limit(LISTED_MAX)


async def issue(
    act: Act, user: UserId, wanted: Categories, *, product: UUID, recipient: PartnerId | None = None
) -> Released[Given]:
    """Say whether a person's points reach the cut-off of one product of the recipient's.

    For 90 days, while the consent it rests on lives, the first answer is given again, whatever became of the cut-off,
    the data or the model. Under a new consent it is worked out anew, against the same cut-off. So a bank that moves its
    cut-off, or asks each month, learns nothing more; and what it asks about several products is counted in the budget
    of information.
    """
    permitted = await permits.permit(act, user, scores.PURPOSE, wanted, recipient=recipient)
    scores.refuse_form(permitted, AnswerForm.THRESHOLD)
    kept = await act.db.execute_query_dict(
        KEPT, [user, permitted.recipient, product, permitted.grant, act.now - KEPT_FOR]
    )
    if kept and kept[0]["grant_id"] == permitted.grant:
        return await scores.show(act, kept[0]["id"])
    cutoff = kept[0]["cutoff"] if kept else (await _in_force(act, permitted.recipient, product)).points
    against = Against(product, cutoff, KEPT_FOR)
    return await scores.issue_for(act, permitted, answer=AnswerForm.THRESHOLD, against=against)


def above(row: ScoreRow) -> bool:
    """What a threshold answer says."""
    return row.cutoff is not None and row.points >= row.cutoff


async def _in_force(act: Act, partner: PartnerId, product: UUID) -> CutoffRow:
    approved = CutoffRow.filter(partner=partner, product=product, approved_at__isnull=False)
    row = await approved.using_db(act.db).order_by("-approved_at").first()
    if row is None:
        raise NoCutoff("ask the operator to register one for this product")
    return row


async def _refuse_too_often(act: Act, product: UUID) -> None:
    """Whoever sets the cut-off of this product next waits here, and finds what was set."""
    await act.db.execute_query_dict("select pg_advisory_xact_lock($1, hashtext($2))", [SETTING, str(product)])
    lately = CutoffRow.filter(product=product, approved_at__gt=act.now - CHANGED_EVERY)
    if await lately.using_db(act.db).exists():
        raise CutoffChangedTooOften("a cut-off stays as it is for 90 days")
