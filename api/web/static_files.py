"""/static: style sheets and scripts, all served by us."""

from pathlib import Path

from litestar.datastructures import CacheControlHeader
from litestar.static_files import create_static_files_router

from api.access import public

HERE = Path(__file__).parent / "static"

routes = [
    create_static_files_router(
        path="/static",
        directories=[HERE],
        opt=public(),
        include_in_schema=False,
        cache_control=CacheControlHeader(public=True, max_age=3_600),
    )
]
