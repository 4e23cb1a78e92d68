"""What a client is registered with: checked as a whole, every fault named, before anybody has to approve it."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Required, TypedDict
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509

from api.oauth import key_sets
from api.oauth.scopes import OPERATORS, Scope
from compliance.refusals import Fault, Unacceptable
from compliance.vocabulary import OPERATOR, PartnerClient, PartnerId
from consent.grants import PARTNERS_ASK_FOR

CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
VISIBLE = re.compile(r"[\x21-\x7e]{1,512}")
MOST_REDIRECT_URIS = 10
LONGEST_SUBJECT = 512
BY_ASSERTION, BY_AUTHORITY, BY_CERTIFICATE = (
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
)
METHODS = (BY_ASSERTION, BY_AUTHORITY, BY_CERTIFICATE)
"""RFC 7523 section 2.2, RFC 8705 sections 2.1 and 2.2; FAPI 2.0 section 5.3.2.1 allows no other."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PLACE = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?")
"""A host and its port, as they may stand in a content security policy."""
ANSWERED = {"code", "state", "iss", "error"}
NEEDS: Mapping[str, tuple[str, ...]] = {
    BY_ASSERTION: ("jwks", "jwks_uri"),
    BY_AUTHORITY: ("tls_subject",),
    BY_CERTIFICATE: ("jwks",),
}
"""What a method rests on: exactly one of these, and none of the others' means."""
MEANS = ("jwks", "jwks_uri", "tls_subject")


class Registration(TypedDict, total=False):
    """What a partner wants a client to be; what is left out has its default.

    `jwks`: a set of public keys (RFC 7517). `jwks_uri`: where the client publishes it. `tls_subject`: RFC 4514.
    """

    client_id: Required[str]
    partner: Required[PartnerId]
    scopes: Required[Collection[str]]
    purposes: Collection[str]
    redirect_uris: Collection[str]
    method: str
    jwks: Mapping[str, object] | None
    jwks_uri: str | None
    tls_subject: str | None
    certificate_bound: bool


def check(wanted: Registration, *, loopback: bool, by: PartnerClient | None = None) -> dict[str, Any]:
    """The columns of a client that can be registered like this; raises `Unacceptable`, naming every fault by pointer.

    `loopback`: addresses of the client may be http on its own machine, as in development. `by`: the partner's client
    that registers it, if one does: it may do no more than that one, and we fetch its keys from no machine of ours.
    """
    faults: list[Fault] = []
    method = wanted.get("method", BY_ASSERTION)
    if CLIENT_ID.fullmatch(wanted["client_id"]) is None:
        faults.append(
            Fault("/client_id", "malformed", "use 1 to 128 letters, digits and . _ ~ -, no sign first")
        )
    if not wanted["scopes"] or set(wanted["scopes"]) - set(Scope):
        faults.append(Fault("/scopes", "unknown_scope", f"name one or more of {' '.join(Scope)}"))
    elif set(wanted["scopes"]) & OPERATORS and wanted["partner"] != OPERATOR:
        faults.append(Fault("/scopes", "operators_own", "only the operator's own clients bring behaviour"))
    elif wanted["partner"] == OPERATOR and set(wanted["scopes"]) - OPERATORS:
        faults.append(
            Fault("/scopes", "operators_own", f"the operator's clients are for {' '.join(OPERATORS)}")
        )
    purposes = wanted.get("purposes", PARTNERS_ASK_FOR)
    if not purposes or set(purposes) - PARTNERS_ASK_FOR:
        allowed = " ".join(sorted(PARTNERS_ASK_FOR))
        faults.append(Fault("/purposes", "unknown_purpose", f"name one or more of {allowed}"))
    if by is not None:
        faults += beyond(by, wanted["scopes"], purposes)
    checked = {
        "client_id": wanted["client_id"],
        "partner": wanted["partner"],
        "method": method,
        "scopes": sorted(set(wanted["scopes"])),
        "purposes": sorted(set(purposes)),
        "redirect_uris": _redirect_uris(wanted.get("redirect_uris", ()), faults, loopback=loopback),
        # A client that is known by its certificate has one to bind tokens to (RFC 8705 section 3).
        "certificate_bound": method != BY_ASSERTION or wanted.get("certificate_bound", False),
        **_means(method, wanted, faults, loopback=loopback and by is None),
    }
    if faults:
        raise Unacceptable("the client cannot be registered like this", *faults)
    return checked


