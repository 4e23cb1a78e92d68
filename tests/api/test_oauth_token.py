"""The token endpoint: who gets a token, what it says, and everything that is refused."""

import json
import logging
import time
from urllib.parse import urlencode

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from support import oauth_app
from support.oauth_app import ISSUER, a_client, a_partner, a_token, ask
from support.oauth_client import ALGORITHMS, ASSERTION_TYPE, OAuthClient, base64url, new_key, sign

from api.oauth import clients
from api.oauth.checks import single_use
from api.oauth.clients import ClientIdTaken
from compliance.act import open_act
from compliance.refusals import Unacceptable

pytestmark = pytest.mark.usefixtures("ground")
PROFILE, SUITE = "FAPI 2.0 Security Profile", "OpenID conformance suite"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOKEN_ADDRESS = f"{ISSUER}/oauth/token"


@pytest.fixture
async def http(ground, home):
    async with oauth_app.http_client(home) as opened:
        yield opened


@pytest.fixture
async def partner(owner):
    return await a_partner(owner)


@pytest.fixture
async def client(partner):
    return await a_client(partner)


def refused(answer, error, status):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")


# --- what is granted


@pytest.mark.spec(PROFILE, "5.3.2.1-6", "5.4.1-1.2")
@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_each_allowed_algorithm_gets_a_token(http, partner, alg):
    answer = await ask(http, await a_client(partner, alg))
    assert answer.status_code == 200, answer.text
    assert answer.json() | {"access_token": ""} == {
        "access_token": "",
        "token_type": "DPoP",
        "expires_in": 300,
        "scope": "grants scores",
    }
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.spec(PROFILE, "5.3.2.1-4", "5.3.2.1-5")
@pytest.mark.spec("RFC 9068", "2.2")
@pytest.mark.spec("RFC 9449", "5", "6.1")
async def test_the_token_is_bound_and_verifies_with_the_published_key(http, client):
    token = await a_token(http, client)
    published = (await http.get("/.well-known/jwks.json")).json()
    read = jwt.decode(token, KeySet.import_key_set(published), algorithms=["ES256"])
    assert read.header == {"alg": "ES256", "typ": "at+jwt", "kid": published["keys"][1]["kid"]}
    claims = dict(read.claims)
    assert claims.pop("exp") - claims["iat"] == 300
    assert abs(claims.pop("iat") - time.time()) < 5
    assert len(claims.pop("jti")) >= 22
    assert claims == {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": client.client_id,
        "client_id": client.client_id,
        "scope": "grants scores",
        "cnf": {"jkt": client.proof_key.thumbprint()},
    }


@pytest.mark.spec(PROFILE, "5.3.2.1-14")
@pytest.mark.spec("RFC 6749", "3.3")
async def test_a_client_can_ask_for_less_and_not_for_more(http, client):
    assert (await ask(http, client, scope="scores")).json()["scope"] == "scores"
    assert (await ask(http, client, scope="")).json()["scope"] == "grants scores"
    refused(await ask(http, client, scope="scores log"), "invalid_scope", 400)
    refused(await ask(http, client, scope="everything"), "invalid_scope", 400)


async def test_what_is_optional_may_be_said_or_left_out(http, client):
    await a_token(http, client, client_id=client.client_id)
    await a_token(http, client, client_assertion=client.assertion(header={"kid": None}))
    await a_token(http, client, client_assertion=client.assertion(iat=None, nbf=None))
    await a_token(http, client, client_assertion=client.assertion(header={"unknown": "ignored"}, more=1))


@pytest.mark.spec("RFC 6749", "3.2")
async def test_parameters_in_the_address_are_ignored(http, client):
    proof = client.proof("POST", client.token_address)
    answer = await http.post(
        "/oauth/token?scope=scores&grant_type=password", data=client.form(), headers={"DPoP": proof}
    )
    assert answer.json()["scope"] == "grants scores"
    everything = urlencode(client.form())
    proof = client.proof("POST", client.token_address)
    answer = await http.post(f"/oauth/token?{everything}", headers=FORM | {"DPoP": proof})
    refused(answer, "invalid_request", 400)


