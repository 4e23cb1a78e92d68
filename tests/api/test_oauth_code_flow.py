"""The code flow: a person's consent becomes a token for that consent, and dies with it."""

import asyncio
import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from support import code_flow, world
from support.code_flow import BACK, Flow, back
from support.oauth_client import new_key
from support.world import ALL, ISSUER, told, withdrawn

from compliance import ids

pytestmark = pytest.mark.usefixtures("ground")
PROFILE, SUITE = "FAPI 2.0 Security Profile", "OpenID conformance suite"


@pytest.fixture
async def flow(database, home):
    async with world.opened(database, home) as opened:
        yield await code_flow.begin(opened)


def refused(answer, error, status=400):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"


# --- the whole way


@pytest.mark.spec(PROFILE, "5.3.2.2-2", "5.3.2.2-7", "5.3.2.2-12")
@pytest.mark.spec("RFC 9126", "2.2")
@pytest.mark.spec("RFC 9207", "2")
@pytest.mark.spec("RFC 9396", "7")
@pytest.mark.spec(SUITE, "happy-flow", "par-without-duplicate-parameters")
async def test_a_yes_becomes_a_token_for_that_consent(flow: Flow):
    answer = await flow.push()
    assert answer.status_code == 201
    assert answer.json()["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
    assert 0 < answer.json()["expires_in"] < 600
    returned = back(await flow.answer(answer.json()["request_uri"]))
    assert returned == {"code": returned["code"], "state": "a state", "iss": ISSUER}

    answer = await flow.redeem(returned["code"])
    assert answer.headers["cache-control"] == "no-store"
    tokens = told(answer, 200)
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("DPoP", 300, "grants scores")
    (detail,) = tokens["authorization_details"]
    assert detail | {"grant_id": "", "user": ""} == {
        "type": "xinqiao_consent",
        "purpose": "credit_assessment",
        "categories": sorted(ALL),
        "template": "credit_assessment@1",
        "period_days": 90,
        "answer": "full",
        "grant_id": "",
        "user": "",
    }
    assert tokens["grant_id"] == detail["grant_id"]
    score = told(await flow.score(tokens), 201)
    assert score["grant_id"] == detail["grant_id"]


@pytest.mark.spec("RFC 9068", "2.2")
async def test_the_token_says_whose_consent_it_is_for(flow: Flow):
    tokens = await flow.tokens()
    keys = KeySet.import_key_set((await flow.http.get("/.well-known/jwks.json")).json())
    claims = jwt.decode(tokens["access_token"], keys, algorithms=["ES256"]).claims
    assert claims["sub"] == tokens["authorization_details"][0]["user"]
    assert claims["client_id"] == flow.oauth.client_id
    assert claims["grant_id"] == tokens["grant_id"]
    assert claims["authorization_details"] == tokens["authorization_details"]
    assert claims["cnf"] == {"jkt": flow.oauth.proof_key.thumbprint()}


@pytest.mark.spec(PROFILE, "5.3.2.2-7")
@pytest.mark.spec("RFC 9207", "2")
@pytest.mark.spec(SUITE, "user-rejects-authentication")
async def test_a_no_goes_back_as_a_no(flow: Flow, owner):
    returned = back(await flow.answer(await flow.pushed(), yes=False))
    assert returned == {"error": "access_denied", "state": "a state", "iss": ISSUER}
    assert "grant_rejected" in await world.kinds(owner)


async def test_who_said_no_is_not_asked_again_and_can_go_back(flow: Flow):
    await flow.answer(await flow.pushed(), yes=False)
    _, page = await flow.page(await flow.pushed())
    assert "error=access_denied" in page.text
    assert f'href="{BACK}' in page.text


@pytest.mark.spec(PROFILE, "5.3.2.1-7")
async def test_the_page_may_lead_to_the_bank_and_nowhere_else(flow: Flow):
    _, page = await flow.page(await flow.pushed())
    assert "form-action 'self' https://bank.example;" in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers


async def test_parameters_of_the_address_come_back_too(flow: Flow):
    oauth = await code_flow.a_client(flow.bank, redirect_uris=[f"{BACK}?from=xinqiao"])
    flow.oauth = oauth
    returned = back(await flow.answer(await flow.pushed(redirect_uri=f"{BACK}?from=xinqiao")))
    assert returned.keys() == {"from", "code", "state", "iss"}


@pytest.mark.spec(SUITE, "ensure-authorization-request-without-state-success")
async def test_without_a_state_none_comes_back(flow: Flow):
    assert back(await flow.answer(await flow.pushed(state=None))).keys() == {"code", "iss"}


@pytest.mark.spec(PROFILE, "5.3.2.2 note 4")
@pytest.mark.spec(SUITE, "ensure-authorization-request-with-long-state")
async def test_a_long_state_comes_back_whole(flow: Flow):
    state = "s" * 2_000
    assert back(await flow.answer(await flow.pushed(state=state)))["state"] == state


# --- what is pushed


def details(**changes):
    return json.dumps([Flow.detail(**changes)])


UNPUSHABLE = {
    "token": ({"response_type": "token"}, "unsupported_response_type"),
    "code id_token": ({"response_type": "code id_token"}, "unsupported_response_type"),
    "no response type": ({"response_type": None}, "unsupported_response_type"),
    "fragment": ({"response_mode": "fragment"}, "invalid_request"),
    "request_uri": ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
    "request object": ({"request": "a.b.c"}, "request_not_supported"),
    "no redirect_uri": ({"redirect_uri": None}, "invalid_request"),
    "other redirect_uri": ({"redirect_uri": "https://evil.example/back"}, "invalid_request"),
    "longer redirect_uri": ({"redirect_uri": f"{BACK}/more"}, "invalid_request"),
    "redirect_uri with a query": ({"redirect_uri": f"{BACK}?a=b"}, "invalid_request"),
    "no challenge": ({"code_challenge": None}, "invalid_request"),
    "no challenge at all": ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    "no method": ({"code_challenge_method": None}, "invalid_request"),
    "plain": ({"code_challenge_method": "plain"}, "invalid_request"),
    "short challenge": ({"code_challenge": "a" * 42}, "invalid_request"),
    "odd challenge": ({"code_challenge": "a" * 42 + "+"}, "invalid_request"),
    "another client": ({"client_id": "another"}, "invalid_client"),
    "openid": ({"scope": "openid scores"}, "invalid_scope"),
    "not for people": ({"scope": "prescreens"}, "invalid_scope"),
    "long state": ({"state": "s" * 2_049}, "invalid_request"),
    "jkt": ({"dpop_jkt": "x"}, "invalid_request"),
    "resource": ({"resource": "https://other.example"}, "invalid_target"),
    "no details": ({"authorization_details": None}, "invalid_authorization_details"),
    "no JSON": ({"authorization_details": "{"}, "invalid_authorization_details"),
    "no list": ({"authorization_details": "{}"}, "invalid_authorization_details"),
    "deep": ({"authorization_details": "[" * 5_000}, "invalid_authorization_details"),
    "two": ({"authorization_details": json.dumps([Flow.detail()] * 2)}, "invalid_authorization_details"),
    "other type": ({"authorization_details": details(type="payment")}, "invalid_authorization_details"),
    "no type": ({"authorization_details": details(type=None)}, "invalid_authorization_details"),
    "unknown field": ({"authorization_details": details(more=1)}, "invalid_authorization_details"),
    "unknown purpose": ({"authorization_details": details(purpose="x")}, "invalid_authorization_details"),
    "closed purpose": (
        {"authorization_details": details(purpose="model_development")},
        "invalid_authorization_details",
    ),
    "no categories": ({"authorization_details": details(categories=[])}, "invalid_authorization_details"),
    "closed category": (
        {"authorization_details": details(categories=["social_graph"])},
        "invalid_authorization_details",
    ),
    "too long": ({"authorization_details": details(period_days=366)}, "invalid_authorization_details"),
    "old template": (
        {"authorization_details": details(template="credit_assessment@0")},
        "invalid_authorization_details",
    ),
    "elsewhere": (
        {"authorization_details": details(locations=["https://other.example"])},
        "invalid_authorization_details",
    ),
    "action": ({"grant_management_action": "steal"}, "invalid_request"),
    "merge with nothing": ({"grant_management_action": "merge"}, "invalid_request"),
    "grant without action": ({"grant_id": "gnt_x"}, "invalid_request"),
    "unknown grant": ({"grant_management_action": "replace", "grant_id": "gnt_x"}, "invalid_grant_id"),
}


@pytest.mark.spec(PROFILE, "5.3.2.2-1", "5.3.2.2-5", "5.3.2.2-6")
@pytest.mark.spec("RFC 9126", "2.1")
@pytest.mark.spec("RFC 9396", "5")
@pytest.mark.spec(
    SUITE,
    "ensure-response-type-code-idtoken-fails",
    "ensure-response-type-token-fails",
    "ensure-redirect-uri-in-authorization-request",
    "ensure-registered-redirect-uri",
    "ensure-request-object-without-redirect-uri-fails",
    "plain-fapi-tolerate-unregistered-redirect-uri",
    "par-authorization-request-containing-request_uri-form-param",
    "par-ensure-pkce-required",
    "par-plain-pkce-rejected",
    "grant-management-ensure-invalid-grant-id-fails",
)
@pytest.mark.parametrize(("changes", "error"), UNPUSHABLE.values(), ids=UNPUSHABLE)
async def test_what_cannot_be_asked_is_refused_before_anybody_is_sent(flow: Flow, changes, error):
    refused(await flow.push(**changes), error, 401 if error == "invalid_client" else 400)


@pytest.mark.spec(PROFILE, "5.3.2.1-8", "5.3.2.2-4")
async def test_only_the_client_itself_pushes(flow: Flow):
    refused(await flow.http.post("/oauth/par", data=flow.asking()), "invalid_client", 401)
    refused(
        await flow.push(client_assertion=flow.oauth.assertion(aud=f"{ISSUER}/oauth/par")),
        "invalid_client",
        401,
    )
    refused(await flow.push(client_assertion=flow.oauth.assertion(aud=[ISSUER])), "invalid_client", 401)


@pytest.mark.spec(SUITE, "par-attempt-invalid-http-method")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_requests_are_pushed_by_post(flow: Flow, method):
    assert (await flow.http.request(method, "/oauth/par")).status_code == 405


async def test_the_person_reads_what_will_be_told(flow: Flow):
    _, page = await flow.page(await flow.pushed(authorization_details=details(answer="band")))
    assert "只有等级" in page.text


async def test_a_consent_to_the_band_gives_no_points(flow: Flow):
    tokens = await flow.tokens(authorization_details=details(answer="band"))
    assert told(await flow.score(tokens), 403)["code"] == "answer_not_granted"


# --- the address


@pytest.mark.spec(PROFILE, "5.3.2.1-7", "5.3.2.2-3")
@pytest.mark.spec(SUITE, "ensure-unsigned-authorization-request-without-using-par-fails")
@pytest.mark.parametrize(
    "query",
    [
        "",
        "response_type=code&client_id={client}&redirect_uri=https://bank.example/back",
        "client_id={client}",
        "request_uri={uri}",
        "client_id=another&request_uri={uri}",
        "client_id={client}&client_id={client}&request_uri={uri}",
        "client_id={client}&request_uri={uri}&request_uri={uri}",
        "client_id={client}&request_uri={uri}x",
        "client_id={client}&request_uri=x",
        "client_id={client}&request_uri=%00",
        "client_id=%E4%BF%A1&request_uri={uri}",
        "client_id={client}&request_uri=" + "u" * 300,
    ],
)
async def test_without_a_pushed_request_nobody_goes_anywhere(flow: Flow, query):
    uri = await flow.pushed()
    query = query.format(client=flow.oauth.client_id, uri=uri)
    for accept in ("text/html", "application/json"):
        answer = await flow.http.get(f"/oauth/authorize?{query}", headers={"Accept": accept})
        assert answer.status_code == 400, answer.text
        assert "location" not in answer.headers
        assert answer.headers["content-type"].startswith(accept.replace("json", "problem+json"))


async def test_who_is_not_signed_in_signs_in_first(flow: Flow):
    uri = await flow.pushed()
    query = {"client_id": flow.oauth.client_id, "request_uri": uri}
    answer = await flow.http.get("/oauth/authorize", params=query)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?client_id=")


@pytest.mark.spec(PROFILE, "5.3.2.2 note 3")
@pytest.mark.spec(
    SUITE, "par-attempt-reuse-request_uri", "par-ensure-reused-request-uri-prior-to-auth-completion-succeeds"
)
async def test_a_request_is_spent_by_the_answer_and_not_by_the_look(flow: Flow):
    uri = await flow.pushed()
    for _ in range(3):
        await flow.page(uri)
    await flow.answer(uri)
    assert (await flow.authorize(uri)).status_code == 400


@pytest.mark.spec(PROFILE, "5.3.2.2-12")
@pytest.mark.spec(SUITE, "par-attempt-to-use-expired-request_uri")
async def test_a_request_does_not_wait_for_ever(flow: Flow, owner):
    uri = await flow.pushed()
    await owner.execute("update api_authorization set request_expires_at = now()")
    assert (await flow.authorize(uri)).status_code == 400


# --- the code


@pytest.mark.spec(PROFILE, "5.3.2.1-11")
@pytest.mark.spec(SUITE, "ensure-token-endpoint-fails-with-expired-auth-code")
async def test_a_code_is_short_lived(flow: Flow, owner):
    code = await flow.code()
    lives = await owner.fetchval("select code_expires_at - answered_at from api_authorization")
    assert lives.total_seconds() <= 60
    await owner.execute(
        "set session_replication_role = replica"
    )  # past the trigger: an answer stays as it is
    await owner.execute("update api_authorization set code_expires_at = now()")
    refused(await flow.redeem(code), "invalid_grant")


@pytest.mark.spec(PROFILE, "5.3.2.2-9", "5.3.4-3")
@pytest.mark.spec("RFC 6749", "4.1.2")
@pytest.mark.spec(SUITE, "attempt-reuse-authorization-code-after-one-second")
async def test_a_code_counts_once_and_a_replay_revokes(flow: Flow, owner):
    code = await flow.code()
    tokens = told(await flow.redeem(code), 200)
    assert (await flow.score(tokens)).status_code == 201
    refused(await flow.redeem(code), "invalid_grant")
    assert told(await flow.score(tokens), 401)["code"] == "invalid_token"
    refused(await flow.refresh(tokens["refresh_token"]), "invalid_grant")
    assert "code_replayed" in await world.kinds(owner)


@pytest.mark.spec(PROFILE, "5.3.2.2-9")
async def test_of_many_redemptions_at_once_one_succeeds(flow: Flow):
    code = await flow.code()
    answers = await asyncio.gather(*(flow.redeem(code) for _ in range(16)))
    assert sorted(a.status_code for a in answers) == [200] + [400] * 15
    (won,) = (a.json() for a in answers if a.status_code == 200)
    assert (await flow.score(won)).status_code == 401


@pytest.mark.spec(PROFILE, "5.3.2.2-5")
@pytest.mark.spec("RFC 7636", "4.6")
@pytest.mark.spec(SUITE, "ensure-pkce-code-verifier-required", "incorrect-pkce-code-verifier-rejected")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code": None}, "invalid_request"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "v" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"redirect_uri": "https://evil.example"}, "invalid_grant"),
    ],
)
async def test_a_code_alone_is_worth_nothing(flow: Flow, changes, error):
    code = await flow.code()
    refused(await flow.redeem(code, **changes), error)
    if "code" not in changes:
        assert (await flow.redeem(code)).status_code == 200


