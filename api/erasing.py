"""Deleting a person, for the page and in JSON: pressed twice it is answered once, and nothing after it undoes it."""

from collections.abc import Callable

from api import sessions
from api.access import AnyRequest, person_of, request_act, request_view
from api.telemetry import log
from compliance.act import Act
from compliance.keys import KeyErased
from compliance.vocabulary import UserId
from consent import deletion
from consent.deletion import Deletion


async def delete(request: AnyRequest, say: Callable[[Act, Deletion], object] | None = None) -> Deletion:
    """Delete the person whose session this is, everywhere; a second press is answered with the first one's deletion."""
    try:
        async with request_act(request) as act:
            made = await deletion.delete_person(act)
            if say:
                say(act, made)
    except KeyErased:
        async with request_view(request) as view:
            before = await deletion.mine(view)
        if before is None:
            raise
        return before
    await _finish(person_of(request).user)
    return made


async def _finish(user: UserId) -> None:
    """What the worker does as well, only at once: a failure here is no failure of the deletion."""
    for step in (sessions.end_all, deletion.destroy_key):
        try:
            await step(user)
        except Exception as error:  # noqa: BLE001 - the worker repeats it until it is done
            log.error("deletion_unfinished", error_type=type(error).__name__)
