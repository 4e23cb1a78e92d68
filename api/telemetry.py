"""One log line and one span for each request; only listed keys are ever logged."""

import logging
import secrets
import sys
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

ALLOWED = frozenset(
    {
        # The control against leaks is this list: a key that is not on it is dropped, whatever it holds.
        "event", "level", "timestamp", "method", "route", "status", "milliseconds", "trace_id", "code", "error_type",
        "where", "worker", "count", "size", "attempt", "state", "port", "seconds", "model", "step",
    }
)  # fmt: skip
QUIET = ("authlib", "httpx", "httpx2", "httpcore", "asyncio", "tortoise", "asyncpg")
"""Libraries that log whole tokens or queries below WARNING."""

trace_id_now: ContextVar[str] = ContextVar("trace_id", default="0" * 32)
tracer = trace.get_tracer("xinqiao")


def set_up(level: int = logging.INFO) -> None:
    """Configure structured logs on standard error and the tracer, once per process."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            keep_allowed,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())


def keep_allowed(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop every key that is not on the list; name it, so that its absence is seen."""
    dropped = [key for key in event if key not in ALLOWED]
    for key in dropped:
        del event[key]
    return event


log = structlog.get_logger()


class Telemetry:
    """ASGI middleware: a span and a line named by the route's template, never by the path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request inside its span."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        method, started = scope.get("method", ""), time.perf_counter()
        trace_id = _given_trace_id(scope) or secrets.token_hex(16)
        token = trace_id_now.set(trace_id)
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracer.start_as_current_span("request") as span:
            try:
                await self.app(scope, receive, sending)
            finally:
                route = str(scope.get("path_template") or "unmatched")
                span.update_name(f"{method} {route}")
                span.set_attributes({"http.response.status_code": status, "xinqiao.trace_id": trace_id})
                log.info(
                    "request",
                    method=method,
                    route=route,
                    status=status,
                    milliseconds=round((time.perf_counter() - started) * 1000, 2),
                    trace_id=trace_id,
                )
                trace_id_now.reset(token)


def _given_trace_id(scope: Scope) -> str | None:
    """The trace id of a W3C `traceparent` header, if there is exactly one and it is well formed."""
    values = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(values) != 1:
        return None
    parts = values[0].decode("latin-1").split("-")
    well_formed = len(parts) == 4 and len(parts[1]) == 32 and set(parts[1]) <= set("0123456789abcdef")
    return parts[1] if well_formed and set(parts[1]) != {"0"} else None