@pytest.mark.spec(SUITE, "ensure-authorization-code-is-bound-to-client")
async def test_a_code_is_its_clients(flow: Flow):
    code = await flow.code()
    mine, flow.oauth = flow.oauth, await code_flow.a_client(flow.bank)
    refused(await flow.redeem(code), "invalid_grant")
    flow.oauth = mine
    assert (await flow.redeem(code)).status_code == 200


@pytest.mark.spec(PROFILE, "5.3.2.1-12")
@pytest.mark.spec("RFC 9449", "10", "10.1")
async def test_a_code_can_be_bound_to_a_key(flow: Flow):
    jkt = flow.oauth.proof_key.thumbprint()
    first = await flow.code(dpop_jkt=jkt)
    assert (await flow.redeem(first)).status_code == 200
    bound = back(await flow.answer((await flow.push(proof=True)).json()["request_uri"]))["code"]
    flow.oauth.proof_key = new_key("ES256")
    refused(await flow.redeem(bound), "invalid_grant")
    refused(await flow.push(proof=True, dpop_jkt=jkt), "invalid_request")


@pytest.mark.spec(PROFILE, "5.3.2.1-4")
@pytest.mark.spec("RFC 9449", "5")
@pytest.mark.spec(SUITE, "ensure-holder-of-key-required")
async def test_a_token_needs_something_to_be_bound_to(flow: Flow):
    refused(await flow.redeem(await flow.code(), proof=False), "invalid_dpop_proof")