# --- the assertion


@pytest.mark.spec(PROFILE, "5.3.2.1-13")
@pytest.mark.parametrize("ahead", [0, 8, 10])
async def test_a_clock_a_little_ahead_is_accepted(http, client, ahead):
    now = int(time.time())
    await a_token(http, client, client_assertion=client.assertion(iat=now + ahead, nbf=now + ahead))


NOW = time.time
WRONG_CLAIMS = {
    "no iss": lambda _: {"iss": None},
    "no sub": lambda _: {"sub": None},
    "other sub": lambda _: {"sub": "another"},
    "unknown client": lambda _: {"iss": "nobody", "sub": "nobody"},
    "odd client id": lambda _: {"iss": 'a"\x00é', "sub": 'a"\x00é'},
    "number as client": lambda _: {"iss": 1, "sub": 1},
    "no aud": lambda _: {"aud": None},
    "aud is a list": lambda _: {"aud": [ISSUER]},
    "aud is the token endpoint": lambda _: {"aud": TOKEN_ADDRESS},
    "aud is another server": lambda _: {"aud": "https://other.example"},
    "aud with a slash": lambda _: {"aud": f"{ISSUER}/"},
    "no exp": lambda _: {"exp": None},
    "expired": lambda now: {"exp": now - 300},
    "just expired": lambda now: {"exp": now - 1},
    "valid for too long": lambda now: {"exp": now + 3600},
    "endless": lambda _: {"exp": 10**400},
    "exp as text": lambda now: {"exp": str(now + 60)},
    "exp as boolean": lambda _: {"exp": True},
    "iat in the future": lambda now: {"iat": now + 70},
    "nbf in the future": lambda now: {"nbf": now + 70},
    "nbf far in the future": lambda _: {"nbf": 10**400},
    "no jti": lambda _: {"jti": None},
    "empty jti": lambda _: {"jti": ""},
    "long": lambda _: {"more": "x" * 4000},
    "long jti": lambda _: {"jti": "x" * 257},
}


