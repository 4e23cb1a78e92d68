"""What a person can object to whatever they allowed before: pre-approval lists, and decisions by automated means alone."""

from dataclasses import dataclass

from compliance.act import Act, View
from compliance.refusals import NotFound
from compliance.vocabulary import GrantId, PartnerId, Person, Purpose, UserId
from consent import endings
from consent.endings import Ended
from consent.tables import GrantRow


@dataclass(frozen=True, slots=True)
class Objections:
    """What a person objects to now."""

    lists: bool
    automation: bool


async def object_to_lists(act: Act, *, objects: bool) -> None:
    """Object to every pre-approval list, or take the objection back; twice is fine.

    Objecting takes the person off the lists they are on, in this same act. Records `prescreen_objected` or
    `prescreen_objection_lifted`.
    """
    user = _acting(act)
    await act.db.execute_query(
        "update consent_person set objected_to_prescreen_at = $2 where id = $1",
        [user, act.now if objects else None],
    )
    act.record("prescreen_objected" if objects else "prescreen_objection_lifted", {}, person=user)
    if objects:
        await leave_lists(act, user, "objected")


async def object_to_automation(act: Act, *, objects: bool) -> None:
    """Object to decisions made by automated means alone (PIPL Art 24), or take the objection back; twice is fine.

    While it holds every evaluation says so to its recipient, whose people must decide. A list is made by a program
    alone, so the person is taken off lists in this same act. Records `automation_objected` or
    `automation_objection_lifted`.
    """
    user = _acting(act)
    await act.db.execute_query(
        "update consent_person set objected_to_automation_at = $2 where id = $1",
        [user, act.now if objects else None],
    )
    act.record("automation_objected" if objects else "automation_objection_lifted", {}, person=user)
    if objects:
        await leave_lists(act, user, "objected")


async def held(at: Act | View) -> Objections:
    """What the person whose session this is objects to now."""
    rows = await at.db.execute_query_dict(
        "select objected_to_prescreen_at, objected_to_automation_at from consent_person"
    )
    lists, automation = tuple(rows[0].values()) if rows else (None, None)
    return Objections(lists is not None, automation is not None)


def _acting(act: Act) -> UserId:
    if not isinstance(act.principal, Person):
        raise NotFound
    return act.principal.user


async def leave_lists(act: Act, user: UserId, reason: str, category: str | None = None) -> None:
    """Take a person off every list they are on, or off those that could rest on one kind of data."""
    listed = GrantRow.filter(user_id=user, purpose=Purpose.PRESCREEN, state__in=["active", "paused"])
    for row in await listed.using_db(act.db).select_for_update().order_by("id"):
        if category is None or category in row.categories:
            ended = Ended(GrantId(row.id), user, PartnerId(row.recipient), Purpose.PRESCREEN, reason)
            await endings.run(act, ended)