# --- refreshing


@pytest.mark.spec(PROFILE, "5.3.2.1-9", "5.3.4-4")
@pytest.mark.spec("RFC 6749", "6")
@pytest.mark.spec(SUITE, "refresh-token")
async def test_a_refresh_token_stays(flow: Flow):
    tokens = await flow.tokens()
    for _ in range(2):
        fresh = told(await flow.refresh(tokens["refresh_token"]), 200)
        assert "refresh_token" not in fresh
        assert fresh["grant_id"] == tokens["grant_id"]
        assert (await flow.score(fresh)).status_code == 201
    less = told(await flow.refresh(tokens["refresh_token"], scope="grants"), 200)
    assert less["scope"] == "grants"
    assert told(await flow.score(less), 403)["code"] == "insufficient_scope"
    refused(await flow.refresh(tokens["refresh_token"], scope="scores log"), "invalid_scope")
    refused(await flow.refresh("unknown"), "invalid_grant")
    refused(await flow.refresh(tokens["refresh_token"], refresh_token=None), "invalid_request")


async def test_a_refresh_token_is_its_clients(flow: Flow):
    tokens = await flow.tokens()
    flow.oauth = await code_flow.a_client(flow.bank)
    refused(await flow.refresh(tokens["refresh_token"]), "invalid_grant")