@pytest.mark.spec(PROFILE, "5.3.2.1-8", "5.3.2.1-13")
@pytest.mark.spec("RFC 7523", "3")
@pytest.mark.spec(
    SUITE,
    "ensure-client-assertion-with-exp-is-5-minutes-in-past-fails",
    "ensure-client-assertion-with-no-sub-fails",
    "ensure-client-assertion-with-wrong-aud-fails",
    "ensure-invalid-client-assertions-fail",
)
@pytest.mark.parametrize("changes", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
async def test_wrong_claims_do_not_authenticate(http, client, changes):
    wrong = client.assertion(**changes(int(time.time())))
    refused(await ask(http, client, client_assertion=wrong), "invalid_client", 401)


@pytest.mark.spec(PROFILE, "5.4.1-1.2", "5.4.1-1.3")
@pytest.mark.spec(
    SUITE, "ensure-invalid-client-assertions-fail", "ensure-signed-client-assertion-with-RS256-fails"
)
@pytest.mark.parametrize("alg", ["RS256", "PS384", "HS256", "ES384", "none", "", "x"])
async def test_other_algorithms_do_not_authenticate(http, partner, alg):
    client = await a_client(partner, "PS256")
    made = client.assertion(header={"alg": "RS256"}) if alg == "RS256" else client.assertion()
    if alg != "RS256":
        header, claims = {"alg": alg, "kid": client.key.kid}, {"iss": client.client_id}
        full = claims | {"sub": client.client_id, "aud": ISSUER, "jti": "j", "exp": int(time.time()) + 60}
        made = sign(header, full, client.key, "PS256")
    answer = await ask(http, client, client_assertion=made)
    refused(answer, "invalid_client", 401)
    assert "algorithm" in answer.json()["error_description"]


@pytest.mark.spec(PROFILE, "5.4.1-1.1")
@pytest.mark.spec("RFC 8725", "3.1")
async def test_the_algorithm_must_fit_the_registered_key(http, partner):
    client = await a_client(partner, "ES256")
    other = new_key("Ed25519")
    made = client.assertion(header={"alg": "Ed25519"}, key=other)
    refused(await ask(http, client, client_assertion=made), "invalid_client", 401)


@pytest.mark.spec(SUITE, "ensure-client-id-in-token-endpoint", "ensure-invalid-client-assertions-fail")
async def test_another_key_does_not_authenticate(http, client):
    made = client.assertion(key=new_key("ES256"))
    refused(await ask(http, client, client_assertion=made), "invalid_client", 401)
    made = client.assertion(header={"kid": "another"})
    refused(await ask(http, client, client_assertion=made), "invalid_client", 401)


@pytest.mark.spec("RFC 7515", "4.1.11")
@pytest.mark.parametrize("header", [{"crit": ["b64"], "b64": False}, {"crit": []}, {"b64": False}])
async def test_critical_extensions_are_refused(http, client, header):
    refused(await ask(http, client, client_assertion=client.assertion(header)), "invalid_client", 401)


MALFORMED = {
    "nothing": "",
    "text": "text",
    "two parts": "a.b",
    "four parts": "a.b.c.d",
    "empty parts": "..",
    "padding": "e30=.e30=.e30=",
    "header is a word": sign(b'"alg"', b"{}", new_key("ES256"), "ES256"),
    "header is a list": sign(b'["alg"]', b"{}", new_key("ES256"), "ES256"),
    "alg is a list": sign({"alg": ["ES256"]}, b"{}", new_key("ES256"), "ES256"),
    "claims are a list": sign({"alg": "ES256"}, b"[]", new_key("ES256"), "ES256"),
    "claims are deep": sign({"alg": "ES256"}, b'{"x":' + b"[" * 2500, new_key("ES256"), "ES256"),
    "header is deep": sign(b'{"x":' + b"[" * 2500, b"{}", new_key("ES256"), "ES256"),
    "not UTF-8": sign({"alg": "ES256"}, b'{"iss":"\xff"}', new_key("ES256"), "ES256"),
    "lone surrogate": sign({"alg": "ES256"}, b'{"iss":"\\ud800"}', new_key("ES256"), "ES256"),
    "not a number": sign({"alg": "ES256"}, b'{"exp":NaN}', new_key("ES256"), "ES256"),
    "too long": "a" * 5000,
}


@pytest.mark.parametrize("assertion", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_assertions_do_not_authenticate(http, client, assertion):
    refused(await ask(http, client, client_assertion=assertion), "invalid_client", 401)


@pytest.mark.spec("RFC 7523", "3")
async def test_an_assertion_counts_once(http, client):
    assertion = client.assertion()
    await a_token(http, client, client_assertion=assertion)
    answer = await ask(http, client, client_assertion=assertion)
    refused(answer, "invalid_client", 401)
    assert "before" in answer.json()["error_description"]


async def test_an_assertion_that_is_refused_is_not_used_up(http, client):
    assertion = client.assertion(jti="kept")
    forged = client.assertion(jti="kept", key=new_key("ES256"))
    refused(await ask(http, client, client_assertion=forged), "invalid_client", 401)
    await a_token(http, client, client_assertion=assertion)


async def test_ids_of_one_client_do_not_use_up_those_of_another(http, partner, client):
    other = await a_client(partner)
    await a_token(http, client, client_assertion=client.assertion(jti="same"))
    await a_token(http, other, client_assertion=other.assertion(jti="same"))


@pytest.mark.spec(PROFILE, "5.3.2.1-3", "5.3.2.1-6")
@pytest.mark.spec(
    SUITE,
    "ensure-client-assertion-in-token-endpoint",
    "ensure-client-id-in-token-endpoint",
    "ensure-invalid-client-assertions-fail",
)
@pytest.mark.parametrize(
    "changes",
    [
        {"client_assertion": None},
        {"client_assertion_type": None},
        {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
        {"client_id": "another"},
        {"client_secret": "secret"},
    ],
)
async def test_there_is_no_other_way_to_authenticate(http, client, changes):
    refused(await ask(http, client, **changes), "invalid_client", 401)


@pytest.mark.spec(PROFILE, "5.3.2.1-6")
async def test_basic_authentication_is_refused(http, client):
    headers = {"DPoP": client.proof("POST", client.token_address), "Authorization": "Basic YTpi"}
    answer = await http.post("/oauth/token", data=client.form(), headers=headers)
    refused(answer, "invalid_client", 401)


async def test_a_suspended_client_gets_no_token(http, owner, client):
    await owner.execute("update api_client set suspended_at = now(), suspended_by = 'worker:tests'")
    refused(await ask(http, client), "invalid_client", 401)
    await owner.execute("update api_client set suspended_at = null, suspended_by = null")
    assert (await ask(http, client)).status_code == 200


# --- the proof


@pytest.mark.spec(PROFILE, "5.3.2.1-4")
@pytest.mark.spec("RFC 9449", "5")
@pytest.mark.spec(SUITE, "ensure-holder-of-key-required")
async def test_a_token_needs_a_proof(http, client):
    refused(await http.post("/oauth/token", data=client.form()), "invalid_dpop_proof", 400)


@pytest.mark.spec("RFC 9449", "4.3-1")
async def test_two_proofs_are_none(http, client):
    headers = [("DPoP", client.proof("POST", client.token_address)) for _ in range(2)]
    refused(await http.post("/oauth/token", data=client.form(), headers=headers), "invalid_dpop_proof", 400)


@pytest.mark.spec("RFC 9449", "11.1")
async def test_a_proof_counts_once(http, client):
    proof = client.proof("POST", client.token_address)
    for expected in (200, 400):
        answer = await http.post("/oauth/token", data=client.form(), headers={"DPoP": proof})
        assert answer.status_code == expected
    refused(answer, "invalid_dpop_proof", 400)


# --- the form


@pytest.mark.spec("RFC 6749", "5.2")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": 'a"b\\c'}, "unsupported_grant_type"),
        ({"grant_type": "信"}, "invalid_request"),
        ({"scope": "信"}, "invalid_request"),
        ({"scope": "a\x00b"}, "invalid_request"),
        ({"scope": 'a"b\\c'}, "invalid_scope"),
        ({"\x00": "a"}, "invalid_request"),
        ({"state": "a\nb"}, "invalid_request"),
    ],
)
async def test_odd_parameters_are_refused_and_never_crash(http, client, changes, error):
    refused(await ask(http, client, **changes), error, 400)


@pytest.mark.spec("RFC 6749", "3.2")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"grant_type",
        b"grant_type=client_credentials&grant_type=client_credentials",
        b"grant_type=client_credentials&scope=&scope=scores",
        b"grant_type=%FF",
        b"grant_type=\xff",
        b"{}",
        b"grant_type=client_credentials" + b"".join(b"&p%d=1" % n for n in range(40)),
        b"grant_type=" + b"a" * 20_000,
    ],
)
async def test_malformed_forms_are_refused(http, client, body):
    headers = FORM | {"DPoP": client.proof("POST", client.token_address)}
    refused(await http.post("/oauth/token", content=body, headers=headers), "invalid_request", 400)


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "text/plain", ""])
async def test_other_content_types_are_refused(http, client, content_type):
    headers = {"Content-Type": content_type, "DPoP": client.proof("POST", client.token_address)}
    body = urlencode(client.form())
    refused(await http.post("/oauth/token", content=body, headers=headers), "invalid_request", 400)


