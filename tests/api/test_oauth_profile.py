"""The FAPI 2.0 Security Profile, clause by clause, where no other test proves it."""

import re
import secrets
import time
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jws, jwt
from joserfc.jwk import KeySet
from support import code_flow, provider, sources, world
from support.code_flow import BACK, Flow, back
from support.oauth_app import a_token
from support.oauth_client import new_key
from support.world import ISSUER, told

from api.oauth import published_keys
from api.oauth.keys import KeyUnusable
from api.web.onward import SIGN_IN

PROFILE, SUITE = "FAPI 2.0 Security Profile", "OpenID conformance suite"
METADATA = "/.well-known/oauth-authorization-server"
SECRET_BYTES_MIN = 16
ORIGIN = {"Origin": "https://bank.example"}
PREFLIGHT = ORIGIN | {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "dpop"}


@pytest.fixture
async def flow(database, home):
    async with world.opened(database, home) as opened:
        yield await code_flow.begin(opened)


def refused(answer, error, status=400):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def cross_origin(answer) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control-")]


# --- the network


# RFC 9325 section 4.2 recommends these for TLS 1.2, and no others.
RECOMMENDED = {
    f"ECDHE-{kind}-{cipher}"
    for kind in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384")
}


@pytest.mark.spec(PROFILE, "5.2.1-3", "5.2.2-1", "5.2.3-2")
@pytest.mark.spec("RFC 9325", "4.2")
def test_the_proxy_offers_what_is_recommended_and_nothing_else():
    text = (sources.ROOT / "deploy" / "haproxy.cfg").read_text("utf-8")
    (offered,) = re.findall(r"^ *ssl-default-bind-ciphers +(\S+)$", text, re.MULTILINE)
    assert set(offered.split(":")) == RECOMMENDED
    assert not re.search(r"^ *bind .* (ciphers|ssl-min-ver|no-tlsv1)", text, re.MULTILINE)


@pytest.mark.spec(PROFILE, "5.2.3-1")
async def test_browsers_stay_with_tls_wherever_the_flow_leads_them(flow: Flow):
    uri = await flow.pushed()
    for answer in (
        await flow.authorize(uri),
        await flow.authorize("unknown"),
        (await flow.page(uri))[1],
        await flow.http.get(SIGN_IN, headers={"Accept": "text/html"}),
        await flow.answer(uri),
    ):
        assert "max-age=31536000" in answer.headers["strict-transport-security"], answer.url


@pytest.mark.spec(PROFILE, "5.2.3-3")
async def test_pages_of_others_cannot_read_the_authorization_endpoint(flow: Flow):
    uri = await flow.pushed()
    address = f"/oauth/authorize?{urlencode({'client_id': flow.oauth.client_id, 'request_uri': uri})}"
    asked = await flow.http.options(address, headers=PREFLIGHT)
    assert (asked.status_code in (204, 405), cross_origin(asked)) == (True, [])
    for cookie in ({}, {"Cookie": flow.browser.cookie}):
        answer = await flow.http.get(address, headers=ORIGIN | cookie)
        assert (answer.status_code, cross_origin(answer)) == (303, [])
    wrong = await flow.http.get("/oauth/authorize", headers=ORIGIN)
    assert (wrong.status_code, cross_origin(wrong)) == (400, [])


# --- the metadata and the keys


@pytest.mark.spec(PROFILE, "5.2.1-1", "5.3.2.1-1", "5.4.2-1")
@pytest.mark.spec(SUITE, "discovery-end-point-verification")
async def test_every_address_in_the_metadata_is_https_and_leads_somewhere(flow: Flow):
    described = told(await flow.http.get(METADATA), 200)
    named = {n: a for n, a in described.items() if n.endswith(("_endpoint", "_uri"))}
    assert {
        "authorization_endpoint",
        "pushed_authorization_request_endpoint",
        "token_endpoint",
    } < named.keys()
    for name, address in named.items():
        assert address.startswith(f"{ISSUER}/"), name
        path = address.removeprefix(ISSUER) + ("/gnt_x" if name == "grant_management_endpoint" else "")
        answers = {(await flow.http.request(method, path)).status_code for method in ("GET", "POST")}
        assert answers & {200, 400, 401}, name


