"""Put the pieces together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.types import ControllerRouterHandler

from api import access, running, telemetry
from api.oauth import endpoints
from api.oidc.relying_party import RelyingParty
from api.settings import Settings
from api.v1 import (
    applications,
    clients,
    deletions,
    grants,
    health,
    log,
    me,
    outcomes,
    own_clients,
    own_scores,
    prescreens,
    products,
    referrals,
    rights,
    scores,
    withdrawals,
)
from api.web import (
    ask,
    authorize,
    console,
    deletion,
    extend,
    failures,
    loans,
    own_data,
    own_grants,
    problem_pages,
    queues,
    reference,
    self_view,
    sign_in,
    start,
    static_files,
)
from api.web import me as me_pages
from api.web import own_scores as own_scores_pages
from api.web import rights as rights_pages
from compliance import database as databases
from compliance.database import Database
from consent import notices

NOUNS = {
    "Consent": grants,
    "Withdrawals": withdrawals,
    "Scores": scores,
    "Products": products,
    "Lists": prescreens,
    "Referrals": referrals,
    "Outcomes": outcomes,
    "My consents": me,
    "My deletion": deletions,
    "My rights": rights,
    "My scores": own_scores,
    "My applications": applications,
    "Log": log,
    "Access": endpoints,
    "Clients": clients,
    "Own clients": own_clients,
    "Service": health,
}
"""The API by noun; the titles head the reference."""
PAGES = (
    static_files,
    start,
    sign_in,
    authorize,
    me_pages,
    ask,
    own_grants,
    extend,
    own_scores_pages,
    rights_pages,
    self_view,
    loans,
    own_data,
    deletion,
    console,
    queues,
    problem_pages,
)
ROUTES: list[ControllerRouterHandler] = [
    *(Router("/", route_handlers=noun.routes, tags=[title]) for title, noun in NOUNS.items()),
    *(route for page in PAGES for route in page.routes),
]


def create_app(settings: Settings, database: Database) -> Litestar:
    """Build the application, or fail if a route forgot its access or a notice what the law demands."""
    notices.all_in_force()

    @asynccontextmanager
    async def standing(_: Litestar) -> AsyncIterator[None]:
        async with databases.opened(database, settings.home, settings.origin):
            yield

    relying_party = RelyingParty(settings, settings.provider) if settings.provider else None
    app = Litestar(
        ROUTES,
        guards=[access.demand_access],
        before_send=[access.keep_private],
        exception_handlers=failures.HANDLERS,
        lifespan=[standing],
        state=State({"settings": settings, "relying_party": relying_party}),
        request_max_body_size=settings.body_bytes_max,
        openapi_config=reference.config(settings),
    )
    # Around the routing, not inside it: what no route matches is logged and has a trace id too.
    app.asgi_handler = telemetry.Telemetry(app.asgi_handler)
    access.every_route_declares_access(app)
    return app


def from_worker() -> Litestar:
    """What each server worker calls."""
    found = running.inherited()
    return create_app(found.settings, found.database)
