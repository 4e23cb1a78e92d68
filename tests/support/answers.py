"""What must be true of any answer of the authorization server and its pages, whatever was sent."""

import re
import time
from collections import Counter
from urllib.parse import quote_plus, urlsplit

import httpx2
from support.fuzz import CANARY
from support.world import ISSUER

FORM_PATHS = ("/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke")
FOR_PROGRAMS = ("/oauth/", "/.well-known/")
INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|asyncpg|tortoise|msgspec|litestar|authlib|joserfc|select .* from |psql|pg_",
    re.IGNORECASE,
)
RANDOM = re.compile(r"[A-Za-z0-9_-]{40,}")
"""Tokens and codes: any three letters may stand in them."""
HOST = re.compile(r"[a-z.]+")
"""With an odd one, the framework knows no address and asks nobody."""
CODE = re.compile(r"[a-z][a-z0-9_]{2,60}")
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,600}")
"""RFC 6749 section 5.2."""
OWN_LINKS = re.compile(r'href="\?[^"]*"|<input type="hidden" name="(client_id|request_uri)" value="[^"]*">')
"""A page in the other language has the same address, and signing in leads on to the request that waits."""


class Tally:
    """What was sent and how it was answered."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.answers: Counter[tuple[str, int]] = Counter()

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        statuses = Counter[int]()
        for (_, status), count in self.answers.items():
            statuses[status] += count
        told = [f"{statuses.total()} requests in {seconds:.0f} s: {dict(sorted(statuses.items()))}"]
        for target in dict.fromkeys(target for target, _ in self.answers):
            own = {status: count for (name, status), count in sorted(self.answers.items()) if name == target}
            told.append(f"  {target}: {own}")
        return "\n".join(told)


def judge(answer: httpx2.Response, registered: str) -> None:
    """What must be true of any answer; `registered` is the one address that people may be sent to."""
    request, path = answer.request, answer.request.url.path
    kind = answer.headers.get("content-type", "").split(";")[0]
    about = f"{request.method} {str(request.url)[:200]}: {answer.status_code} {kind} {answer.text[:400]}"
    # An error that the browser says the provider said, and that we know nothing of, is the provider's trouble.
    assert answer.status_code < 500 or (answer.status_code, path) == (503, "/sign-in/return"), about
    assert not INTERNALS.search(RANDOM.sub("", answer.text)), about
    assert CANARY not in OWN_LINKS.sub("", answer.text), about
    for name, value in answer.headers.multi_items():
        assert name == "location" or CANARY not in value, about
    if 300 <= answer.status_code < 400 or "location" in answer.headers:
        assert answer.status_code == 303, about
        leads_on(answer.headers["location"], registered)
    if answer.status_code >= 400 and request.method != "HEAD":
        refused(answer, kind, about)
    kept = path.startswith("/.well-known/") and answer.status_code == 200
    if request.method != "OPTIONS":
        assert answer.headers.get("cache-control") == ("public, max-age=300" if kept else "no-store"), about
    if "set-cookie" in answer.headers:
        # A session begins by signing in alone; any page remembers the language it was asked for.
        begun = path.startswith("/sign-in") and answer.status_code == 303
        assert begun or answer.headers["set-cookie"].startswith("language="), about


def leads_on(location: str, registered: str) -> None:
    """To a path of our own, to the provider, or back to the client with an answer that names us (RFC 9207)."""
    parts = urlsplit(location)
    if location.startswith("http://127.0.0.1:"):
        # To the provider, with nothing of what was sent.
        assert parts.path == "/authorize", location
        assert CANARY not in location, location
    elif parts.scheme or parts.netloc:
        assert location.startswith(f"{registered}?"), location
        assert f"iss={quote_plus(ISSUER)}" in location, location
    else:
        assert location.startswith("/"), location
        assert not location.startswith(("//", "/\\")), location


def refused(answer: httpx2.Response, kind: str, about: str) -> None:
    """The shape of OAuth, a problem document, or, for people, a page."""
    path, status = answer.request.url.path, answer.status_code
    if kind == "application/json":
        assert path in FORM_PATHS, about
        body = answer.json()
        assert body.keys() - {"error_description"} == {"error"}, about
        assert CODE.fullmatch(body["error"]), about
        assert DESCRIPTION.fullmatch(body.get("error_description", "-")), about
        return
    if kind == "application/problem+json":
        body = answer.json()
        routed = HOST.fullmatch(answer.request.headers["host"])
        assert not (path in FORM_PATHS and routed and status in (400, 401, 403)), about
        assert body.keys() - {"errors"} == {"type", "code", "title", "status", "detail", "trace_id"}, about
        assert (body["type"], body["status"]) == (f"/problems/{body['code']}", status), about
        assert CODE.fullmatch(body["code"]), about
        assert body["code"] != "internal_error", about
        return
    assert kind == "text/html", about
    assert path == "/oauth/authorize" or not path.startswith(FOR_PROGRAMS), about