# --- the consent behind it


@pytest.mark.spec(PROFILE, "5.3.4-3")
async def test_a_token_dies_with_its_consent(flow: Flow):
    tokens = await flow.tokens()
    assert (await flow.score(tokens)).status_code == 201
    await withdrawn(flow.person, ids.private("gnt", tokens["grant_id"]))
    assert told(await flow.score(tokens), 401)["code"] == "invalid_token"
    refused(await flow.refresh(tokens["refresh_token"]), "invalid_grant")


async def test_a_code_dies_with_its_consent(flow: Flow, owner):
    code = await flow.code()
    grant = await owner.fetchval("select grant_id from api_authorization")
    await withdrawn(flow.person, grant)
    refused(await flow.redeem(code), "invalid_grant")


@pytest.mark.spec(PROFILE, "5.3.2.1-14", "5.3.4-4")
async def test_a_token_is_for_one_consent(flow: Flow):
    tokens = await flow.tokens()
    (other,) = await world.persons(1)
    await world.granted(other, flow.bank)
    known_as = await world.pseudonym_of(other, flow.bank)
    assert told(await flow.score(tokens, known_as), 403)["code"] == "token_for_other_consent"


async def test_a_token_lives_no_longer_than_its_consent(flow: Flow, owner):
    code = await flow.code()
    await owner.execute("update consent_grant set expires_at = now() + interval '40 seconds'")
    assert told(await flow.redeem(code), 200)["expires_in"] <= 40


