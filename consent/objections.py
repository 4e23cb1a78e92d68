"""The person's switch against being put on lists, whatever they allowed before."""

from compliance.act import Act, View
from compliance.refusals import NotFound
from compliance.vocabulary import GrantId, PartnerId, Person, Purpose
from consent import endings
from consent.endings import Ended
from consent.tables import GrantRow


async def object_to_lists(act: Act, *, objects: bool) -> None:
    """Object to every pre-approval list, or take the objection back; twice is fine.

    Objecting takes the person off the lists they are on, in this same act. Records `prescreen_objected` or
    `prescreen_objection_lifted`.
    """
    if not isinstance(act.principal, Person):
        raise NotFound
    user = act.principal.user
    await act.db.execute_query(
        "update consent_person set objected_to_prescreen_at = $2 where id = $1",
        [user, act.now if objects else None],
    )
    act.record("prescreen_objected" if objects else "prescreen_objection_lifted", {}, person=user)
    if objects:
        listed = GrantRow.filter(user_id=user, purpose=Purpose.PRESCREEN, state__in=["active", "paused"])
        for row in await listed.using_db(act.db).select_for_update():
            ended = Ended(GrantId(row.id), user, PartnerId(row.recipient), Purpose.PRESCREEN, "objected")
            await endings.run(act, ended)


async def objects(at: Act | View) -> bool:
    """Whether the person whose session this is objects to lists now."""
    rows = await at.db.execute_query_dict("select objected_to_prescreen_at from consent_person")
    return bool(rows and rows[0]["objected_to_prescreen_at"])
