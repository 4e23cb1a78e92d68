"""/schema: the reference of the API, made from the code and drawn in the browser without any other site."""

from typing import Any

from litestar import Router
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin, YamlRenderPlugin

from api.access import AnyRequest, public
from api.settings import Settings
from api.web import page


class ReferencePage(OpenAPIRenderPlugin):
    """The page that draws the description."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:
        """The page asks for the description itself."""
        del openapi_schema
        return page.html(request, "reference.html").encode()


class WrittenOnce(YamlRenderPlugin):
    """The description as YAML: anybody may ask, and to write it holds every other call up for a good while."""

    written = b""

    def render(self, request: AnyRequest, openapi_schema: dict[str, Any]) -> bytes:
        """What was written for the first who asked."""
        self.written = self.written or super().render(request, openapi_schema)
        return self.written


def config(settings: Settings) -> OpenAPIConfig:
    """How the description is made and where it is served; anybody may read it."""
    return OpenAPIConfig(
        title="Xinqiao",
        version="1.0.0",
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            opt=public(),
            include_in_schema=False,
            response_headers=page.headers(settings),
        ),
        render_plugins=[
            ReferencePage(),
            JsonRenderPlugin(path="/openapi.json"),
            WrittenOnce(path="/openapi.yaml"),
        ],
    )
