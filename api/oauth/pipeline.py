"""What is checked of a call, in which order, at which endpoint: one table."""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import Enum, auto

from api.oauth import clients
from api.oauth.attempt import AnyRequest, Attempt
from api.oauth.checks import (
    access_token,
    authorization_request,
    certificate,
    client_authentication,
    form,
    proof,
    rate,
    sender,
    single_use,
)
from api.oauth.clients import ClientChanged
from compliance.refusals import Refusal
from compliance.vocabulary import PartnerClient

TRIES = 3
"""A client that changes while it calls is looked at again."""
Check = Callable[[Attempt], Awaitable[None]]


class Endpoint(Enum):
    """Where a call arrives; each has its column in the table."""

    PAR = auto()
    TOKEN = auto()
    INTROSPECTION = auto()
    REVOCATION = auto()
    PROTECTED_CALL = auto()


PAR, TOKEN, INTRO, REVOKE, CALL = Endpoint
CLIENT = {PAR, TOKEN, INTRO, REVOKE}
"""Where the client itself authenticates; everywhere else its token speaks for it."""

# Cheap and pure checks come first; an id is spent only after everything about it was verified.
TABLE: tuple[tuple[Check, set[Endpoint]], ...] = (
    (form.read, CLIENT),
    (form.grant_type, {TOKEN}),
    (form.token, {INTRO, REVOKE}),
    (certificate.read, {*CLIENT, CALL}),
    (access_token.verify, {CALL}),
    (proof.verify, {PAR, TOKEN, CALL}),
    (sender.match_token, {CALL}),
    (client_authentication.verify, CLIENT),
    (sender.bind, {TOKEN}),
    (authorization_request.read, {PAR}),
    (single_use.spend, {*CLIENT, CALL}),
    (rate.count, {*CLIENT, CALL}),
    (client_authentication.admit, CLIENT),
    (authorization_request.admit, {PAR}),
    (access_token.admit, {CALL}),
)
CHECKS: Mapping[Endpoint, tuple[Check, ...]] = {
    endpoint: tuple(check for check, endpoints in TABLE if endpoint in endpoints) for endpoint in Endpoint
}


async def run(endpoint: Endpoint, request: AnyRequest, *, while_frozen: bool = False) -> Attempt:
    """Put a call through the checks of its endpoint; raises the refusal of the first that declines."""
    for _ in range(TRIES - 1):
        with suppress(ClientChanged):
            return await _run(endpoint, request, while_frozen=while_frozen)
    return await _run(endpoint, request, while_frozen=while_frozen)


async def _run(endpoint: Endpoint, request: AnyRequest, *, while_frozen: bool) -> Attempt:
    attempt = Attempt(request, request.app.state.settings, time.time(), while_frozen)
    try:
        for check in CHECKS[endpoint]:
            await check(attempt)
    except ClientChanged:
        clients.forget(attempt.client_id)
        raise
    except Refusal as refusal:
        # What it was refused for may be what the client was before.
        if attempt.remembered and await clients.has_changed(attempt.remembered):
            clients.forget(attempt.remembered.client_id)
            raise ClientChanged from refusal
        raise
    return attempt


async def protected_call(request: AnyRequest, *, while_frozen: bool = False) -> PartnerClient:
    """Who makes this call, proven by token and by possession of what it is bound to.

    Raises `DpopRequired`, `InvalidToken`, `InvalidDpopProof`, `RateLimited` or `PartnerSuspended`; each carries its
    `headers`. `while_frozen`: whether a partner that is frozen may make this call too.
    """
    return (await run(Endpoint.PROTECTED_CALL, request, while_frozen=while_frozen)).caller