@pytest.mark.spec(PROFILE, "5.4.2-2", "5.4.2-3")
async def test_our_keys_have_an_id_each_and_our_statements_lead_nowhere(flow: Flow):
    keys = told(await flow.http.get("/.well-known/jwks.json"), 200)["keys"]
    assert len({key["kid"] for key in keys}) == len(keys) >= 2
    tokens = await flow.tokens()
    header = jws.extract_compact(tokens["access_token"].encode()).headers()
    assert header.keys() == {"alg", "typ", "kid"}
    assert not {"x5u", "jku", "x5c", "jwk"} & {name for key in keys for name in key}


@pytest.mark.spec(PROFILE, "5.4.1-1.1", "5.4.2-2")
@pytest.mark.spec("RFC 8725", "3.10")
async def test_where_a_key_comes_from_is_not_the_assertions_to_say(flow: Flow):
    evil = new_key("ES256")
    said = {
        "jku": "https://evil.example/jwks",
        "x5u": "https://evil.example/cert",
        "jwk": evil.as_dict(private=False),
    }
    assertion = flow.oauth.assertion(said, key=evil)
    refused(await flow.push(client_assertion=assertion), "invalid_client", 401)
    assert (await flow.push(client_assertion=flow.oauth.assertion(said))).status_code == 201


@pytest.mark.spec(PROFILE, "5.4.3")
def test_of_two_keys_with_one_id_the_one_for_our_signatures_counts():
    ours, other = new_key("ES256"), new_key("ES256")
    right = ours.as_dict(private=False)
    for changes in ({"use": "enc"}, {"key_ops": ["deriveKey"]}, {"alg": "ECDH-ES"}):
        beside = other.as_dict(private=False) | {"kid": ours.kid} | changes
        for document in ({"keys": [right, beside]}, {"keys": [beside, right]}):
            found = published_keys.read(document)
            assert {kid: key.thumbprint for kid, key in found.items()} == {ours.kid: ours.thumbprint()}
    with pytest.raises(KeyUnusable, match="two keys by one id"):
        published_keys.read({"keys": [right, other.as_dict(private=False) | {"kid": ours.kid}]})


@pytest.mark.spec(PROFILE, "5.4.1-4")
@pytest.mark.spec("RFC 6749", "10.10")
async def test_secrets_cannot_be_guessed(flow: Flow, monkeypatch):
    made: dict[str, int] = {}
    token_urlsafe = secrets.token_urlsafe

    def noted(size: int) -> str:
        text = token_urlsafe(size)
        made[text] = size
        return text

    monkeypatch.setattr(secrets, "token_urlsafe", noted)
    uri = await flow.pushed()
    code = back(await flow.answer(uri))["code"]
    tokens = told(await flow.redeem(code), 200)
    keys = KeySet.import_key_set(told(await flow.http.get("/.well-known/jwks.json"), 200))
    token_id = jwt.decode(tokens["access_token"], keys, algorithms=["ES256"]).claims["jti"]
    for secret in (uri.rpartition(":")[2], code, tokens["refresh_token"], token_id):
        assert made[secret] >= SECRET_BYTES_MIN


# --- who may ask, and how


@pytest.mark.spec(PROFILE, "5.3.2.1-2")
async def test_a_password_is_no_grant(flow: Flow, monkeypatch):
    monkeypatch.setattr("api.passwords.COST", 2)
    await provider.named(password="correct horse", user=flow.person.user)
    form = {"grant_type": "password", "username": provider.NAME, "password": "correct horse"}
    refused(await flow.post("/oauth/token", form), "unsupported_grant_type")
    assert "password" not in told(await flow.http.get(METADATA), 200)["grant_types_supported"]


