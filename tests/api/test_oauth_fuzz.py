"""Whatever is sent to the authorization server: no crash, no way out, no echo, and no secret in any place that keeps."""

import io
import json
import logging
import os
import re
import secrets
import sys
from base64 import urlsafe_b64decode
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import httpx2
import pytest
import requests
import schemathesis
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support import answers, fuzz, right_calls, routes
from support.answers import OWN_LINKS, Tally
from support.code_flow import BACK
from support.fuzz import Change, Field, Header
from support.right_calls import TARGETS, Site

from api import contract, telemetry
from api.oauth.authorizations import REQUEST_URI
from compliance import facts
from compliance.database import ground

pytestmark = pytest.mark.check
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "0"))
"""How many the run sends; 0: as many as belong to every run of the tests, and then always the same."""
EVERY_RUN = 1_000
TROUBLES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.fixture(scope="module")
def tally(pytestconfig):
    counted = Tally()
    yield counted
    if REQUESTS:
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            sys.stderr.write(f"\n{counted}\n")


@pytest.fixture
async def site(database, home):
    async with right_calls.opened(database, home) as opened:
        yield opened


@settings(
    max_examples=(REQUESTS or EVERY_RUN) // len(TARGETS),
    derandomize=not REQUESTS,
    database=None,
    deadline=None,
    suppress_health_check=TROUBLES,
)
@given(who=st.sampled_from(["assertion", "assertion", "certificate", "nobody"]), wrong=fuzz.changes)
@example(who="assertion", wrong=[])
@pytest.mark.parametrize("target", TARGETS)
async def test_nothing_that_is_sent_crashes_or_leaks(
    site: Site, tally: Tally, target: str, who: str, wrong: list[Change]
) -> None:
    site.who, (right, spends) = who, TARGETS[target]
    draft = await right(site)
    for change in wrong:
        change.apply(draft)
    answer = await draft.send(site.here.http)
    tally.answers[target, answer.status_code] += 1
    answers.judge(answer, BACK)
    if answer.status_code < 400:
        site.kept.pop(spends, None)
    assert wrong or who != "assertion" or answer.status_code < 400, answer.text


async def test_to_ask_for_the_methods_is_answered_with_them_and_opens_nothing_to_other_sites(site: Site):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path in {route.at() for route in routes.every()}:
        answer = await site.here.http.options(path, headers=asked)
        assert answer.status_code == 204, f"{path}: {answer.text}"
        assert "OPTIONS" in answer.headers["allow"]
        assert not [name for name in answer.headers if name.startswith("access-control-")]


# --- secrets

SECRET_FIELDS = ["client_assertion", "code", "code_verifier", "refresh_token", "token", "password", "state"]
SECRET_FIELDS += ["request_uri", "name", "client_secret", "_csrf_token"]
SECRET_HEADERS = ["Authorization", "DPoP", "Cookie"]
STATEMENT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]*")
SHORTEST = 16
SAID = {"Authorization": "DPoP {}", "Cookie": "__Host-xinqiao={}"}
ASKED_FOR = {"state", "name"}
"""What the database is told as it is: one to be kept, one to be found."""
KINDS = {*SECRET_FIELDS, *SECRET_HEADERS, "access_token", "session", "link", "jti of DPoP"}


