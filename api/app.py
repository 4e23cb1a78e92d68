"""Put the pieces together."""

from litestar import Litestar, Router
from litestar.types import ControllerRouterHandler

from api import serving
from api.oauth import endpoints
from api.settings import Settings
from api.v1 import (
    applications,
    behaviour,
    clients,
    cutoffs,
    deletions,
    features,
    grants,
    health,
    incomes,
    limits,
    log,
    me,
    outcomes,
    own_answers,
    own_clients,
    own_scores,
    portraits,
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
    loans,
    models,
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
from api.web import features as feature_pages
from api.web import me as me_pages
from api.web import own_scores as own_scores_pages
from api.web import rights as rights_pages
from compliance.database import Database

NOUNS = {
    "Consent": grants,
    "Withdrawals": withdrawals,
    "Scores": scores,
    "Incomes": incomes,
    "Limits": limits,
    "Portraits": portraits,
    "Products": products,
    "Lists": prescreens,
    "Referrals": referrals,
    "Outcomes": outcomes,
    "My consents": me,
    "My deletion": deletions,
    "My rights": rights,
    "My scores": own_scores,
    "My answers": own_answers,
    "My applications": applications,
    "Features": features,
    "Log": log,
    "Access": endpoints,
    "Behaviour": behaviour,
    "Clients": clients,
    "Cut-offs": cutoffs,
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
    models,
    problem_pages,
    feature_pages,
)
ROUTES: list[ControllerRouterHandler] = [
    *(Router("/", route_handlers=noun.routes, tags=[title]) for title, noun in NOUNS.items()),
    *(route for page in PAGES for route in page.routes),
]


def create_app(settings: Settings, database: Database) -> Litestar:
    """Build the whole application."""
    return serving.assemble(settings, database, ROUTES, reference.config(settings))


def from_worker() -> Litestar:
    """What each worker of `xinqiao serve` calls."""
    return serving.in_worker(create_app)
