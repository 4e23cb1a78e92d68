"""Every route, as the application tells them, is sent every kind of bad input by a caller who is otherwise right.

Whatever comes: no 5xx, a problem document (or the shape of OAuth, or a page), no internals, no echo.
"""

import asyncio
import copy
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from support import routes, seeds, world
from support.routes import Route
from support.seeds import Seeds
from support.world import Browser

from api.access import Access
from compliance.database import Database

CANARY = "canaryB7f3"
INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|asyncpg|tortoise|msgspec|litestar|select .* from |psql|pg_", re.IGNORECASE
)
CODE = re.compile(r"[a-z][a-z0-9_]{2,60}")
JSON = {"Content-Type": "application/json"}
WITH_BODY = ("POST", "PUT")
DEEP = 100_000
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "an array": b"[]",
    "a string": b'"canaryB7f3"',
    "a number": b"1e999",
    "cut": b'{"a":',
    "not json": b"canaryB7f3",
    "not utf-8": b'{"a":"\xff\xfe\x80"}',
    "with a bom": b"\xef\xbb\xbf{}",
    "NaN": b'{"a": NaN}',
    "twice": b'{"purpose":"portrait","purpose":"prescreen"}',
    "deep array": b"[" * DEEP,
    "deep object": b'{"a":' * DEEP,
    "deep in a field": b'{"criteria":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "an unknown field": b'{"unknown":"canaryB7f3"}',
}
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    10**400,
    1e308,
    "",
    f"{CANARY}\x00",
    f"{CANARY}\ud800",
    f"{CANARY}\udfff\ud800",
    f"\u202e{CANARY}\ufeff\u0000",
    "𝟙𝟚𝟛" + CANARY,
    CANARY * 2_000,
    [],
    [[]],
    {},
    {"op": CANARY},
]
NAMES = [
    "x",
    "%00",
    "%ff",
    "%ed%a0%80",
    "..%2f..%2fetc%2fpasswd",
    "a%0d%0aSet-Cookie:%20x=1",
    "usr_" + "0" * 26,
    "gnt_" + "0" * 25,
    "gnt_" + "8" + "0" * 25,
    "GNT_" + "0" * 26,
    "gnt_%F0%9D%9F%99" + "0" * 25,
    "0" * 5_000,
    "%F0%9F%92%A9",
    CANARY,
]
QUERIES = [
    "limit=abc",
    "limit=0",
    "limit=-1",
    "limit=501",
    "limit=99999999999999999999999999",
    "limit=1&limit=2",
    "limit=",
    "limit=1.5",
    "limit=%00",
    "limit=%F0%9D%9F%99",
    "cursor=",
    f"cursor={CANARY}",
    "cursor=%ff%fe",
    "cursor=%00",
    "cursor=" + "A" * 5_000,
    "cursor=%F0%9D%9F%99",
    "before=x",
    "before=%00",
    "kind=%00",
    "since=0001-01-01",
    "kind=%00&partner=%00&since=x&until=x&fact=%00",
    "since=99999-13-45&until=0000-00-00",
    "since=2026-01-01&until=9999-12-31",
    "lang=%00",
    f"%00={CANARY}",
    f"unknown={CANARY}",
    "%ff=%ff",
    "&&&===;;",
]
KEYS = ["", "k" * 129, "caf\xe9", "a\tb", "\x7f"]
FIELD = re.compile(r'name="([a-z_]+)"')
FIELDS = sorted(
    {name for page in Path("api/web/templates").glob("*.html") for name in FIELD.findall(page.read_text())}
)
"""Every field of every form."""


ENDS_SESSIONS = {"POST /v1/me/deletion"}
"""What can be done once: afterwards nobody is signed in."""
SIGNED_IN_NOW = """
    update api_session set signed_in_at = now(), used_at = now(), expires_at = expires_at + (now() - signed_in_at)
"""


@pytest.fixture(scope="module")
def sown(filled, tmp_path_factory) -> tuple[Seeds, Path]:
    """One of everything, planted once; its bed is what each test gets a copy of."""
    bed = tmp_path_factory.mktemp("bed")

    async def sow() -> Seeds:
        async with world.opened(filled, bed) as here:
            return await seeds.planted(here)

    return asyncio.run(sow()), bed


@pytest.fixture(scope="module")
def template(filled, sown) -> Database:
    return filled


@pytest.fixture
async def person_key(database, sown) -> AsyncIterator[None]:
    """The key store is one for all tests: who was deleted in a copy of the world is whole again in the next."""
    store = await asyncpg.connect(**database.as_owner(database.key_store_name))
    key = await store.fetchrow("select * from person_key where person = $1", sown[0].person.user)
    yield
    await store.execute("insert into person_key values ($1, $2, $3) on conflict do nothing", *key)
    await store.close()