AUDIENCES = {
    "a list": [ISSUER],
    "the PAR endpoint": f"{ISSUER}/oauth/par",
    "the token endpoint": f"{ISSUER}/oauth/token",
    "another server": "https://other.example",
}


@pytest.mark.spec(PROFILE, "5.3.2.1-8")
@pytest.mark.spec(
    SUITE,
    "par-test-array-as-audience-fails",
    "par-test-par-endpoint-url-as-audience-fails",
    "par-test-token-endpoint-url-as-audience-fails",
)
@pytest.mark.parametrize("path", ["/oauth/par", "/oauth/token", "/oauth/introspect", "/oauth/revoke"])
@pytest.mark.parametrize("audience", AUDIENCES.values(), ids=AUDIENCES)
async def test_an_assertion_is_for_the_issuer_at_every_endpoint(flow: Flow, path, audience):
    form = flow.asking() | {"grant_type": "client_credentials", "token": "x"}
    wrong = form | {"client_assertion": flow.oauth.assertion(aud=audience)}
    refused(await flow.post(path, wrong), "invalid_client", 401)
    assert (await flow.post(path, form)).status_code in (200, 201)


@pytest.mark.spec(PROFILE, "5.3.2.1-13")
@pytest.mark.spec(
    SUITE,
    "par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted",
    "par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails",
)
@pytest.mark.parametrize(("ahead", "status"), [(0, 201), (8, 201), (10, 201), (70, 401), (3_600, 401)])
async def test_a_clock_may_run_ahead_a_little_at_par(flow: Flow, ahead, status):
    now = int(time.time())
    for early in ({"iat": now + ahead}, {"nbf": now + ahead}):
        assertion = flow.oauth.assertion(exp=now + max(ahead, 60) + 60, **early)
        assert (await flow.push(client_assertion=assertion)).status_code == status


@pytest.mark.spec("RFC 6749", "3.3")
@pytest.mark.spec(SUITE, "ensure-other-scope-order-succeeds")
@pytest.mark.parametrize("scope", ["grants scores", "scores grants"])
async def test_scopes_come_in_any_order(flow: Flow, scope):
    assert (await flow.tokens(scope=scope))["scope"] == "grants scores"


# --- the way of the person


@pytest.mark.spec("RFC 9126", "4")
@pytest.mark.spec(
    SUITE,
    "ensure-different-state-inside-and-outside-request-object",
    "state-only-outside-request-object-not-used",
)
@pytest.mark.parametrize("pushed", ["pushed", None])
async def test_beside_the_request_the_address_says_nothing(flow: Flow, pushed):
    uri = await flow.pushed(state=pushed)
    said = {
        "state": "beside",
        "scope": "log",
        "redirect_uri": "https://evil.example",
        "response_type": "token",
    }
    query = {"client_id": flow.oauth.client_id, "request_uri": uri} | said
    moved = await flow.http.get("/oauth/authorize", params=query, headers={"Cookie": flow.browser.cookie})
    assert moved.headers["location"] == (await flow.authorize(uri)).headers["location"]
    returned = back(await flow.answer(uri))
    assert returned.get("state") == pushed
    assert told(await flow.redeem(returned["code"]), 200)["scope"] == "grants scores"


@pytest.mark.spec("RFC 9126", "2.2")
@pytest.mark.spec(SUITE, "par-attempt-to-use-request_uri-for-different-client")
async def test_a_request_is_its_clients(flow: Flow):
    uri = await flow.pushed()
    other = await code_flow.a_client(flow.bank)
    answer = await flow.authorize(uri, other.client_id)
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    assert (await flow.authorize(uri)).status_code == 303


