"""How many entries there are about a person, checked as they look: the same on the page and in JSON."""

from api.access import AnyRequest, person_of, request_act, request_view
from compliance import own_count
from compliance.own_count import OwnCount


async def counted(request: AnyRequest) -> OwnCount:
    """The count and what its check gave; a failed one is recorded, so that staff learn of it."""
    user = person_of(request).user
    async with request_view(request) as view:
        count = await own_count.of(view, user)
    if count.state == "failed":
        async with request_act(request) as act:
            own_count.report(act, user, count)
    return count
