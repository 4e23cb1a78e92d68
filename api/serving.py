"""One application of ours: its routes, the database it stands on, its errors in words, its log lines."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from litestar import Litestar
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from api import access, telemetry
from api.settings import Settings, from_environment
from api.web import failures
from compliance import database as databases
from compliance import postgres
from compliance.database import Database
from partners import endings  # noqa: F401 - declares what stops when a grant ends, whoever serves that


def assemble(
    settings: Settings,
    database: Database,
    routes: Sequence[ControllerRouterHandler],
    described: OpenAPIConfig | None = None,
) -> Litestar:
    """Build an application, or fail if a route forgot its access."""

    @asynccontextmanager
    async def standing(_: Litestar) -> AsyncIterator[None]:
        async with databases.opened(database, settings.home, settings.origin, serving=True):
            yield

    app = Litestar(
        routes,
        guards=[access.demand_access],
        before_send=[access.keep_private],
        exception_handlers=failures.HANDLERS,
        lifespan=[standing],
        state=State({"settings": settings}),
        request_max_body_size=settings.body_bytes_max,
        openapi_config=described,
    )
    # Around the routing, not inside it: what no route matches is logged and has a trace id too.
    app.asgi_handler = telemetry.Telemetry(app.asgi_handler)
    access.every_route_declares_access(app)
    return app


def in_worker(create: Callable[[Settings, Database], Litestar]) -> Litestar:
    """What each server worker calls; it starts no database, and dies with the process that does."""
    # Killed, not asked: only the parent would put an end to waiting for calls in flight.
    postgres.die_with_parent(int(os.environ["XINQIAO_PARENT"]), signal.SIGKILL)
    telemetry.set_up()
    settings = from_environment()
    database = settings.database or databases.embedded(Path(os.environ["XINQIAO_SOCKETS"]))
    return create(settings, database)
