"""/: where everybody begins."""

from litestar import Response, get

from api.access import AnyRequest, public
from api.web import page


@get("/", opt=public(), include_in_schema=False)
async def start(request: AnyRequest) -> Response[str]:
    """Say what this is and where to go on."""
    return page.show(request, "start.html")


routes = [start]