async def test_a_charset_beside_the_content_type_is_fine(http, client):
    headers = {"Content-Type": f"{FORM['Content-Type']}; charset=UTF-8"}
    headers["DPoP"] = client.proof("POST", client.token_address)
    answer = await http.post("/oauth/token", content=urlencode(client.form()), headers=headers)
    assert answer.status_code == 200


async def test_other_methods_are_refused(http):
    assert (await http.get("/oauth/token")).status_code == 405


SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=60, deadline=None, suppress_health_check=SUPPRESSED)
@given(
    body=st.binary(max_size=200)
    | st.builds(
        lambda fields: urlencode(fields, errors="surrogatepass").encode(),
        st.dictionaries(
            st.sampled_from(
                ["grant_type", "scope", "client_id", "client_assertion", "client_assertion_type"]
            ),
            st.text(max_size=30) | st.sampled_from(["client_credentials", ASSERTION_TYPE]),
        ),
    ),
    proof=st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=60),
)
async def test_nothing_that_is_sent_crashes_the_endpoint(http, body, proof):
    answer = await http.post("/oauth/token", content=body, headers=FORM | {"DPoP": proof})
    assert answer.status_code in (400, 401)
    assert set(answer.json()) == {"error", "error_description"}


# --- the rest


async def test_tokens_are_not_logged(http, client, caplog):
    with caplog.at_level(logging.DEBUG):
        token = await a_token(http, client)
    assert token not in caplog.text


