"""/me/scores: a person's own scores, with the reasons in full."""

from litestar import Response, get

from api.access import AnyRequest, person, request_act
from api.web import page
from compliance.vocabulary import PartnerId
from consent import permits
from partners import directory
from scoring import own_scores


@get("/me/scores", opt=person(), include_in_schema=False)
async def list_own_scores(request: AnyRequest) -> Response[str]:
    """What it is, what it is not, and why it is what it is."""
    async with request_act(request) as act:
        found = await own_scores.mine(act, permits.own_permit(act), page.language(request))
        names = await directory.names(act, [PartnerId(score.row.partner) for score in found])
        return page.show(request, "scores.html", scores=found, names=names)


routes = [list_own_scores]
