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
from api.oidc.relying_party import RelyingParty
from api.settings import Settings, from_environment
from api.web import failures
from compliance import database as databases
from compliance import postgres
from compliance.database import Database
from consent import notices
from partners import endings  # noqa: F401 - declares what stops when a grant ends, whoever serves that

PARENT, SOCKETS = "XINQIAO_PARENT", "XINQIAO_SOCKETS"
"""The number of the process that processes of ours end with, even when it is killed, and where the database listens."""


def assemble(
    settings: Settings,
    database: Database,
    routes: Sequence[ControllerRouterHandler],
    described: OpenAPIConfig | None = None,
    *,
    light: bool = False,
) -> Litestar:
    """Build an application, or fail if a route forgot its access or a notice what the law demands."""
    notices.all_in_force()
    app = Litestar(
        routes,
        guards=[access.demand_access],
        before_send=[access.keep_private],
        exception_handlers=failures.HANDLERS,
        lifespan=[_standing],
        state=State({"light": light}),
        request_max_body_size=settings.body_bytes_max,
        openapi_config=described,
        logging_config=None,  # the log is `telemetry`: no queue, no thread
    )
    # Around the routing, not inside it: what no route matches is logged and has a trace id too.
    app.asgi_handler = telemetry.Telemetry(app.asgi_handler)
    access.every_route_declares_access(app)
    place(app, settings, database)
    return app


def place(app: Litestar, settings: Settings, database: Database) -> None:
    """Let an application that does not run yet serve this installation; it is built for settings that differ in no more than `home` and `database`."""
    relying_party = RelyingParty(settings, settings.provider) if settings.provider else None
    app.state.update({"settings": settings, "database": database, "relying_party": relying_party})


@asynccontextmanager
async def _standing(app: Litestar) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    async with databases.opened(app.state.database, settings.home, settings.origin, serving=True):
        yield


def in_worker(create: Callable[[Settings, Database], Litestar]) -> Litestar:
    """What each server worker calls."""
    return create(*inherited())


def inherited() -> tuple[Settings, Database]:
    """What a process of ours stands on that another started: it starts no database, and dies with that one."""
    # Killed, not asked: only the parent would put an end to waiting for calls in flight.
    postgres.die_with_parent(int(os.environ[PARENT]), signal.SIGKILL)
    telemetry.set_up()
    settings = from_environment()
    return settings, settings.database or databases.embedded(Path(os.environ[SOCKETS]))
