"""Client authentication: by a signed assertion or by a certificate, each client in the one way it is registered for."""

from hmac import compare_digest

from api.oauth import clients
from api.oauth.attempt import Attempt
from api.oauth.checks import client_assertion
from api.oauth.checks.client_assertion import InvalidClient
from api.oauth.clients import Client
from api.oauth.registration import BY_AUTHORITY, BY_CERTIFICATE, METHODS
from compliance.vocabulary import PartnerClient


async def verify(attempt: Attempt) -> None:
    """Find out who the client is, and that it is the client."""
    form = attempt.form
    if "client_secret" in form or "authorization" in attempt.request.headers:
        raise InvalidClient(f"clients authenticate by {' or '.join(METHODS)} only")
    if "client_assertion" in form or "client_assertion_type" in form:
        client = await client_assertion.verify(attempt)
    elif attempt.certificate is not None and "client_id" in form:
        client = await _by_certificate(attempt, form["client_id"])
    else:
        raise InvalidClient(f"a client_assertion of type {client_assertion.ASSERTION_TYPE} is needed")
    attempt.client, attempt.client_id = client, client.client_id


async def admit(attempt: Attempt) -> None:
    """A suspended client gets nothing; one whose partner is frozen can still find out what was withdrawn."""
    standing = attempt.standing
    if standing.suspended:
        raise InvalidClient("the client is suspended")
    attempt.caller = PartnerClient(standing.partner, attempt.client_id, standing.scopes, standing.purposes)


async def _by_certificate(attempt: Attempt, client_id: str) -> Client:
    client, presented = await clients.find(client_id), attempt.certificate
    attempt.remembered = client
    if client is None or presented is None:
        raise InvalidClient("the client is unknown")
    if client.method == BY_AUTHORITY and client.tls_subject:
        if presented.trusted and compare_digest(presented.subject.encode(), client.tls_subject.encode()):
            return client
    elif client.method == BY_CERTIFICATE and presented.thumbprint in client.certificates:
        return client
    raise InvalidClient("the certificate is not one that this client is registered with")