@pytest.mark.spec(PROFILE, "5.3.2.2-10", "5.3.2.2-11")
@pytest.mark.spec("RFC 9700", "4.12")
async def test_no_redirect_carries_a_form_on(flow: Flow):
    uri = await flow.pushed()
    waiting = {"client_id": flow.oauth.client_id, "request_uri": uri}
    for answer in (
        await flow.http.get("/oauth/authorize", params=waiting),
        await flow.http.get(SIGN_IN, params=waiting, headers={"Cookie": flow.browser.cookie}),
        await flow.authorize(uri),
        await flow.answer(uri),
        await flow.answer(await flow.pushed(), yes=False),
    ):
        assert answer.status_code == 303, answer.url
    assert sources.files_that_call("Redirect") == {"api/web/page.py"}


@pytest.mark.spec(PROFILE, "5.3.2.2-13")
async def test_people_read_who_asks_and_for_what(flow: Flow):
    _, page = await flow.page(await flow.pushed())
    assert "alpha银行" in page.text
    for words in ("设备使用", "购物", "90"):
        assert words in page.text


@pytest.mark.spec(PROFILE, "5.3.2.1-7")
@pytest.mark.spec("RFC 9700", "4.11")
async def test_the_person_goes_back_to_a_registered_address_and_nowhere_else(flow: Flow):
    for changes in ({"redirect_uri": f"{BACK}.evil.example"}, {"redirect_uri": "https://evil.example"}):
        refused(await flow.push(**changes), "invalid_request")
    went = urlsplit((await flow.answer(await flow.pushed(), yes=False)).headers["location"])
    assert f"{went.scheme}://{went.netloc}{went.path}" == BACK
    assert parse_qs(went.query)["error"] == ["access_denied"]


# --- what a code and a refresh token are bound to


@pytest.mark.spec(PROFILE, "5.3.2.1-12")
@pytest.mark.spec("RFC 9449", "10", "10.1")
@pytest.mark.spec(
    SUITE,
    "ensure-dpop-auth-code-binding-success",
    "ensure-dpopproof-at-par-endpoint-binding-success",
    "ensure-mismatched-dpop-jkt-fails",
    "ensure-token-endpoint-fails-with-mismatched-dpop-jkt",
    "ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt",
)
@pytest.mark.parametrize("by", ["parameter", "proof", "both"])
async def test_a_code_is_bound_to_the_key_that_it_was_asked_for_with(flow: Flow, by):
    mine, other = flow.oauth.proof_key, new_key("ES256")
    named = {"dpop_jkt": mine.thumbprint()} if by != "proof" else {}
    pushed = told(await flow.push(proof=by != "parameter", **named), 201)
    code = back(await flow.answer(pushed["request_uri"]))["code"]
    flow.oauth.proof_key = other
    refused(await flow.redeem(code), "invalid_grant")
    refused(await flow.push(proof=True, dpop_jkt=mine.thumbprint()), "invalid_request")
    flow.oauth.proof_key = mine
    assert told(await flow.redeem(code), 200)["token_type"] == "DPoP"


@pytest.mark.spec("RFC 9449", "5")
async def test_a_refresh_token_serves_whatever_key_its_client_proves_now(flow: Flow):
    tokens = await flow.tokens()
    flow.oauth.proof_key = new_key("ES256")
    fresh = told(await flow.refresh(tokens["refresh_token"]), 200)
    assert (await flow.score(fresh)).status_code == 201
    assert (await flow.score(tokens)).status_code == 401


# --- grant management


@pytest.mark.spec("Grant Management (draft 3)", "6.4")
@pytest.mark.spec(SUITE, "grant-management-ensure-query-nonexistent-grant-fails")
async def test_a_consent_that_is_not_there_is_not_found(flow: Flow):
    token = await a_token(flow.http, flow.oauth, scope="grant_management_query grant_management_revoke")
    for named in (secrets.token_hex(16), "gnt_0"):
        for method in ("GET", "DELETE"):
            path = f"/oauth/grants/{named}"
            headers = flow.oauth.call_headers(method, f"{ISSUER}{path}", token)
            assert (await flow.http.request(method, path, headers=headers)).status_code == 404