async def test_a_newer_consent_ends_the_tokens_of_the_old(flow: Flow):
    old = await flow.tokens()
    new = await flow.tokens()
    assert (await flow.score(old)).status_code == 401
    assert (await flow.score(new)).status_code == 201


# --- introspection and revocation


@pytest.mark.spec("RFC 7662", "2.2")
async def test_a_client_sees_how_its_tokens_stand(flow: Flow):
    tokens = await flow.tokens()
    seen = told(await flow.post("/oauth/introspect", {"token": tokens["access_token"]}, proof=False), 200)
    assert seen["active"] is True
    assert seen["cnf"] == {"jkt": flow.oauth.proof_key.thumbprint()}
    assert seen["exp"] > time.time()
    assert seen["authorization_details"] == tokens["authorization_details"]
    seen = told(await flow.post("/oauth/introspect", {"token": tokens["refresh_token"]}, proof=False), 200)
    assert (seen["active"], seen["grant_id"]) == (True, tokens["grant_id"])
    await withdrawn(flow.person, ids.private("gnt", tokens["grant_id"]))
    for name in ("access_token", "refresh_token"):
        dead = await flow.post("/oauth/introspect", {"token": tokens[name]}, proof=False)
        assert told(dead, 200) == {"active": False}


@pytest.mark.spec("RFC 7662", "2.2")
async def test_of_other_tokens_nothing_is_said(flow: Flow):
    tokens = await flow.tokens()
    flow.oauth = await code_flow.a_client(flow.bank)
    for token in (tokens["access_token"], tokens["refresh_token"], "x", "a.b.c", "é" * 3, "t" * 9_000):
        answer = await flow.post("/oauth/introspect", {"token": token}, proof=False)
        assert answer.json() == {"active": False} or answer.status_code == 400
    refused(await flow.post("/oauth/introspect", {}, proof=False), "invalid_request")
    unauthenticated = await flow.http.post("/oauth/introspect", data={"token": tokens["access_token"]})
    refused(unauthenticated, "invalid_client", 401)


@pytest.mark.spec("RFC 9701", "5")
async def test_the_answer_can_be_signed(flow: Flow):
    tokens = await flow.tokens()
    answer = await flow.http.post(
        "/oauth/introspect",
        data={
            "token": tokens["access_token"],
            "client_assertion_type": code_flow.ASSERTION_TYPE,
            "client_assertion": flow.oauth.assertion(),
        },
        headers={"Accept": "application/token-introspection+jwt"},
    )
    assert answer.headers["content-type"].startswith("application/token-introspection+jwt")
    keys = KeySet.import_key_set((await flow.http.get("/.well-known/jwks.json")).json())
    signed = jwt.decode(answer.text, keys, algorithms=["ES256"])
    assert signed.header["typ"] == "token-introspection+jwt"
    assert (signed.claims["iss"], signed.claims["aud"]) == (ISSUER, flow.oauth.client_id)
    assert signed.claims["token_introspection"]["active"] is True


@pytest.mark.spec(PROFILE, "5.3.4-3")
@pytest.mark.spec("RFC 7009", "2.1")
async def test_a_revoked_access_token_counts_no_more(flow: Flow, owner):
    tokens = await flow.tokens()
    answer = await flow.post("/oauth/revoke", {"token": tokens["access_token"]}, proof=False)
    assert answer.status_code == 200
    assert (await flow.score(tokens)).status_code == 401
    fresh = told(await flow.refresh(tokens["refresh_token"]), 200)
    assert (await flow.score(fresh)).status_code == 201
    assert "token_revoked" in await world.kinds(owner)


