"""Problem documents: one shape for every no, and nothing of what went wrong inside."""

import json
from pathlib import Path

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api import problems, telemetry
from api.settings import Settings
from compliance.refusals import Fault, Refusal
from compliance.replies import Replayed, Reply
from compliance.vocabulary import OFFERED

SECRET = "canary-secret"


class Declined(Refusal):
    status, code, title = 409, "declined", "Declined"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    n: int


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: list[Inner]


@get("/bug")
async def bug() -> None:
    raise RuntimeError(f"{SECRET} in a message")


@get("/refused/{status:int}")
async def refused(status: FromPath[int]) -> None:
    faults = [Fault(f"/{n}", "wrong", "put it right") for n in range(problems.ERRORS_MAX + 5)]
    refusal = Declined("do it better", *faults)
    refusal.status = status  # type: ignore[misc]
    raise refusal


@get("/replayed")
async def replayed() -> None:
    raise Replayed(Reply(201, b'{"n":1}', replayed=True))


@post("/read")
async def read(data: JSONBody[Outer]) -> None:
    del data


@pytest.fixture
async def http():
    app = Litestar(
        [bug, refused, replayed, read],
        exception_handlers=problems.HANDLERS,
        openapi_config=None,
        state=State({"settings": Settings(Path(), "development", "https://xinqiao.example", None, OFFERED)}),
    )
    app.asgi_handler = telemetry.Telemetry(app.asgi_handler)
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


def document(answer: httpx2.Response, status: int) -> dict:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


@pytest.mark.spec("RFC 9457", "3.1")
async def test_a_refusal_is_told_with_its_faults(http):
    problem = document(await http.get("/refused/409"), 409)
    assert (problem["type"], problem["code"], problem["title"]) == (
        "/problems/declined",
        "declined",
        "Declined",
    )
    assert (problem["status"], problem["detail"]) == (409, "do it better")
    assert len(problem["errors"]) == problems.ERRORS_MAX
    assert problem["errors"][0] == {"pointer": "/0", "code": "wrong", "detail": "put it right"}


@pytest.mark.spec("RFC 9110", "11.6.1")
@pytest.mark.parametrize("status", [401, 403])
async def test_who_is_not_let_in_is_told_how(http, status):
    answer = await http.get(f"/refused/{status}")
    described = "https://xinqiao.example/.well-known/oauth-protected-resource"
    assert answer.headers["www-authenticate"] == f'DPoP error="declined", resource_metadata="{described}"'


async def test_a_bug_is_told_without_its_message(http, capsys):
    answer = await http.get("/bug", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    problem = document(answer, 500)
    assert (problem["code"], problem["trace_id"]) == ("internal_error", "a" * 32)
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/bug", 405, "method_not_allowed"),
        ("POST", "/read", 400, "malformed"),
    ],
)
async def test_what_the_framework_refuses_has_the_same_shape(http, method, path, status, code):
    problem = document(await http.request(method, path, content=b"{" if method == "POST" else None), status)
    assert problem["code"] == code


@pytest.mark.spec("RFC 9110", "15.5.6")
async def test_a_wrong_method_is_told_the_right_ones(http):
    assert "GET" in (await http.delete("/bug")).headers["allow"]


async def test_a_repeated_answer_says_so(http):
    answer = await http.get("/replayed")
    assert (answer.status_code, answer.content) == (201, b'{"n":1}')
    assert answer.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("sent", "pointer", "code"),
    [
        ({"inner": [{"n": 1}, {"n": "x"}]}, "/inner/1/n", "invalid"),
        ({"inner": [{}]}, "/inner/0/n", "missing"),
        ({}, "/inner", "missing"),
        ({"inner": [], "more": 1}, "/more", "unknown_field"),
        ({"inner": [{"n": 1, "more": 1}]}, "/inner/0/more", "unknown_field"),
        ([], "", "invalid"),
    ],
)
@pytest.mark.spec("RFC 6901", "5")
async def test_a_pointer_leads_to_the_field(http, sent, pointer, code):
    problem = document(await http.post("/read", content=json.dumps(sent).encode()), 422)
    assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [(pointer, code)]


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_message_becomes_a_bounded_fault(message, place):
    fault = problems.fault_of(f"{message} - at `${place}`")
    assert len(fault.pointer) <= 2 * problems.POINTER_LENGTH_MAX + 1


def test_the_value_of_a_wrong_choice_is_not_repeated():
    fault = problems.fault_of(f"Invalid enum value '{SECRET}' - at `$.state`")
    assert (fault.pointer, fault.code) == ("/state", "invalid")
    assert SECRET not in fault.detail