def beyond(by: PartnerClient, scopes: Iterable[str], purposes: Iterable[str]) -> list[Fault]:
    """What of this the calling client may not do itself, by the token that it calls with."""
    faults = []
    if more := set(scopes) & set(Scope) - by.scopes:
        faults.append(Fault("/scopes", "beyond_own", f"your own token is not for {' '.join(sorted(more))}"))
    if more := set(purposes) & PARTNERS_ASK_FOR - by.purposes:
        told = f"your own client is not registered for {' '.join(sorted(more))}"
        faults.append(Fault("/purposes", "beyond_own", told))
    return faults


def _means(method: str, wanted: Registration, faults: list[Fault], *, loopback: bool) -> dict[str, Any]:
    """By what the client is known: exactly one of what its method needs, and nothing else."""
    given = {name: wanted.get(name) for name in MEANS if wanted.get(name) is not None}
    needed = NEEDS.get(method)
    if needed is None:
        faults.append(Fault("/method", "unknown_method", f"name one of {' '.join(METHODS)}"))
        return {}
    if len(given) != 1 or not set(given) <= set(needed):
        faults.append(
            Fault("/method", "means_unfit", f"with {method} give {' or '.join(needed)}, and no more")
        )
        return {}
    means: dict[str, Any] = dict.fromkeys(MEANS)
    if "jwks" in given:
        accepted = key_sets.accept(given["jwks"], faults, certified=method == BY_CERTIFICATE)
        means["jwks"] = {"keys": list(accepted.values())}
    elif "jwks_uri" in given:
        means["jwks_uri"] = given["jwks_uri"]
        if fault := _odd(str(given["jwks_uri"]), loopback=loopback):
            faults.append(Fault("/jwks_uri", "address_unusable", fault))
    else:
        means["tls_subject"] = _subject(str(given["tls_subject"]), faults)
    return means


def _redirect_uris(given: Collection[str], faults: list[Fault], *, loopback: bool) -> list[str]:
    """Where people may be sent back to; compared as text later, so they are stored as they came."""
    if len(given) > MOST_REDIRECT_URIS:
        faults.append(Fault("/redirect_uris", "too_many", f"give at most {MOST_REDIRECT_URIS}"))
        return []
    for position, address in enumerate(given):
        if fault := _odd(address, loopback=loopback):
            faults.append(Fault(f"/redirect_uris/{position}", "address_unusable", fault))
    return sorted(set(given))


def _odd(address: str, *, loopback: bool) -> str | None:
    """What is wrong with an address of a client (RFC 6749 section 3.1.2, RFC 9700 section 4.1.3, FAPI 2.0 5.3.2.2)."""
    if VISIBLE.fullmatch(address) is None or set(address) & set('*\\"<>^`{|}'):
        return "use at most 512 characters of a URI, without wildcards"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "this is no URI"
    if not host or not PLACE.fullmatch(parts.netloc) or "#" in address or address.endswith("?"):
        return "use an absolute URI with a host, without a user and without a fragment"
    if {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} & ANSWERED:
        return f"the names {', '.join(sorted(ANSWERED))} in its query are for the answer"
    on_loopback = loopback and host in LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and on_loopback):
        return "use https" + (", or http on this machine" if loopback else "")
    return None


def _subject(text: str, faults: list[Fault]) -> str | None:
    """A distinguished name in the one way it is written when it is compared (RFC 4514)."""
    try:
        normal = x509.Name.from_rfc4514_string(text).rfc4514_string() if len(text) <= LONGEST_SUBJECT else ""
    except ValueError:
        normal = ""
    if not normal:
        told = (
            "use a name as in RFC 4514, like CN=client.bank.example,O=Bank; other attributes by dotted number"
        )
        faults.append(Fault("/tls_subject", "malformed", told))
    return normal or None
