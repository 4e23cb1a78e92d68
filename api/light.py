"""The light server: what a person needs to stop a use, in a process that knows nothing of scores, lists and lenders."""

from litestar import Litestar

from api import serving
from api.oauth import endpoints
from api.settings import Settings
from api.v1 import health, withdrawals
from api.v1 import me as me_calls
from api.web import me, own_grants, problem_pages, sign_in, static_files
from compliance.database import Database

MODULES = (me, own_grants, sign_in, me_calls, withdrawals, health, problem_pages, static_files, endpoints)


def create_app(settings: Settings, database: Database) -> Litestar:
    """Build the application from the routes that are marked as light."""
    marked = [route for module in MODULES for route in module.routes if route.opt["access"].light]
    return serving.assemble(settings, database, marked, light=True)


def from_worker() -> Litestar:
    """What each worker of `xinqiao serve --light` calls."""
    return serving.in_worker(create_app)