@pytest.fixture
async def planted(database, owner, sown, person_key, tmp_path) -> Any:
    first, bed = sown
    home = Path(shutil.copytree(bed, tmp_path / "home"))
    await owner.execute(SIGNED_IN_NOW)  # however long ago it was sown
    async with world.opened(database, home) as here:
        yield first.at(here)


def check(route: Route | None, answer: httpx2.Response, *, sent: object = "") -> None:
    """What must be true of any answer to bad input."""
    about = (
        f"{answer.request.method} {str(answer.request.url)[:120]} {str(sent)[:80]!r}: {answer.status_code} "
    )
    about += answer.text[:300]
    # No provider is connected here: whoever sets out to sign in is told so.
    assert answer.status_code < 500 or "/problems/sign_in_unavailable" in answer.text, about
    if answer.status_code < 400:
        return
    kind = answer.headers.get("content-type", "").split(";")[0]
    if answer.request.method != "HEAD":
        assert not INTERNALS.search(answer.text), about
        assert CANARY not in answer.text, about
        if answer.request.url.path.startswith("/oauth/") and kind == "application/json":
            assert CODE.fullmatch(answer.json()["error"]), about
        elif kind != "text/html" or (route and route.machine):
            problem(answer, about)
    assert "set-cookie" not in answer.headers or kind == "text/html", about


def problem(answer: httpx2.Response, about: str) -> None:
    """The shape of RFC 9457 with our members, and nothing else."""
    assert answer.headers["content-type"] == "application/problem+json", about
    body = answer.json()
    assert body.keys() - {"errors"} == {"type", "code", "title", "status", "detail", "trace_id"}, about
    assert CODE.fullmatch(body["code"]), about
    assert (body["type"], body["status"]) == (f"/problems/{body['code']}", answer.status_code), about
    assert body["code"] != "internal_error", about
    for error in body.get("errors", []):
        assert error.keys() == {"pointer", "code", "detail"}, about
        assert CODE.fullmatch(error["code"]), about
        assert len(error["pointer"]) + len(error["detail"]) < 500, about


async def send(
    planted: Seeds,
    route: Route,
    *,
    path: str | None = None,
    query: str = "",
    content: bytes = b"",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    method: str | None = None,
    stranger: bool = False,
) -> httpx2.Response:
    """A call by a right caller, with one thing wrong."""
    path = path or route.at(**planted.named)
    method = method or route.method
    caller = planted.stranger(route.access.kind) if stranger else planted.caller(route.access)
    said = list((await caller.headers(method, path)).items()) if caller else []
    said += list(headers.items()) if isinstance(headers, dict) else headers or []
    address = f"{path}?{query}" if query else path
    return await planted.here.http.request(method, address, content=content or None, headers=said)