@pytest.mark.spec("RFC 7009", "2.1")
async def test_a_revoked_refresh_token_takes_all_with_it_but_the_consent(flow: Flow, owner):
    tokens = await flow.tokens()
    fresh = told(await flow.refresh(tokens["refresh_token"]), 200)
    for _ in range(2):
        answer = await flow.post("/oauth/revoke", {"token": tokens["refresh_token"]}, proof=False)
        assert answer.status_code == 200
    for each in (tokens, fresh):
        assert (await flow.score(each)).status_code == 401
    refused(await flow.refresh(tokens["refresh_token"]), "invalid_grant")
    assert await owner.fetchval("select state from consent_grant") == "active"


@pytest.mark.spec("RFC 7009", "2.2")
async def test_another_clients_token_is_not_revoked(flow: Flow):
    tokens, mine = await flow.tokens(), flow.oauth
    flow.oauth = await code_flow.a_client(flow.bank)
    for token in (tokens["access_token"], tokens["refresh_token"], "unknown"):
        assert (await flow.post("/oauth/revoke", {"token": token}, proof=False)).status_code == 200
    flow.oauth = mine
    assert (await flow.score(tokens)).status_code == 201


# --- grant management


async def managed(flow: Flow, method: str, grant_id: str, scope: str):
    answer = await flow.post("/oauth/token", {"grant_type": "client_credentials", "scope": scope})
    path = f"/oauth/grants/{grant_id}"
    headers = flow.oauth.call_headers(method, f"{ISSUER}{path}", told(answer, 200)["access_token"])
    return await flow.http.request(method, path, headers=headers)


@pytest.mark.spec(PROFILE, "5.3.4-4")
@pytest.mark.spec("Grant Management (draft 3)", "6")
@pytest.mark.spec(SUITE, "grant-management-query-and-revoke")
async def test_a_client_looks_at_a_consent_and_gives_it_back(flow: Flow, owner):
    tokens = await flow.tokens()
    grant = tokens["grant_id"]
    seen = told(await managed(flow, "GET", grant, "grant_management_query"), 200)
    assert seen["authorization_details"] == tokens["authorization_details"]
    assert (await managed(flow, "GET", grant, "scores")).status_code == 403
    assert (await managed(flow, "DELETE", grant, "grant_management_query")).status_code == 403
    for _ in range(2):
        assert (await managed(flow, "DELETE", grant, "grant_management_revoke")).status_code == 204
    assert (await managed(flow, "GET", grant, "grant_management_query")).status_code == 404
    assert (await flow.score(tokens)).status_code == 401
    row = await owner.fetchrow("select state, ended_by, ended_code from consent_grant")
    assert tuple(row) == ("ended", "partner", "relinquished")


@pytest.mark.spec(
    SUITE,
    "grant-management-ensure-wrong-client-cannot-query-grant",
    "grant-management-ensure-wrong-client-cannot-revoke-grant",
)
async def test_another_banks_consent_is_unknown(flow: Flow):
    tokens = await flow.tokens()
    other = await world.a_bank("beta")
    flow.oauth = await code_flow.a_client(other)
    for method, scope in (("GET", "grant_management_query"), ("DELETE", "grant_management_revoke")):
        assert (await managed(flow, method, tokens["grant_id"], scope)).status_code == 404


@pytest.mark.spec("Grant Management (draft 3)", "5")
@pytest.mark.spec(SUITE, "grant-management-merge", "grant-management-replace")
@pytest.mark.parametrize(
    ("action", "expected"), [("merge", ["device_usage", "shopping"]), ("replace", ["shopping"])]
)
async def test_a_changed_consent_is_a_new_one_that_ends_the_old(flow: Flow, action, expected):
    first = await flow.pushed(authorization_details=details(categories=["device_usage"]))
    path, page = await flow.page(first)
    shown = page.text.split(code_flow.NOTICE)[1].split('"')[0]
    answer = await flow.browser.send_form(path, notice_sha256=shown, answer="yes", categories="device_usage")
    old = told(await flow.redeem(back(answer)["code"]), 200)
    uri = await flow.pushed(
        authorization_details=details(categories=["shopping"]),
        grant_management_action=action,
        grant_id=old["grant_id"],
    )
    path, page = await flow.page(uri)
    answer = await flow.browser.send_form(path, notice_sha256=shown, answer="yes", categories=expected)
    new = told(await flow.redeem(back(answer)["code"]), 200)
    assert new["grant_id"] != old["grant_id"]
    assert new["authorization_details"][0]["categories"] == expected
    refused(await flow.refresh(old["refresh_token"]), "invalid_grant")


async def test_only_a_living_consent_of_the_same_purpose_is_changed(flow: Flow):
    old = (await flow.tokens())["grant_id"]
    action = {"grant_management_action": "merge", "grant_id": old}
    other = details(purpose="portrait")
    refused(await flow.push(authorization_details=other, **action), "invalid_grant_id")
    await withdrawn(flow.person, ids.private("gnt", old))
    refused(await flow.push(**action), "invalid_grant_id")


# --- limits


