"""A pushed authorization request: everything about it is checked before a person is sent anywhere."""

import re
from typing import Literal

import msgspec
from msgspec.json import Decoder

from api import problems
from api.oauth.attempt import Attempt
from api.oauth.authorization_request import AuthorizationRequest, ConsentDetail
from api.oauth.checks.form import InvalidRequest
from api.oauth.scopes import DELEGATED, USUAL
from compliance.refusals import Refusal
from consent import grants
from partners.directory import PartnerSuspended

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""The SHA-256 of a verifier in base64url (RFC 7636 section 4.2), and of a key (RFC 7638)."""
STATE_LENGTH_MAX = 2_048
ACTIONS = ("create", "merge", "replace")
DETAILS = Decoder(list[ConsentDetail])


class UnsupportedResponseType(Refusal):
    """Only the code flow exists (FAPI 2.0 section 5.3.2.2, item 1)."""

    status, code, title = 400, "unsupported_response_type", "This response type is not supported"


class RequestNotSupported(Refusal):
    """Request objects are not supported (RFC 9101): the request was pushed over an authenticated channel."""

    status, code, title = 400, "request_not_supported", "Request objects are not supported"


class InvalidScope(Refusal):
    """More is asked than the client is registered for, or nothing that a person can agree to (RFC 6749 section 5.2)."""

    status, code, title = 400, "invalid_scope", "The scope cannot be granted"


class InvalidTarget(Refusal):
    """The token would be for another server (RFC 8707 section 2)."""

    status, code, title = 400, "invalid_target", "This server issues tokens for itself only"


class InvalidAuthorizationDetails(Refusal):
    """The consent that is asked for cannot be read, or not be asked for (RFC 9396 section 5)."""

    status, code, title = 400, "invalid_authorization_details", "The consent asked for is not acceptable"


async def read(attempt: Attempt) -> None:
    """RFC 9126 section 2.1: what is refused here would be refused at the authorization endpoint."""
    form = attempt.form
    # RFC 9126 section 2.1: a request_uri would be a request within a request.
    if "request_uri" in form:
        raise InvalidRequest("request_uri is not pushed: it is what you get")
    if "request" in form:
        raise RequestNotSupported("push the parameters themselves")
    if form.get("response_type") != "code":
        raise UnsupportedResponseType("response_type is code")
    if form.get("response_mode", "query") != "query":
        raise InvalidRequest("response_mode is query, or left out")
    if form.get("client_id", attempt.client_id) != attempt.client_id:
        raise InvalidRequest("client_id is another client")
    action, replaces = _grant_management(attempt)
    attempt.asked = AuthorizationRequest(
        redirect_uri=_redirect_uri(attempt),
        state=_state(attempt),
        scopes=_scopes(attempt),
        code_challenge=_code_challenge(attempt),
        proof_key=_proof_key(attempt),
        detail=_detail(attempt),
        action=action,
        replaces=replaces,
    )


def _redirect_uri(attempt: Attempt) -> str:
    # FAPI 2.0 section 5.3.2.2, item 6. Compared as text, never as a pattern (RFC 9700 section 4.1.3).
    given = attempt.form.get("redirect_uri", "")
    if given not in attempt.client.redirect_uris:
        raise InvalidRequest("redirect_uri is missing, or is not one that the client is registered with")
    return given


def _state(attempt: Attempt) -> str | None:
    state = attempt.form.get("state")
    if state is not None and len(state) > STATE_LENGTH_MAX:
        raise InvalidRequest(f"state has at most {STATE_LENGTH_MAX} characters")
    return state


def _scopes(attempt: Attempt) -> frozenset[str]:
    """What the token will be for: at most what was asked, and only what a consent can stand behind."""
    registered = attempt.client.scopes
    asked = frozenset(attempt.form.get("scope", "").split()) or registered & USUAL
    if not asked <= registered or not asked & DELEGATED:
        raise InvalidScope(f"ask for one or more of {' '.join(sorted(registered & DELEGATED)) or 'nothing'}")
    return asked & DELEGATED


def _code_challenge(attempt: Attempt) -> str:
    form = attempt.form
    challenge = form.get("code_challenge", "")
    # FAPI 2.0 section 5.3.2.2, item 5: S256 and nothing else; without a method it would be "plain" (RFC 7636, 4.3).
    if form.get("code_challenge_method") != "S256" or CHALLENGE.fullmatch(challenge) is None:
        raise InvalidRequest("code_challenge with code_challenge_method S256 is needed")
    return challenge


def _proof_key(attempt: Attempt) -> str | None:
    """RFC 9449 section 10: the parameter, or the proof of this call, or both where they agree."""
    named = attempt.form.get("dpop_jkt")
    proven = attempt.proof.thumbprint if attempt.proof else None
    if named is not None and CHALLENGE.fullmatch(named) is None:
        raise InvalidRequest("dpop_jkt is the SHA-256 thumbprint of a key")
    if named and proven and named != proven:
        raise InvalidRequest("dpop_jkt is not the key of the proof")
    return named or proven


def _detail(attempt: Attempt) -> ConsentDetail:
    if attempt.form.get("resource", attempt.issuer) != attempt.issuer:
        raise InvalidTarget("resource is the issuer, or left out")
    try:
        details = DETAILS.decode(attempt.form.get("authorization_details", "[]"))
    except msgspec.MsgspecError as error:
        fault = problems.fault_of(str(error))
        raise InvalidAuthorizationDetails(
            f"authorization_details: {fault.pointer or '/'}: {fault.detail}"
        ) from error
    except RecursionError as error:
        raise InvalidAuthorizationDetails("authorization_details are nested too deeply") from error
    if len(details) != 1:
        raise InvalidAuthorizationDetails(
            "authorization_details hold exactly one xinqiao_consent: one yes for one thing"
        )
    (detail,) = details
    if detail.template not in (None, grants.TEMPLATES[detail.purpose].id):
        raise InvalidAuthorizationDetails(f"the template in force is {grants.TEMPLATES[detail.purpose].id}")
    if set(detail.locations) - {attempt.issuer}:
        raise InvalidAuthorizationDetails("locations hold nothing but the issuer")
    if detail.purpose not in attempt.client.purposes:
        raise InvalidAuthorizationDetails("the client is not registered for this purpose")
    return detail


def _grant_management(attempt: Attempt) -> tuple[Literal["create", "merge", "replace"], str | None]:
    """Grant Management for OAuth 2.0, draft 3, section 5: merge and replace name a consent."""
    action, named = attempt.form.get("grant_management_action", "create"), attempt.form.get("grant_id")
    if action == "create" and named is None:
        return "create", None
    if action == "merge" and named:
        return "merge", named
    if action == "replace" and named:
        return "replace", named
    raise InvalidRequest(
        f"grant_management_action is one of {' '.join(ACTIONS)}; the last two need a grant_id"
    )


async def admit(attempt: Attempt) -> None:
    """A frozen partner asks nobody for anything."""
    if attempt.standing.frozen:
        raise PartnerSuspended