async def unreadable_bodies(planted: Seeds, route: Route) -> None:
    """Not JSON, not UTF-8, too deep, of another media type; too large last, for it is refused unread."""
    for name, content in BODIES.items() if route.method in WITH_BODY else [("deep", BODIES["deep array"])]:
        check(route, await send(planted, route, content=content, headers=JSON), sent=name)
    if route.method not in WITH_BODY:
        return
    for media_type in ("text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "x"):
        for content in (b"", b"--x\r\n\r\ncanaryB7f3", b"a=%ff&a=%00"):
            answer = await send(planted, route, content=content, headers={"Content-Type": media_type})
            check(route, answer, sent=media_type)
    large = json.dumps({"a": "x" * planted.here.settings.body_bytes_max}).encode()
    answer = await send(planted, route, content=large, headers=JSON)
    check(route, answer, sent="large")
    if str(route) in planted.bodies():
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def odd_forms(planted: Seeds, route: Route) -> None:
    """Without the session's token, and with it and every field wrong in every way."""
    if route.machine or route.method != "POST":
        return
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    caller = planted.caller(route.access)
    token = caller.form_token if isinstance(caller, Browser) else ""
    for content in (b"", b"a=canaryB7f3", b"&" * 5_000, b"a=1&" * 5_000):
        check(route, await send(planted, route, content=content, headers=form), sent=content)
    for value in ("", CANARY + "%00", "%ff%fe", "%ed%a0%80", "9" * 400, "1e999", "-1", CANARY * 1_000):
        content = "&".join([f"_csrf_token={token}", *(f"{field}={value}" for field in FIELDS)]).encode()
        check(route, await send(planted, route, content=content, headers=form), sent=value)


@pytest.mark.parametrize("route", [r for r in routes.every() if r.method in WITH_BODY and r.machine], ids=str)
async def test_each_field_with_each_wrong_value(planted, route: Route) -> None:
    right = planted.bodies().get(str(route))
    if right is None:
        assert not await reads_a_body(planted, route), f"seeds.bodies has no right body for {route}"
        return
    for field, changed in spoiled(right):
        answer = await send(planted, route, content=json.dumps(changed).encode(), headers=JSON)
        check(route, answer, sent=field)
    for name in ("unknown", "x" * 10_000):
        answer = await send(planted, route, content=json.dumps(right | {name: 1}).encode(), headers=JSON)
        fault = {"pointer": f"/{name[:200]}", "code": "unknown_field", "detail": "leave this field out"}
        assert (answer.status_code, answer.json()["errors"]) == (422, [fault])


async def reads_a_body(planted, route: Route) -> bool:
    return (await send(planted, route, content=b'{"unknown":1}', headers=JSON)).status_code == 422


def spoiled(right: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The body with one field after the other replaced or left out."""
    for place in places(right):
        for value in VALUES:
            changed = copy.deepcopy(right)
            parent = changed
            for step in place[:-1]:
                parent = parent[step]
            parent[place[-1]] = value
            yield f"{place}={value!r:.30}", changed
    for name in right:
        yield f"without {name}", {k: v for k, v in right.items() if k != name}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for step, below in inner:
        yield (*above, step)
        yield from places(below, (*above, step))


async def odd_names(planted: Seeds, route: Route) -> None:
    """Ids of another kind, no ids, bytes that are no text, ways out of the folder."""
    for parameter in route.parameters:
        for name in NAMES:
            path = route.at(**planted.named | {parameter: name})
            body = (
                json.dumps(planted.bodies().get(str(route), {})).encode()
                if route.method in WITH_BODY
                else b""
            )
            check(route, await send(planted, route, path=path, content=body, headers=JSON), sent=name)
    for path in (
        f"{route.at(**planted.named)}/../../me",
        route.at(**planted.named) + "%2f..",
        "//evil.example/" + "x",
    ):
        check(None, await send(planted, route, path=path), sent=path)


async def odd_queries(planted: Seeds, route: Route) -> None:
    """Numbers that are none or too large, cursors that we never gave, text that is not UTF-8."""
    if route.method != "GET":
        return
    for query in QUERIES:
        check(route, await send(planted, route, query=query), sent=query)


async def other_methods(planted: Seeds, route: Route) -> None:
    """What this path does not know."""
    allowed = {r.method for r in routes.every() if r.path == route.path}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "TRACE", "CANARY"} - allowed:
        answer = await send(planted, route, method=method)
        check(route, answer, sent=method)
        assert answer.status_code in (401, 404, 405), f"{method} {route}: {answer.status_code}"


async def odd_headers(planted: Seeds, route: Route) -> None:
    """Credentials that came twice, keys that are none, headers of proxies and caches."""
    body = json.dumps(planted.bodies().get(str(route), {})).encode() if route.method in WITH_BODY else b""
    caller = planted.caller(route.access)
    right = await caller.headers(route.method, route.at(**planted.named)) if caller else {}
    for name in ("Authorization", "DPoP", "Cookie", "Origin"):
        if name in right:
            answer = await send(planted, route, content=body, headers=[*JSON.items(), (name, right[name])])
            check(route, answer, sent=f"{name} twice")
            if name in ("Authorization", "DPoP"):
                assert answer.status_code == 401, answer.text
    if route.access.once:
        answer = await send(
            planted, route, content=body, headers=[*JSON.items(), ("Idempotency-Key", "second")]
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_unusable")
    if caller and route.method == "POST":
        for key in KEYS:
            said = (
                right
                | JSON
                | await caller.headers("POST", route.at(**planted.named))
                | {"Idempotency-Key": key}
            )
            raw = [(k.encode(), v.encode("latin-1")) for k, v in said.items()]
            answer = await planted.here.http.request(
                "POST", route.at(**planted.named), content=body, headers=raw
            )
            check(route, answer, sent=key)
            if route.access.once:
                assert answer.json()["code"] in ("idempotency_key_unusable", "idempotency_key_missing")
    for odd in (
        {"Accept": "\x7f/*;q=x", "Accept-Language": "\x7f" * 300},
        {"traceparent": f"00-{CANARY}-x-01"},
        {"Content-Length": "999999999999"},
        {"X-Forwarded-Host": CANARY, "Forwarded": f"host={CANARY}"},
        {"If-Match": CANARY, "Range": "bytes=99999-1", "If-Modified-Since": CANARY},
    ):
        check(route, await send(planted, route, content=body, headers=JSON | odd), sent=odd)


async def callers_of_another_kind(planted: Seeds, route: Route) -> None:
    """Nobody, a person, a colleague, a bank: each where another one belongs, without a word about what is there."""
    if route.access.kind == "public":
        return
    path = route.at(**planted.named)
    for kind in {"client", "person", "staff", "nobody"} - {route.access.kind}:
        caller = planted.caller(Access(kind))
        said = await caller.headers(route.method, path) if caller else {}
        answer = await planted.here.http.request(route.method, path, headers=said)
        check(route, answer, sent=kind)
        assert answer.status_code in (401, 403, 303), (
            f"{kind} at {route}: {answer.status_code} {answer.text[:200]}"
        )


# Last come those that a careless route would answer by doing what it is for.
KINDS = (
    odd_names,
    odd_queries,
    other_methods,
    odd_headers,
    callers_of_another_kind,
    odd_forms,
    unreadable_bodies,
)


@pytest.mark.parametrize("route", routes.every(), ids=str)
async def test_every_route_withstands_every_kind(planted, route: Route) -> None:
    for send_them in KINDS:
        if str(route) in ENDS_SESSIONS:
            planted = replace(planted, browser=await planted.here.browser(planted.person))
        await send_them(planted, route)


@pytest.mark.parametrize(
    "route",
    [
        r
        for r in routes.every()
        if r.parameters and r.access.kind in ("client", "person") and r.machine and "path" not in r.parameters
    ],
    ids=str,
)
async def test_what_is_anothers_is_answered_like_what_is_not(planted, route: Route) -> None:
    body = json.dumps(planted.bodies().get(str(route), {})).encode() if route.method in WITH_BODY else b""
    parameter = route.parameters[0]
    theirs = planted.named[parameter]
    answers = [
        await send(
            planted,
            route,
            path=route.at(**planted.named | {parameter: name}),
            content=body,
            headers=JSON,
            stranger=True,
        )
        for name in (theirs, theirs[:4] + "0" * 26, "xyz_" + "0" * 26)
    ]
    told = [json.dumps(answer.json() | {"trace_id": ""}, sort_keys=True) for answer in answers]
    assert [answer.status_code for answer in answers] == [404, 404, 404], told
    assert told[0] == told[1] == told[2]
    assert sorted(answers[0].headers) == sorted(answers[1].headers)


@pytest.mark.parametrize(
    ("route", "field", "of"),
    [
        ("/v1/scores", "user", "user"),
        ("/v1/grants", "user", "user"),
        ("/v1/outcomes", "referral", "referral_id"),
        ("/v1/outcomes", "score", "score_id"),
    ],
)
async def test_anothers_ids_in_a_body_too(planted, route, field, of) -> None:
    right = planted.bodies()[f"POST {route}"]
    right = {k: v for k, v in right.items() if k not in ("recipient", "referral")}
    told = []
    for name in (planted.named[of], planted.named[of][:4] + "0" * 26):
        answer = await planted.other_bank.call("POST", route, right | {field: name})
        told.append((answer.status_code, answer.json() | {"trace_id": ""}))
    assert told[0] == told[1]
    assert told[0][0] == 404


async def test_the_right_bodies_are_right(planted) -> None:
    """Otherwise everything above would be refused for another reason than the one that is tested."""
    said = planted.bodies()
    approve = said.pop("POST /v1/me/grants/{grant_id:str}/approve")
    del approve["notice_sha256"]
    del said["POST /v1/me/grants/{grant_id:str}/extension"]["notice_sha256"]
    reject = said.pop("POST /v1/me/grants/{grant_id:str}/reject")
    world.told(await planted.browser.call("POST", f"/v1/me/grants/{planted.waiting}/approve", approve), 200)
    answered = await planted.browser.call("POST", f"/v1/me/grants/{planted.waiting}/reject", reject)
    assert world.told(answered, 409)["code"] == "grant_not_open"
    # A pick needs a lender that can be reached, and this referral has not arrived: refused by state, not by shape.
    pick = "/v1/applications/{application_id:str}/pick"
    path = routes.find("POST", pick).at(**planted.named)
    assert (
        world.told(await planted.browser.call("POST", path, said.pop(f"POST {pick}")), 409)["code"]
        == "lender_not_reachable"
    )
    cutoff = said.pop("POST /v1/operator/cutoffs")  # one waits for its approval already
    waits = await planted.console.call("POST", "/v1/operator/cutoffs", cutoff)
    assert world.told(waits, 409)["code"] == "cutoff_changed_too_often"
    status = "/v1/referrals/{referral_id:str}/status"
    path = routes.find("POST", status).at(**planted.named)
    assert (
        world.told(await planted.bank.call("POST", path, said.pop(f"POST {status}")), 409)["code"]
        == "step_forbidden"
    )
    # The small model holds nothing that the published rules of a portrait read.
    drawn = await planted.bank.call("POST", "/v1/portraits", said.pop("POST /v1/portraits"))
    assert world.told(drawn, 422)["code"] == "insufficient_evidence"
    for name, right in sorted(said.items(), key=lambda one: one[0] in ENDS_SESSIONS):
        route = routes.find(*name.split())
        answer = await planted.caller(route.access).call(route.method, route.at(**planted.named), right)
        assert answer.status_code in (200, 201, 202), f"{name}: {answer.text}"
