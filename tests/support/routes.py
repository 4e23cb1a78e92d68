"""Every route of the application, as the application itself tells them."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from litestar.handlers import HTTPRouteHandler

from api.access import Access
from api.app import create_app
from api.settings import Settings
from compliance.database import Database
from compliance.vocabulary import OFFERED

PARAMETER = re.compile(r"\{(\w+):(\w+)\}")
NOWHERE = Database("", 0, "", "", None, "", None, "")


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    access: Access

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        return [name for name, _ in PARAMETER.findall(self.path)]

    @property
    def machine(self) -> bool:
        """Whether a program reads it: its errors are problem documents, never pages."""
        return self.path.startswith(("/v1/", "/healthz", "/.well-known/"))

    def at(self, **values: str) -> str:
        """The path with its parameters filled in."""
        return PARAMETER.sub(lambda found: values.get(found[1], "x"), self.path)


@cache
def every() -> tuple[Route, ...]:
    """All routes, without the answers to OPTIONS that the framework makes."""
    settings = Settings(Path("/"), "development", "https://xinqiao.example", None, OFFERED)
    found = []
    for route in create_app(settings, NOWHERE).routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.http_methods != {"OPTIONS"}:
                access = handler.opt["access"]
                found += [Route(str(m), route.path, access) for m in handler.http_methods if m != "OPTIONS"]
    return tuple(sorted(found, key=str))


def find(method: str, path: str) -> Route:
    """One route by its name."""
    return next(route for route in every() if (route.method, route.path) == (method, path))