class Secrets:
    """Everything that goes to and fro and must not be kept: what is sent in its place, and what is answered."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.known: dict[str, set[str]] = {}
        self.refusals: list[str] = []
        http.event_hooks = {"request": [self.sent], "response": [self.answered]}

    async def sent(self, request: httpx2.Request) -> None:
        for text in (request.content.decode("latin-1"), request.url.query.decode("latin-1")):
            for name, value in parse_qsl(text, encoding="latin-1"):
                if name in SECRET_FIELDS:
                    self.note(name, value)
        for name in SECRET_HEADERS:
            for value in request.headers.get_list(name):
                self.note(name, re.split("[ =]", value, maxsplit=1)[-1])
        self.note("link", request.url.path.partition("/sign-in/")[2])

    async def answered(self, answer: httpx2.Response) -> None:
        await answer.aread()
        if answer.status_code >= 400:
            self.refusals.append(OWN_LINKS.sub("", answer.text))
        elif answer.headers.get("content-type") == "application/json":
            for name in ("access_token", "refresh_token", "request_uri"):
                self.note(name, answer.json().get(name, ""))
        self.note("session", answer.headers.get("set-cookie", "").partition("=")[2].partition(";")[0])
        for name, value in parse_qsl(urlsplit(answer.headers.get("location", "")).query):
            if name == "code":
                self.note(name, value)

    def note(self, name: str, value: str) -> None:
        if len(value) >= SHORTEST:
            self.known.setdefault(name, set()).add(value.removeprefix(REQUEST_URI))
        if found := STATEMENT.fullmatch(value):
            claims = json.loads(urlsafe_b64decode(found[1] + "=="))
            self.note(f"jti of {name}", claims["jti"])


@pytest.fixture
def heard(monkeypatch):
    """What is logged: as the service sets its logs up, then as loud as an operator could turn them; queries apart.

    Not httpx2, with which the test itself calls; nor authlib, which the server keeps quiet at any level.
    """
    logs, queries, root = io.StringIO(), io.StringIO(), logging.getLogger()
    loud = [root, *map(logging.getLogger, ("tortoise", "asyncpg", "asyncio", "joserfc", "litestar"))]
    quiet = [logging.getLogger(name) for name in telemetry.QUIET]
    before, kept = {logger: logger.level for logger in (*loud, *quiet)}, structlog.get_config()

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            to = queries if record.name.startswith(("tortoise", "asyncpg")) else logs
            to.write(f"{record.name} {record.getMessage()} {record.args} {record.exc_info}\n")

    telemetry.set_up(logging.DEBUG)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(logs), cache_logger_on_first_use=False)
    for logger in loud:
        logger.setLevel(logging.DEBUG)
    keeping = Keeping()
    root.addHandler(keeping)
    yield {"logs": logs, "queries": queries}
    root.removeHandler(keeping)
    for logger, level in before.items():
        logger.setLevel(level)
    structlog.configure(**kept)


@pytest.fixture
def spans(monkeypatch):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def opened_facts(owner) -> str:
    """Every fact, opened."""
    rows = await owner.fetch("select id, person, sealed from compliance_fact")
    sealers = await ground().key_store.sealers({row["person"] for row in rows if row["person"]})
    opened = [
        facts.open_sealed(row["sealed"], row["id"], facts.sealer_of(row["person"], sealers)) for row in rows
    ]
    return " ".join(payload.decode() for payload, _ in opened)


async def stored(owner) -> str:
    """Every row of every table, but for the state, which is kept on purpose: the client wants it back."""
    tables = await owner.fetch("select tablename from pg_tables where schemaname = 'public'")
    rows = [
        await owner.fetchval(f"select string_agg((to_jsonb(t) - 'state')::text, ' ') from {table[0]} t")
        for table in tables
    ]
    return " ".join(row or "" for row in rows)


async def test_no_secret_is_kept_or_told_anywhere(site: Site, owner, heard, spans, home, capfd) -> None:
    """Every right call, and each again with one secret after the other where it does not belong."""
    passing = Secrets(site.here.http)
    for target in TARGETS.values():
        for where in ("", *SECRET_FIELDS, *SECRET_HEADERS):
            draft = await target.right(site)
            wrong = secrets.token_urlsafe(SHORTEST)
            if where in SECRET_FIELDS:
                Field("replaced", where, wrong.encode()).apply(draft)
            elif where:
                Header("replaced", where, SAID.get(where, "{}").format(wrong).encode()).apply(draft)
            answer = await draft.send(site.here.http)
            if answer.status_code < 400:
                site.kept.pop(target.spends, None)
    assert passing.known.keys() >= KINDS, KINDS - passing.known.keys()
    sinks = {name: text.getvalue() for name, text in heard.items()} | {
        "spans": " ".join(span.to_json() for span in spans.get_finished_spans()),
        "printed": "".join(capfd.readouterr()),
        "refusals": " ".join(passing.refusals),
        "facts": await opened_facts(owner),
        "tables": await stored(owner),
        "files": " ".join(f.read_bytes().decode("latin-1") for f in home.rglob("*") if f.is_file()),
    }
    for kind, values in passing.known.items():
        for place, text in sinks.items():
            if place == "queries" and kind in ASKED_FOR:
                continue
            found = {value for value in values if value in text or value.encode().hex() in text}
            assert not found, f"{kind} in {place}: {[near(text, value) for value in found][:3]}"


def near(text: str, value: str) -> str:
    return text[max(0, text.find(value) - 200) :][:400]


# --- the published contract

AUTHENTICATES = ("client_assertion_type", "client_assertion")
RIGHT = {
    "POST /oauth/par": "push",
    "POST /oauth/token": "redeem",
    "POST /oauth/introspect": "introspect",
    "POST /oauth/revoke": "revoke",
    "GET /oauth/grants/{grant_id}": "look at a grant",
    "DELETE /oauth/grants/{grant_id}": "give a grant back",
    "GET /.well-known/oauth-authorization-server": "server metadata",
    "GET /.well-known/oauth-protected-resource": "resource metadata",
    "GET /.well-known/jwks.json": "keys",
}
PUBLISHED = schemathesis.openapi.from_path(contract.FILE).include(path_regex=r"^/(oauth|\.well-known)/")
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
OPERATIONS = {operation.label: operation for operation in (o.ok() for o in PUBLISHED.get_all_operations())}


@settings(
    max_examples=(REQUESTS or EVERY_RUN) // 10 // len(OPERATIONS),
    derandomize=not REQUESTS,
    database=None,
    deadline=None,
    suppress_health_check=TROUBLES,
)
@given(drawn=st.data(), sent=st.sampled_from(["as generated", "authenticated", "right"]))
@pytest.mark.parametrize("name", OPERATIONS)
async def test_answers_are_as_published(
    site: Site, tally: Tally, name: str, drawn: st.DataObject, sent: str
) -> None:
    """What schemathesis makes of openapi/v1.yaml: as it is, by a client that authenticates, and made right."""
    case, target = drawn.draw(OPERATIONS[name].as_strategy()), TARGETS[RIGHT[name]]
    draft = await target.right(site)
    fields = {field.decode(): unquote_plus(value.decode()) for field, value in draft.fields}
    if sent != "as generated":
        case.headers = {header.decode(): value.decode() for header, value in draft.headers}
    if sent == "right" and case.path_parameters:
        case.path_parameters = {"grant_id": draft.path.rpartition("/")[2]}
    if sent == "right" and fields:
        case.body = fields
    elif sent == "authenticated" and isinstance(case.body, dict):
        case.body |= {field: fields[field] for field in AUTHENTICATES}
    request = requests.Request(**case.as_transport_kwargs(base_url="http://inner.invalid")).prepare()
    answer = await site.here.http.request(
        request.method, request.url, content=request.body, headers=dict(request.headers)
    )
    tally.answers[name, answer.status_code] += 1
    answers.judge(answer, BACK)
    if answer.status_code < 400:
        site.kept.pop(target.spends, None)
    # How protected calls are refused is not listed operation by operation.
    case.validate_response(
        answer, checks=[*CHECKS, *([] if "/grants/" in name else [status_code_conformance])]
    )
