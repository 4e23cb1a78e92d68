"""/static: style sheets and scripts, all served by us."""

from pathlib import Path

from litestar import Response
from litestar.datastructures import CacheControlHeader
from litestar.static_files import create_static_files_router

from api import problems
from api.access import AnyRequest, public
from api.problems import Problem
from compliance.refusals import NotFound

HERE = Path(__file__).parent / "static"


def no_file_name(request: AnyRequest, _: ValueError) -> Response[Problem]:
    """No file system has such a name (it holds a zero byte)."""
    return problems.of_refusal(request, NotFound())


routes = [
    create_static_files_router(
        path="/static",
        directories=[HERE],
        opt=public(light=True),
        include_in_schema=False,
        exception_handlers={ValueError: no_file_name},
        cache_control=CacheControlHeader(public=True, max_age=3_600),
    )
]
