"""What is logged and traced: only what is on the list, whatever anybody sends or a library would like to say."""

import io
import json
import logging
import re
import secrets
from contextlib import redirect_stderr, redirect_stdout
from urllib.parse import quote

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import seeds, world

from api import telemetry
from compliance import ids


@pytest.fixture
def spans(monkeypatch):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


@pytest.fixture
def lines(monkeypatch):
    """Everything any logger says, at the level where libraries say most, as the service would write it."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root, before = logging.getLogger(), logging.getLogger().level
    quiet = {name: logging.getLogger(name).level for name in telemetry.QUIET}
    kept = structlog.get_config()
    telemetry.set_up(logging.DEBUG)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(out), cache_logger_on_first_use=False)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out
    root.removeHandler(handler)
    root.setLevel(before)
    for name, level in quiet.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(**kept)


async def test_no_secret_reaches_a_log_a_span_or_a_problem(database, home, spans, lines):
    """A whole call, then one with every part broken, with every secret of it looked for afterwards."""
    canaries = {"canary-name-3f", "canary-body-3f", "canary-query-3f", "canary-cookie-3f", "canary-token-3f"}
    printed = io.StringIO()
    problems: list[str] = []
    with redirect_stdout(printed), redirect_stderr(printed):
        async with world.opened(database, home) as here:
            planted = await seeds.planted(here)
            bank = planted.bank
            path = "/v1/scores"
            said = await bank.headers("POST", path)
            canaries |= {
                bank.token,
                said["DPoP"],
                planted.browser.cookie.partition("=")[2],
                said["Idempotency-Key"],
            }
            canaries |= {
                planted.named["user"],
                str(planted.person.user),
                ids.public("usr", planted.person.user),
            }
            answer = await here.http.post(path, json=planted.bodies()[f"POST {path}"], headers=said)
            assert answer.status_code == 201, answer.text
            canaries |= {answer.json()["fact_promise"], answer.json()["probability"]}
            form = bank.oauth.form()
            canaries.add(form["client_assertion"])
            for token in ("", "canary-token-3f"):
                headers = {"DPoP": f"{said['DPoP']}{token}", "Authorization": f"DPoP {bank.token}{token}"}
                problems.append(
                    (await here.http.post("/oauth/token", data=form | {"scope": token}, headers=headers)).text
                )
                problems.append(
                    (await here.http.get(f"{path}/canary-name-3f?x=canary-query-3f", headers=headers)).text
                )
            problems += [
                (await planted.browser.call("POST", "/v1/applications", {"amount": "canary-body-3f"})).text,
                (await here.http.get("/me", headers={"Cookie": "__Host-xinqiao=canary-cookie-3f"})).text,
                (await here.http.get(f"/sign-in/{quote('canary-name-3f')}")).text,
                (await here.http.get("/v1/nowhere/canary-name-3f")).text,
            ]
            monkey = await here.http.post(
                path, content=b"\xff canary-body-3f", headers=await bank.headers("POST", path)
            )
            problems.append(monkey.text)
    told = spans.get_finished_spans()
    traced = "".join(
        f"{s.name} {dict(s.attributes or {})} {[e.name for e in s.events]} {s.status.description}"
        for s in told
    )
    logged = lines.getvalue() + printed.getvalue()
    assert "/v1/scores/{score_id}" in logged
    assert len(told) >= 8
    for canary in canaries:
        for where, text in (("log", logged), ("span", traced), ("problem", "".join(problems))):
            assert canary not in text, f"{where}: ...{text[max(0, text.find(canary) - 200) :][:400]}"


async def test_a_bug_is_logged_by_its_type_and_place_only(database, home, spans, lines, monkeypatch):
    async def stumbles(*_: object, **__: object) -> None:
        raise RuntimeError("canary-message-3f")

    async with world.opened(database, home) as here:
        browser = await here.browser((await world.persons(1))[0])
        monkeypatch.setattr("api.v1.me.grants.mine", stumbles)
        answer = await browser.call("GET", "/v1/me/grants")
    assert answer.json()["code"] == "internal_error"
    line = next(json.loads(row) for row in lines.getvalue().splitlines() if '"unhandled"' in row)
    assert (line["error_type"], line["trace_id"]) == ("RuntimeError", answer.json()["trace_id"])
    assert re.fullmatch(r"test_telemetry\.py:\d+", line["where"])
    assert "canary-message-3f" not in lines.getvalue() + answer.text
    assert "canary-message-3f" not in str([s.to_json() for s in spans.get_finished_spans()])


def test_a_key_that_is_not_on_the_list_is_dropped():
    kept = telemetry.keep_allowed(None, "info", {"event": "x", "status": 200, "token": "t", "user": "u"})
    assert kept == {"event": "x", "status": 200}


@pytest.mark.spec("W3C Trace Context", "3.2.2")
@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (f"00-{'a' * 32}-{'b' * 16}-01", True),
        (f"00-{'0' * 32}-{'b' * 16}-01", False),
        (f"00-{'A' * 32}-{'b' * 16}-01", False),
        (f"00-{'a' * 31}-{'b' * 16}-01", False),
        ("canary", False),
        ("", False),
    ],
)
async def test_a_trace_id_is_taken_over_if_it_is_one(database, home, sent, taken):
    async with world.opened(database, home) as here:
        answer = await here.http.get("/v1/nowhere", headers={"traceparent": sent})
    trace_id = answer.json()["trace_id"]
    assert (trace_id == "a" * 32) is taken
    assert re.fullmatch("[0-9a-f]{32}", trace_id)


async def test_the_route_is_named_never_the_path(database, home, spans, lines):
    name = secrets.token_hex(8)
    async with world.opened(database, home) as here:
        bank = await here.software()
        await bank.call("GET", f"/v1/grants/gnt_{name}")
        await here.http.get(f"/v1/{name}")
    names = [span.name for span in spans.get_finished_spans()]
    assert names == ["POST /oauth/token", "GET /v1/grants/{grant_id}", "GET unmatched"]
    assert name not in lines.getvalue()
