"""What is checked of a call, in which order, at which endpoint: one table."""

import time
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto

from api.oauth.attempt import AnyRequest, Attempt
from api.oauth.checks import access_token, client_assertion, form, proof, single_use
from compliance.vocabulary import PartnerClient

Check = Callable[[Attempt], Awaitable[None]]


class Endpoint(Enum):
    """Where a call arrives; each has its column in the table."""

    TOKEN = auto()
    PROTECTED_CALL = auto()


TOKEN, CALL = Endpoint.TOKEN, Endpoint.PROTECTED_CALL

# Cheap and pure checks come first; an id is spent only after everything about it was verified.
TABLE: tuple[tuple[Check, set[Endpoint]], ...] = (
    (form.read, {TOKEN}),
    (access_token.verify, {CALL}),
    (proof.verify, {TOKEN, CALL}),
    (proof.match_token, {CALL}),
    (client_assertion.verify, {TOKEN}),
    (single_use.spend, {TOKEN, CALL}),
    (client_assertion.admit, {TOKEN}),
    (access_token.admit, {CALL}),
)
CHECKS: Mapping[Endpoint, tuple[Check, ...]] = {
    endpoint: tuple(check for check, endpoints in TABLE if endpoint in endpoints) for endpoint in Endpoint
}


async def run(endpoint: Endpoint, request: AnyRequest) -> Attempt:
    """Put a call through the checks of its endpoint; raises the refusal of the first that declines."""
    attempt = Attempt(request, request.app.state.settings.issuer, time.time())
    for check in CHECKS[endpoint]:
        await check(attempt)
    return attempt


async def protected_call(request: AnyRequest) -> PartnerClient:
    """Who makes this call, proven by token and proof of possession.

    Raises `DpopRequired`, `InvalidToken` or `InvalidDpopProof`; each carries its `WWW-Authenticate` in `headers`.
    """
    return (await run(Endpoint.PROTECTED_CALL, request)).caller