async def test_a_client_learns_how_much_it_has_left(database, home):
    async with world.opened(database, home, client_calls_per_minute=12, grant_calls_per_minute=2) as opened:
        flow = await code_flow.begin(opened)
        tokens = await flow.tokens()
        first = await flow.score(tokens)
        assert first.headers["ratelimit-policy"] == '"client";q=12;w=60, "grant";q=2;w=60'
        assert first.headers["ratelimit"].startswith('"client";r=')
        for _ in range(3):
            answer = await flow.score(tokens)
        assert told(answer, 429)["code"] == "rate_limited"
        assert 0 < int(answer.headers["retry-after"]) <= 60
        for _ in range(12):
            answer = await flow.push()
        refused(answer, "rate_limited", 429)
        assert "retry-after" in answer.headers


async def test_a_frozen_partner_learns_of_withdrawals_and_nothing_else(flow: Flow, owner):
    tokens = await flow.tokens()
    await owner.execute("update partners_partner set suspended_at = now()")
    assert told(await flow.score(tokens), 403)["code"] == "partner_suspended"
    refused(await flow.push(), "partner_suspended")
    path = f"/v1/grants/{tokens['grant_id']}"
    headers = flow.oauth.call_headers("GET", f"{ISSUER}{path}", tokens["access_token"])
    assert told(await flow.http.get(path, headers=headers), 200)["state"] == "active"
    await owner.execute("update partners_partner set suspended_at = null")
    assert (await flow.score(tokens)).status_code == 201


@pytest.mark.spec("RFC 9728", "5.1")
async def test_a_refused_call_says_where_the_resource_is_described(flow: Flow):
    answer = await flow.http.post("/v1/scores", json={})
    assert answer.status_code == 401
    where = f"{ISSUER}/.well-known/oauth-protected-resource"
    assert f'resource_metadata="{where}"' in answer.headers["www-authenticate"]
    described = told(await flow.http.get("/.well-known/oauth-protected-resource"), 200)
    assert (described["resource"], described["authorization_servers"]) == (ISSUER, [ISSUER])
    assert described["bearer_methods_supported"] == ["header"]


async def with_token(flow: Flow, tokens, method: str, path: str, body=None):
    headers = flow.oauth.call_headers(method, f"{ISSUER}{path}", tokens["access_token"])
    return await flow.http.request(method, path, json=body, headers=headers)


async def test_a_token_for_one_consent_shows_changes_and_asks_for_no_other(flow: Flow):
    scope = "grants scores grant_management_query grant_management_revoke"
    tokens = await flow.tokens(scope=scope)
    assert tokens["scope"] == "grant_management_query grant_management_revoke grants scores"
    (other,) = await world.persons(1)
    theirs = ids.public("gnt", (await world.granted(other, flow.bank)).id)
    for method, path in (
        ("GET", f"/v1/grants/{theirs}"),
        ("GET", f"/oauth/grants/{theirs}"),
        ("DELETE", f"/oauth/grants/{theirs}"),
    ):
        assert told(await with_token(flow, tokens, method, path), 403)["code"] == "token_for_other_consent"
    ask = {"purpose": "portrait", "categories": ["shopping"]}
    assert (
        told(await with_token(flow, tokens, "POST", "/v1/grants", ask), 403)["code"]
        == "token_for_other_consent"
    )
    mine = tokens["grant_id"]
    assert told(await with_token(flow, tokens, "GET", f"/oauth/grants/{mine}"), 200)["authorization_details"]
    assert (await with_token(flow, tokens, "DELETE", f"/oauth/grants/{mine}")).status_code == 204
    assert (await with_token(flow, tokens, "GET", f"/v1/grants/{mine}")).status_code == 401


async def test_a_paused_consent_keeps_its_token(flow: Flow, owner):
    tokens = await flow.tokens()
    await owner.execute("update consent_grant set state = 'paused'")
    assert told(await flow.score(tokens), 403)["code"] == "consent_paused"
    assert told(await flow.refresh(tokens["refresh_token"]), 200)["grant_id"] == tokens["grant_id"]
    await owner.execute("update consent_grant set state = 'active'")
    assert (await flow.score(tokens)).status_code == 201


# --- what a thief or a careless partner might try


@pytest.mark.parametrize("scope", [" ", "  ", "everything", "everything grants"])
async def test_no_scope_of_any_spelling_widens_a_token(flow: Flow, scope):
    tokens = await flow.tokens(scope="grants")
    answer = await flow.refresh(tokens["refresh_token"], scope=scope)
    assert answer.status_code == 400 or answer.json()["scope"] == "grants"


