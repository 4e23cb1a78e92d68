"""Every route says who may call it and why; the application does not start otherwise."""

import pytest
from litestar import Litestar, get
from support import routes

from api.access import every_route_declares_access, public
from api.oauth.scopes import Scope
from compliance.vocabulary import Purpose


def test_a_route_without_access_stops_the_application():
    @get("/naked")
    async def naked() -> None: ...

    with pytest.raises(RuntimeError, match="/naked declares no access"):
        every_route_declares_access(Litestar([naked], openapi_config=None))


def test_a_route_with_access_does_not():
    @get("/dressed", opt=public())
    async def dressed() -> None: ...

    every_route_declares_access(Litestar([dressed], openapi_config=None))


def test_what_anybody_may_call_is_listed():
    """Public is the exception: whatever is added to this list is read by whoever reviews it."""
    assert {str(route) for route in routes.every() if route.access.kind == "public"} == {
        "GET /",
        "GET /.well-known/jwks.json",
        "GET /.well-known/oauth-authorization-server",
        "GET /.well-known/oauth-protected-resource",
        "GET /deleted/{deletion_id:str}",
        "GET /deleted/{deletion_id:str}/certificate",
        "GET /features",
        "GET /healthz",
        "GET /oauth/authorize",
        "GET /problems/{code:str}",
        "GET /schema",
        "GET /schema/openapi.json",
        "GET /schema/openapi.yaml",
        "GET /schema/{path:str}",
        "GET /sign-in",
        "GET /sign-in/return",
        "GET /sign-in/{link:str}",
        "GET /signed-out",
        "GET /static/{file_path:path}",
        "GET /v1/deletions/{deletion_id:str}",
        "GET /v1/features",
        "GET /v1/log/checkpoint",
        "GET /v1/log/key",
        "GET /v1/log/tile/{path:path}",
        "HEAD /static/{file_path:path}",
        "POST /oauth/introspect",
        "POST /oauth/par",
        "POST /oauth/revoke",
        "POST /oauth/token",
        "POST /sign-in/{link:str}",
        "POST /sign-out",
    }


@pytest.mark.parametrize("route", routes.every(), ids=str)
def test_access_fits_the_address(route):
    """Banks under /v1, people under /me and /apply and /ask, staff under /compliance and /v1/operator; the log's leaves are theirs too."""
    kind = route.access.kind
    first = route.path.split("/")[1]
    if route.path.startswith(("/v1/me", "/v1/applications")) or first in ("me", "apply", "ask"):
        assert kind == "person"
    elif route.path.startswith("/v1/operator/behaviour"):  # the operator's own software
        assert (kind, route.access.scope) == ("client", Scope.BEHAVIOUR)
    elif first == "compliance" or route.path.startswith(("/v1/operator", "/v1/log/tile/entries")):
        assert kind == "staff"
        assert route.access.roles
    elif first == "v1":
        assert kind in ("client", "public")
    if kind == "client":
        assert route.access.scope in Scope
    if route.access.once:
        assert route.method == "POST"


def test_a_purpose_is_declared_where_data_are_used():
    used = {
        str(r): r.access.purpose
        for r in routes.every()
        if r.path.startswith(("/v1/scores", "/v1/prescreens"))
    }
    assert set(used.values()) == {Purpose.CREDIT_ASSESSMENT, Purpose.PRESCREEN}
