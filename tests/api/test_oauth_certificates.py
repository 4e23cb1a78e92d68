"""Clients with certificates (RFC 8705): who they are, and that their tokens are of use to nobody else."""

from base64 import b64encode
from dataclasses import dataclass

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from support import code_flow, world
from support.code_flow import BACK, Flow, back
from support.identities import Identity, certify
from support.oauth_client import ASSERTION_TYPE
from support.world import ISSUER, told

from api.oauth.registration import METHODS

PROFILE, SUITE = "FAPI 2.0 Security Profile", "OpenID conformance suite"
SUBJECT, PROXY, ALIASES = "CN=client.alpha.example,O=Alpha", "127.0.0.1", "https://mtls.xinqiao.example"
AUTHORITY = certify("CN=Clients", authority=True)
ISSUED, RENEWED = certify(SUBJECT, AUTHORITY), certify(SUBJECT, AUTHORITY)
OTHER, SELF_SIGNED = certify("CN=other", AUTHORITY), certify(SUBJECT)
BY_SUBJECT = {"method": "tls_client_auth", "jwks": None, "tls_subject": SUBJECT}
KEY = ECKey.import_key(SELF_SIGNED.key)
BY_CERTIFICATE = {
    "method": "self_signed_tls_client_auth",
    "jwks": {"keys": [KEY.as_dict(private=False) | {"x5c": [b64encode(SELF_SIGNED.der).decode()]}]},
}
BY_ASSERTION = {"certificate_bound": True}
WAYS = pytest.mark.parametrize(
    ("registered", "identity"),
    [(BY_SUBJECT, ISSUED), (BY_CERTIFICATE, SELF_SIGNED), (BY_ASSERTION, ISSUED)],
    ids=["by subject", "by certificate", "by assertion"],
)


@pytest.fixture
async def flow(database, home):
    authorities = home / "ca.pem"
    authorities.write_bytes(AUTHORITY.certificate_pem)
    given = {"trusted_proxies": frozenset({PROXY}), "client_ca": authorities, "mtls_origin": ALIASES}
    async with world.opened(database, home, **given) as opened:
        yield await code_flow.begin(opened)


@dataclass
class Caller:
    """A client of the flow's bank, with a connection that a certificate was used for, or none."""

    flow: Flow
    client_id: str
    asserts: bool
    identity: Identity | None

    @property
    def shown(self) -> dict[str, str]:
        return {"Client-Cert": self.identity.header} if self.identity else {}

    async def post(self, path: str, **form: str) -> httpx2.Response:
        who = {"client_id": self.client_id}
        if self.asserts:
            who |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.flow.oauth.assertion()}
        return await self.flow.http.post(path, data=who | form, headers=self.shown)

    async def token(self, **form: str) -> httpx2.Response:
        return await self.post("/oauth/token", **({"grant_type": "client_credentials"} | form))

    async def call(self, token: str, scheme: str = "Bearer") -> httpx2.Response:
        headers = self.shown | {"Authorization": f"{scheme} {token}"}
        return await self.flow.http.get("/v1/products", headers=headers)


async def a_caller(flow: Flow, registered: dict[str, object], identity: Identity | None) -> Caller:
    flow.oauth = await code_flow.a_client(flow.bank, **registered)
    return Caller(flow, flow.oauth.client_id, "method" not in registered, identity)


def refused(answer, error, status=401):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


@WAYS
@pytest.mark.spec("RFC 8705", "2.1", "2.2", "3", "3.1")
@pytest.mark.spec(PROFILE, "5.3.2.1-4", "5.3.2.1-5", "5.3.2.1-6", "5.3.4-1", "5.3.4-5")
async def test_a_token_is_bound_to_the_certificate(flow: Flow, registered, identity):
    caller = await a_caller(flow, registered, identity)
    got = told(await caller.token(), 200)
    assert got["token_type"] == "Bearer"
    keys = KeySet.import_key_set(told(await flow.http.get("/.well-known/jwks.json"), 200))
    claims = jwt.decode(got["access_token"], keys, algorithms=["ES256"]).claims
    assert claims["cnf"] == {"x5t#S256": identity.thumbprint}
    for scheme in ("Bearer", "bearer"):
        assert (await caller.call(got["access_token"], scheme)).status_code == 200
    assert told(await caller.call(got["access_token"], "DPoP"), 401)["code"] == "dpop_required"
    for thief in (None, OTHER, RENEWED):
        caller.identity = thief
        assert told(await caller.call(got["access_token"]), 401)["code"] == "invalid_token"