async def test_a_token_for_one_consent_opens_no_other_door(flow: Flow, owner):
    tokens = await flow.tokens()
    await owner.execute("update api_client set scopes = array_append(scopes, 'log')")
    for path in ("/v1/prescreens/pre_x", "/v1/products", "/v1/referrals", "/v1/log/facts/fct_x/proof"):
        assert told(await with_token(flow, tokens, "GET", path), 403)["code"] == "insufficient_scope"


async def test_a_repeated_call_needs_the_token_of_its_consent(flow: Flow):
    mine = await flow.tokens()
    first = await flow.score(mine)
    (other,) = await world.persons(1)
    theirs = await world.granted(other, flow.bank)
    body = {
        "user": await world.pseudonym_of(other, flow.bank),
        "purpose": "credit_assessment",
        "categories": sorted(ALL),
    }
    own = told(await flow.post("/oauth/token", {"grant_type": "client_credentials"}), 200)
    for token, status in ((own, 201), (mine, 403)):
        headers = flow.oauth.call_headers("POST", f"{ISSUER}/v1/scores", token["access_token"])
        answer = await flow.http.post("/v1/scores", json=body, headers=headers | {"Idempotency-Key": "one"})
        assert answer.status_code == status, answer.text
    assert first.status_code == 201
    assert theirs.user_id == other.user


async def test_nobody_says_yes_to_a_client_that_was_stopped(flow: Flow, owner):
    uri = await flow.pushed()
    path, page = await flow.page(uri)
    shown = page.text.split(code_flow.NOTICE)[1].split('"')[0]
    await owner.execute("update api_client set suspended_at = now(), suspended_by = 'test'")
    assert (await flow.authorize(uri)).status_code == 400
    answer = await flow.browser.send_form(path, notice_sha256=shown, answer="yes", categories=sorted(ALL))
    assert answer.status_code == 400
    assert await owner.fetchval("select state from consent_grant") == "requested"


async def test_a_frozen_partner_gets_no_yes_and_redeems_none(flow: Flow, owner):
    code = await flow.code()
    path, page = await flow.page(await flow.pushed())
    shown = page.text.split(code_flow.NOTICE)[1].split('"')[0]
    await owner.execute("update partners_partner set suspended_at = now()")
    refused(await flow.redeem(code), "partner_suspended")
    answer = await flow.browser.send_form(path, notice_sha256=shown, answer="yes", categories=sorted(ALL))
    assert answer.status_code == 403
    await owner.execute("update partners_partner set suspended_at = null")
    assert (await flow.redeem(code)).status_code == 200


async def test_a_stolen_assertion_uses_up_nobodys_calls(database, home):
    async with world.opened(database, home, client_calls_per_minute=5) as opened:
        flow = await code_flow.begin(opened)
        stolen = flow.oauth.assertion()
        assert (await flow.push(client_assertion=stolen)).status_code == 201
        for _ in range(10):
            refused(await flow.push(client_assertion=stolen), "invalid_client", 401)
        assert (await flow.push()).status_code == 201


async def test_a_yes_by_program_goes_back_too(flow: Flow):
    uri = await flow.pushed()
    path, _ = await flow.page(uri)
    body = {"categories": sorted(ALL), "language": "en"}
    answered = await flow.browser.call("POST", f"/v1/me/grants/{path.rpartition('/')[2]}/approve", body)
    assert told(answered, 200)["back"].startswith(f"{BACK}?code=")
    assert (await flow.authorize(uri)).status_code == 400


async def test_a_form_without_an_answer_is_no_answer(flow: Flow, owner):
    path, page = await flow.page(await flow.pushed())
    shown = page.text.split(code_flow.NOTICE)[1].split('"')[0]
    assert (await flow.browser.send_form(path, notice_sha256=shown)).status_code == 422
    assert await owner.fetchval("select state from consent_grant") == "requested"


async def test_what_is_given_back_after_its_time_has_expired(flow: Flow, owner):
    tokens = await flow.tokens()
    await owner.execute("update consent_grant set expires_at = now()")
    assert (await managed(flow, "DELETE", tokens["grant_id"], "grant_management_revoke")).status_code == 204
    assert await owner.fetchval("select ended_code from consent_grant") == "expired"


async def test_a_bureau_gives_back_what_it_relays(database, home, owner):
    async with world.opened(database, home) as opened:
        flow = await code_flow.begin(opened)
        lender = flow.bank
        bureau = await world.a_bank("bureau", world.PartnerKind.CREDIT_BUREAU)
        await world.open_channel(bureau.partner, lender.partner)
        flow.oauth = await code_flow.a_client(bureau)
        asking = details(recipient=ids.public("ptn", lender.partner))
        tokens = await flow.tokens(authorization_details=asking)
        assert (
            await managed(flow, "DELETE", tokens["grant_id"], "grant_management_revoke")
        ).status_code == 204
        row = await owner.fetchrow("select state, ended_code, bureau from consent_grant")
        assert tuple(row) == ("ended", "relinquished", bureau.partner)
