"""What stops here when a grant ends, apart from the code that evaluates: stopping must work while scoring does not."""

from compliance.act import Act
from compliance.vocabulary import Category, Purpose
from consent import endings
from consent.endings import Ended, on_grant_ended

DEPART = """
insert into scoring_departure (grant_id, user_id, recipient)
select id, user_id, recipient from consent_grant where id = $1 and bureau is null
"""

CONTACTS_LEFT = """
insert into scoring_contact_left (user_id, grant_id)
select user_id, id from consent_grant where id = $1 and $2 = any(categories)
"""

endings.keep(
    "scoring_prepared", "a note that features were computed, without any; forgotten with the next snapshot"
)


@on_grant_ended("scoring_preview")
async def forget_previews(act: Act, ended: Ended) -> None:
    """Without the consent to look at one's own data nothing of what was worked out is kept."""
    if ended.purpose is Purpose.SELF_VIEW:
        await act.db.execute_query("delete from scoring_preview where grant_id = $1", [ended.grant])


@on_grant_ended("scoring_departure")
async def leave_runs(act: Act, ended: Ended) -> None:
    """Without the consent to lists nobody stays in the recipient's population runs: the worker takes them out.

    A grant that names a bureau put nobody there.
    """
    if ended.purpose is Purpose.PRESCREEN:
        await act.db.execute_query(DEPART, [ended.grant])


@on_grant_ended("scoring_contact_left")
async def leave_contacts(act: Act, ended: Ended) -> None:
    """Without the consent nobody is anybody's contact for that use: the worker hides the contacts that count them."""
    await act.db.execute_query(CONTACTS_LEFT, [ended.grant, Category.SOCIAL_GRAPH])
