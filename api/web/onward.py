"""Where a person goes on to after signing in: a page of ours, or the authorization request that waits for them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from api.access import AnyRequest
from api.oauth.endpoints import AUTHORIZATION_PATH

SIGN_IN = "/sign-in"
HOME = "/me"
PLACE = re.compile(r"/(?:me|apply|ask)(?:/[A-Za-z0-9_-]{1,64}){0,4}")
CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
REQUEST_URI = re.compile(r"urn:ietf:params:oauth:request_uri:[A-Za-z0-9_-]{20,128}")
YES = "yes"


@dataclass(frozen=True, slots=True)
class Onward:
    """Where to, and whether the person proves anew who they are before."""

    to: str = HOME
    fresh: bool = False

    @property
    def address(self) -> str:
        """Where to sign in to get there; `read` is the inverse."""
        path, _, waiting = self.to.partition("?")
        where = waiting if path == AUTHORIZATION_PATH else urlencode({"to": self.to})
        return f"{SIGN_IN}?{where}{f'&fresh={YES}' if self.fresh else ''}"


def read(said: Mapping[str, Any]) -> Onward:
    """What an address asks for; whatever does not lead to a place of ours leads home."""
    fresh = said.get("fresh") == YES
    client_id, request_uri = str(said.get("client_id", "")), str(said.get("request_uri", ""))
    if CLIENT_ID.fullmatch(client_id) and REQUEST_URI.fullmatch(request_uri):
        waiting = urlencode({"client_id": client_id, "request_uri": request_uri})
        return Onward(f"{AUTHORIZATION_PATH}?{waiting}", fresh)
    to = str(said.get("to", HOME))
    return Onward(to if PLACE.fullmatch(to) else HOME, fresh)


def back_here(request: AnyRequest, *, fresh: bool) -> str | None:
    """The address to sign in at and come back from to the page that the person is at; None where it is not a person's.

    A form is repeated from the page that it stands on, which is what the browser says sent it.
    """
    at = request.scope["path"]
    if request.method != "GET":
        sent_from = urlsplit(request.headers.get("referer", "")[:512])
        ours = f"{sent_from.scheme}://{sent_from.netloc}" == request.app.state.settings.issuer
        at = sent_from.path if ours else HOME
    if not PLACE.fullmatch(at):
        return None
    return Onward(at, fresh).address