async def test_spent_ids_are_forgotten_when_they_are_too_old_to_count(http, owner, client):
    await a_token(http, client)
    await owner.execute("update api_spent set expires_at = now() - interval '2 minutes' where ctid = '(0,1)'")
    await single_use.forget()
    assert await owner.fetchval("select count(*) from api_spent") == 1


@pytest.mark.spec(PROFILE, "5.3.2.1-1")
@pytest.mark.spec("RFC 8414", "2")
@pytest.mark.spec("RFC 9449", "5.1")
@pytest.mark.spec(SUITE, "discovery-end-point-verification")
async def test_the_metadata_describe_the_server(http):
    answer = await http.get("/.well-known/oauth-authorization-server")
    described = answer.json()
    AuthorizationServerMetadata(described).validate()
    assert described["response_types_supported"] == ["code"]
    assert described["require_pushed_authorization_requests"] is True
    assert described["authorization_response_iss_parameter_supported"] is True
    assert described["code_challenge_methods_supported"] == ["S256"]
    assert described["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert "mtls_endpoint_aliases" not in described
    assert described["issuer"] == ISSUER
    assert described["token_endpoint"] == TOKEN_ADDRESS
    assert described["jwks_uri"] == f"{ISSUER}/.well-known/jwks.json"
    assert described["token_endpoint_auth_signing_alg_values_supported"] == list(ALGORITHMS)
    assert described["dpop_signing_alg_values_supported"] == list(ALGORITHMS)
    assert "max-age" in answer.headers["cache-control"]


@pytest.mark.spec("RFC 7517", "4")
async def test_the_published_key_is_public(http):
    answer = await http.get("/.well-known/jwks.json")
    current, coming = answer.json()["keys"]
    for key in (current, coming):
        assert (key["use"], key["alg"]) == ("sig", "ES256")
        assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert "max-age" in answer.headers["cache-control"]


# --- registration


async def register(partner, **changes):
    given = {"client_id": "new", "jwks": OAuthClient("new", ISSUER).jwks(), "scopes": ["scores"]} | changes
    async with open_act(oauth_app.OPERATOR, None) as act:
        await clients.register_client(act, partner=partner, **given)


async def test_registration_is_recorded(owner, partner):
    await register(partner)
    row = await owner.fetchrow("select * from compliance_fact where kind = 'client_registered'")
    assert row["partner"] == partner


async def test_a_client_id_is_taken_once(partner):
    await register(partner)
    with pytest.raises(ClientIdTaken):
        await register(partner)


async def test_only_what_counts_of_a_key_is_stored(owner, partner):
    key = new_key("EdDSA").as_dict(private=False) | {"alg": "EdDSA", "x5c": ["junk"], "other": "junk"}
    await register(partner, jwks={"keys": [key]})
    (stored,) = json.loads(await owner.fetchval("select jwks from api_client"))["keys"]
    assert stored == {m: key[m] for m in ("kty", "crv", "x", "kid")} | {"alg": "Ed25519", "use": "sig"}


def public(key, **changes):
    return key.as_dict(private=False) | changes


EC, RSA, ED = new_key("ES256"), new_key("PS256"), new_key("Ed25519")


def rsa(bits):
    numbers = generate_private_key(65537, bits).public_key().public_numbers()
    return {"kty": "RSA", "e": "AQAB", "n": base64url(numbers.n.to_bytes(bits // 8, "big"))}


UNUSABLE_KEYS = {
    "private": EC.as_dict(private=True),
    "symmetric": {"kty": "oct", "k": "c2VjcmV0"},
    "P-384": public(new_key("ES384")),
    "no kty": {"x": "x"},
    "kty is a list": {"kty": ["EC"]},
    "no y": {m: v for m, v in public(EC).items() if m != "y"},
    "not on the curve": public(EC, y=public(new_key("ES256"))["y"]),
    "not base64": public(EC, x="+/+/"),
    "x25519": public(ED, crv="X25519"),
    "RS256": public(RSA, alg="RS256"),
    "PS256 for EC": public(EC, alg="PS256"),
    "for encryption": public(EC, use="enc"),
    "to encrypt": public(EC, key_ops=["encrypt"]),
    "odd operations": public(EC, key_ops=1),
    "long exponent": public(RSA, e=base64url(b"\x01" * 33)),
    "exponent one": public(RSA, e="AQ"),
    "1024 bits": rsa(1024),
    "4160 bits": public(RSA, n=base64url(b"\xff" * 520)),
    "odd kid": public(EC, kid="a\x00"),
    "kid is a number": public(EC, kid=1),
    "not an object": "key",
}


@pytest.mark.spec(PROFILE, "5.4.1-2", "5.4.1-3")
@pytest.mark.parametrize("key", UNUSABLE_KEYS.values(), ids=UNUSABLE_KEYS)
async def test_weak_and_odd_keys_are_not_registered(partner, key):
    with pytest.raises(Unacceptable) as refusal:
        await register(partner, jwks={"keys": [public(ED), key]})
    assert [f.pointer for f in refusal.value.faults] == ["/jwks/keys/1"]


@pytest.mark.spec(PROFILE, "5.4.2-3")
@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"client_id": "a b"}, "/client_id"),
        ({"client_id": "a" * 129}, "/client_id"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["scores", "everything"]}, "/scopes"),
        ({"jwks": {}}, "/jwks/keys"),
        ({"jwks": {"keys": []}}, "/jwks/keys"),
        ({"jwks": {"keys": [public(EC)] * 9}}, "/jwks/keys"),
        ({"jwks": {"keys": [public(EC), public(RSA, kid=EC.kid)]}}, "/jwks/keys/1/kid"),
    ],
)
async def test_what_cannot_be_registered_is_named(owner, partner, changes, pointer):
    with pytest.raises(Unacceptable) as refusal:
        await register(partner, **changes)
    assert [f.pointer for f in refusal.value.faults] == [pointer]
    assert await owner.fetchval("select count(*) from api_client") == 0


@pytest.mark.spec("RFC 7517", "4.5")
async def test_a_client_with_several_keys_names_the_one_it_used(http, partner):
    client = OAuthClient("many", ISSUER)
    second = ECKey.generate_key("P-256", auto_kid=True)
    await register(
        partner, client_id="many", jwks={"keys": [*client.jwks()["keys"], public(second), public(ED)]}
    )
    await a_token(http, client)
    unnamed = client.assertion(header={"kid": None})
    refused(await ask(http, client, client_assertion=unnamed), "invalid_client", 401)