@WAYS
@pytest.mark.spec(PROFILE, "5.3.2.1-5", "5.3.2.2-2")
async def test_the_code_flow_needs_no_proof_then(flow: Flow, registered, identity):
    caller = await a_caller(flow, registered, identity)
    pushed = told(await caller.post("/oauth/par", **flow.asking()), 201)
    code = back(await flow.answer(pushed["request_uri"]))["code"]
    form = {"code": code, "redirect_uri": BACK, "code_verifier": flow.verifier}
    tokens = told(await caller.token(grant_type="authorization_code", **form), 200)
    fresh = told(await caller.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]), 200)
    for each in (tokens, fresh):
        seen = told(await caller.post("/oauth/introspect", token=each["access_token"]), 200)
        assert (seen["active"], seen["token_type"], seen["cnf"]["x5t#S256"]) == (
            True,
            "Bearer",
            identity.thumbprint,
        )
    assert (await caller.post("/oauth/revoke", token=fresh["access_token"])).status_code == 200
    assert told(await caller.call(fresh["access_token"]), 401)["code"] == "invalid_token"


@pytest.mark.spec("RFC 8705", "2.1")
async def test_a_renewed_certificate_of_the_subject_is_the_client(flow: Flow):
    caller = await a_caller(flow, BY_SUBJECT, RENEWED)
    assert (await caller.token()).status_code == 200


@pytest.mark.spec("RFC 8705", "2.1.1", "2.2")
@pytest.mark.spec(PROFILE, "5.3.2.1-6")
@pytest.mark.spec(SUITE, "ensure-client-id-in-token-endpoint")
@pytest.mark.parametrize(
    ("registered", "identity"),
    [
        (BY_SUBJECT, None),
        (BY_SUBJECT, OTHER),
        (BY_SUBJECT, SELF_SIGNED),
        (BY_SUBJECT, certify(SUBJECT, certify("CN=Clients", authority=True))),
        (BY_CERTIFICATE, None),
        (BY_CERTIFICATE, ISSUED),
        (BY_CERTIFICATE, certify(SUBJECT)),
    ],
    ids=["none", "other", "self-signed", "impostor", "none for the key", "other for the key", "same name"],
)
@pytest.mark.parametrize("path", ["/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke"])
async def test_another_certificate_does_not_authenticate(flow: Flow, registered, identity, path):
    caller = await a_caller(flow, registered, identity)
    form = flow.asking() | {"grant_type": "client_credentials", "token": "x"}
    refused(await caller.post(path, **form), "invalid_client")


@pytest.mark.spec(PROFILE, "5.3.2.1-6")
async def test_a_client_authenticates_in_its_one_way_only(flow: Flow):
    for registered, identity in ((BY_SUBJECT, ISSUED), (BY_CERTIFICATE, SELF_SIGNED), (BY_ASSERTION, ISSUED)):
        caller = await a_caller(flow, registered, identity)
        if registered is BY_CERTIFICATE:
            flow.oauth.key = KEY  # the key that is registered, and not for assertions
        caller.asserts = not caller.asserts
        refused(await caller.token(), "invalid_client")


@pytest.mark.spec(PROFILE, "5.3.2.1-4")
@pytest.mark.spec("RFC 8705", "3.4")
@pytest.mark.spec(SUITE, "ensure-holder-of-key-required")
async def test_without_certificate_and_proof_there_is_no_token(flow: Flow):
    for registered, identity in ((BY_ASSERTION, None), ({}, ISSUED)):
        caller = await a_caller(flow, registered, identity)
        refused(await caller.token(), "invalid_dpop_proof", 400)


@pytest.mark.spec("RFC 8705", "3.3", "5")
@pytest.mark.spec(PROFILE, "5.2.2.1", "5.3.2.1-6")
async def test_the_metadata_say_where_certificates_are_asked_for(flow: Flow):
    described = told(await flow.http.get("/.well-known/oauth-authorization-server"), 200)
    assert described["tls_client_certificate_bound_access_tokens"] is True
    assert described["token_endpoint_auth_methods_supported"] == list(METHODS)
    aliases = described["mtls_endpoint_aliases"]
    assert {"token_endpoint", "pushed_authorization_request_endpoint"} < aliases.keys()
    assert all(address == described[name].replace(ISSUER, ALIASES) for name, address in aliases.items())
    resource = told(await flow.http.get("/.well-known/oauth-protected-resource"), 200)
    assert resource["tls_client_certificate_bound_access_tokens"] is True
