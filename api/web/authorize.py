"""/oauth/authorize: where a client sends a person with a request that it pushed before (FAPI 2.0 section 5.3.2.2)."""

from litestar import get
from litestar.response import Redirect

from api import sessions
from api.access import AnyRequest, public
from api.oauth import authorizations
from api.oauth.authorizations import RequestUnusable
from api.oauth.endpoints import AUTHORIZATION_PATH
from api.sessions import NotSignedIn
from api.web import onward, page
from compliance import ids

LONGEST = 256


@get(AUTHORIZATION_PATH, opt=public(), include_in_schema=False)
async def authorize(request: AnyRequest) -> Redirect:
    """On to the page where the person answers, after signing in if need be; opening it twice spends nothing.

    Only `client_id` and `request_uri` count (RFC 9126 section 4): all else was pushed. Whatever is wrong is told here,
    on our own page, because nothing in the address proves where the person came from.
    """
    client_id, request_uri = (_once(request, name) for name in ("client_id", "request_uri"))
    grant = await authorizations.pending(client_id, request_uri)
    try:
        await sessions.signed_in(request, "person")
    except NotSignedIn:
        waiting = {"client_id": client_id, "request_uri": request_uri}
        return page.go(request, onward.read(waiting).address)
    return page.go(request, f"/ask/{ids.public('gnt', grant)}")


def _once(request: AnyRequest, name: str) -> str:
    given: list[str] = request.query_params.getall(name, [])
    if len(given) != 1 or len(given[0]) > LONGEST or not (given[0].isascii() and given[0].isprintable()):
        raise RequestUnusable(f"the address needs one {name}: requests are pushed first (RFC 9126)")
    return given[0]


routes = [authorize]
