"""Protected calls: who may call, and everything that is refused."""

import asyncio
import json
import time
from hashlib import sha256
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from support import oauth_app
from support.oauth_app import CALL, ISSUER, a_client, a_partner, a_token
from support.oauth_client import ALGORITHMS, base64url, new_key, sign

from api.oauth import tokens
from api.oauth.checks import proof as proofs
from api.oauth.pipeline import CHECKS, Endpoint

pytestmark = pytest.mark.usefixtures("ground")
PROFILE, SUITE = "FAPI 2.0 Security Profile", "OpenID conformance suite"


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


@pytest.fixture
async def token(http, client):
    return await a_token(http, client)


def refused(answer, code):
    assert (answer.status_code, answer.json()["code"]) == (401, code), answer.text
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("DPoP ")
    assert 'algs="ES256 PS256 EdDSA Ed25519"' in challenge
    assert ("error=" in challenge) == (code != "dpop_required")
    assert code == "dpop_required" or f'error="{code}"' in challenge


@pytest.mark.spec(PROFILE, "5.3.4-1", "5.3.4-5", "5.4.1-1.2")
@pytest.mark.spec("RFC 9449", "7.1")
@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_bound_token_with_its_proof_is_the_client(http, partner, alg):
    client = await a_client(partner, alg)
    token = await a_token(http, client)
    for _ in range(2):
        answer = await http.get(CALL, headers=client.call_headers("GET", CALL, token))
        assert answer.json() == {
            "partner": str(partner),
            "client": client.client_id,
            "scopes": ["grants", "scores"],
        }


async def test_a_caller_has_the_scopes_of_its_token(http, client):
    token = await a_token(http, client, scope="scores")
    answer = await http.get(CALL, headers=client.call_headers("GET", CALL, token))
    assert answer.json()["scopes"] == ["scores"]


@pytest.mark.spec("RFC 9449", "7.1")
@pytest.mark.spec(SUITE, "access-token-type-header-case-sensitivity")
@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP"])
async def test_the_scheme_is_case_insensitive(http, client, token, scheme):
    headers = client.call_headers("GET", CALL, token) | {"Authorization": f"{scheme} {token}"}
    assert (await http.get(CALL, headers=headers)).status_code == 200


@pytest.mark.spec(PROFILE, "5.3.4-5")
@pytest.mark.spec("RFC 9449", "7.2")
@pytest.mark.spec(SUITE, "dpop-negative-tests")
@pytest.mark.parametrize(
    "authorization", ["Bearer {}", "{}", "DPoP", "DPoP ", "DPoP {} {}", "Basic YTpi", "DPoP a,b", "DPoP é"]
)
async def test_other_ways_to_present_a_token_are_refused(http, client, token, authorization):
    headers = client.call_headers("GET", CALL, token)
    headers["Authorization"] = authorization.format(token, token).encode()
    refused(await http.get(CALL, headers=headers), "dpop_required")


@pytest.mark.spec(PROFILE, "5.3.4-2")
async def test_a_token_outside_the_header_does_not_count(http, client, token):
    headers = {"DPoP": client.proof("POST", CALL, token)}
    refused(await http.get(f"{CALL}?access_token={token}", headers=headers), "dpop_required")
    refused(await http.post(CALL, data={"access_token": token}, headers=headers), "dpop_required")


async def test_two_tokens_are_none(http, client, token):
    headers = [("Authorization", f"DPoP {token}")] * 2 + [("DPoP", client.proof("GET", CALL, token))]
    refused(await http.get(CALL, headers=headers), "dpop_required")


# --- the token


def our_token(ground, client, header=None, key=None, **changes):
    """What we would sign, with something changed."""
    claims = {"iss": ISSUER, "aud": ISSUER, "client_id": client.client_id, "scope": "scores"}
    claims |= {"sub": client.client_id, "jti": str(uuid4()), "iat": int(time.time())}
    claims |= {"exp": int(time.time()) + 60, "cnf": {"jkt": client.proof_key.thumbprint()}}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    signing = key or ground.keyring.signing
    named = {"alg": "ES256", "typ": "at+jwt", "kid": ground.keyring.signing.kid}
    return jwt.encode(named | (header or {}), claims, signing)


async def present(http, client, token):
    return await http.get(CALL, headers=client.call_headers("GET", CALL, token))


async def test_the_makers_of_wrong_tokens_can_make_a_right_one(http, ground, client):
    assert (await present(http, client, our_token(ground, client))).status_code == 200
    full = our_token(ground, client, header={"typ": "application/at+jwt"})
    assert (await present(http, client, full)).status_code == 200


@pytest.mark.spec(PROFILE, "5.3.4-3")
@pytest.mark.spec("RFC 9068", "4")
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"aud": "https://other.example"},
        {"aud": [ISSUER]},
        {"iss": None},
        {"aud": None},
        {"exp": None},
        {"exp": 1},
        {"exp": time.time() + 3_600},
        {"cnf": None},
        {"cnf": {"jkt": 1}},
        {"client_id": None},
        {"client_id": "nobody"},
        {"scope": None},
        {"header": {"typ": "JWT"}},
        {"header": {"typ": "dpop+jwt"}},
        {"header": {"typ": ""}},
        {"header": {"kid": "another"}},
    ],
)
async def test_a_token_with_anything_wrong_is_refused(http, ground, client, changes):
    refused(await present(http, client, our_token(ground, client, **changes)), "invalid_token")


@pytest.mark.spec(PROFILE, "5.3.4-3")
async def test_a_token_of_another_signer_is_refused(http, ground, client):
    refused(await present(http, client, our_token(ground, client, key=new_key("ES256"))), "invalid_token")


@pytest.mark.spec(PROFILE, "5.4.1-1.1", "5.4.1-1.3")
@pytest.mark.spec("RFC 8725", "3.1")
async def test_a_token_with_another_algorithm_is_refused(http, ground, client):
    head, body, _ = our_token(ground, client).split(".")
    none = base64url(b'{"alg":"none","typ":"at+jwt"}')
    refused(await present(http, client, f"{none}.{body}."), "invalid_token")
    refused(await present(http, client, f"{head}.{body}."), "invalid_token")
    public = json.dumps(ground.keyring.signing.as_dict(private=False)).encode()
    claims = {"iss": ISSUER, "aud": ISSUER, "client_id": client.client_id, "exp": 9999999999}
    ours = sign({"alg": "EdDSA", "typ": "at+jwt"}, claims, new_key("EdDSA"), "EdDSA")
    refused(await present(http, client, ours), "invalid_token")
    refused(await present(http, client, base64url(public)), "invalid_token")


async def test_a_changed_token_is_refused_also_after_the_right_one_was_seen(http, client, token):
    assert (await present(http, client, token)).status_code == 200
    head, body, signature = token.split(".")
    changed = ("A" if body[20] != "A" else "B").join((body[:20], body[21:]))
    refused(await present(http, client, f"{head}.{changed}.{signature}"), "invalid_token")


@pytest.mark.spec(PROFILE, "5.3.4-3")
async def test_a_token_that_was_seen_still_ends(http, ground, client):
    token = our_token(ground, client, exp=int(time.time()) + 2)
    assert (await present(http, client, token)).status_code == 200
    await asyncio.sleep(2.1)
    refused(await present(http, client, token), "invalid_token")


async def test_the_memory_of_tokens_is_bounded(ground, client, monkeypatch):
    monkeypatch.setattr(tokens, "KEPT_TOKENS", 2)
    tokens.verified.clear()
    made = [our_token(ground, client, scope=f"s{n}") for n in range(3)]
    for token in (made[0], made[1], made[0], made[2]):
        tokens.verify(token, sha256(token.encode()).digest(), issuer=ISSUER, now=time.time())
    assert {claims.scope for claims in tokens.verified.values()} == {"s0", "s2"}


@pytest.mark.spec(PROFILE, "5.3.4-3")
async def test_a_suspension_counts_at_once_and_can_be_lifted(http, owner, client, token):
    assert (await present(http, client, token)).status_code == 200
    await owner.execute("update api_client set suspended_at = now(), suspended_by = 'worker:tests'")
    refused(await present(http, client, token), "invalid_token")
    await owner.execute("update api_client set suspended_at = null, suspended_by = null")
    assert (await present(http, client, token)).status_code == 200


async def test_a_frozen_partner_is_known_and_refused(http, owner, client, token):
    await owner.execute("update partners_partner set suspended_at = now()")
    answer = await present(http, client, token)
    assert (answer.status_code, answer.json()["code"]) == (403, "partner_suspended")


async def test_a_scope_taken_away_counts_at_once(http, owner, client, token):
    await owner.execute("update api_client set scopes = '{grants}'")
    assert (await present(http, client, token)).json()["scopes"] == ["grants"]


# --- the proof


@pytest.mark.spec("RFC 9449", "4.3-9")
@pytest.mark.spec(SUITE, "dpop-negative-tests")
@pytest.mark.parametrize(
    "address",
    [
        CALL,
        f"{CALL}?a=b#c",
        "HTTPS://XINQIAO.EXAMPLE/call/%c3%a9~",
        "https://xinqiao.example:443/call/%C3%A9%7e",
        "https://xinqiao.example/%63all/%C3%A9~",
    ],
)
async def test_equal_addresses_are_equal(http, client, token, address):
    headers = client.call_headers("GET", CALL, token) | {"DPoP": client.proof("GET", address, token)}
    assert (await http.get("/call/é~?x=y", headers=headers)).status_code == 200


@pytest.mark.spec("RFC 9449", "4.3-9")
@pytest.mark.spec(SUITE, "dpop-negative-tests")
@pytest.mark.parametrize(
    "address",
    [
        "http://xinqiao.example/call/é~",
        "https://inner.invalid/call/é~",
        "http://inner.invalid/call/é~",
        "https://xinqiao.example:444/call/é~",
        "https://xinqiao.example:port/call/é~",
        "https://user@xinqiao.example/call/%C3%A9~",
        "https://xinqiao.example/call/%C3%A9~/",
        "https://xinqiao.example/CALL/%C3%A9~",
        "https://xinqiao.example/call%2F%C3%A9~",
        "https://[",
        "/call/%C3%A9~",
        "",
        "\x00",
    ],
)
async def test_other_addresses_are_refused(http, client, token, address):
    headers = client.call_headers("GET", CALL, token) | {"DPoP": client.proof("GET", address, token)}
    refused(await http.get(CALL, headers=headers), "invalid_dpop_proof")


NO_ALGORITHM = base64url(b'{"alg":"none","typ":"dpop+jwt"}')
WRONG_PROOFS = {
    "other method": lambda c, t: c.proof("POST", CALL, t),
    "method in lower case": lambda c, t: c.proof("get", CALL, t),
    "no htm": lambda c, t: c.proof("GET", CALL, t, htm=None),
    "no htu": lambda c, t: c.proof("GET", CALL, t, htu=None),
    "no ath": lambda c, t: c.proof("GET", CALL),
    "ath of another token": lambda c, t: c.proof("GET", CALL, "another"),
    "ath is a number": lambda c, t: c.proof("GET", CALL, ath=1),
    "no iat": lambda c, t: c.proof("GET", CALL, t, iat=None),
    "old": lambda c, t: c.proof("GET", CALL, t, iat=int(time.time()) - 61),
    "very old": lambda c, t: c.proof("GET", CALL, t, iat=-(10**400)),
    "from the future": lambda c, t: c.proof("GET", CALL, t, iat=int(time.time()) + 70),
    "from the far future": lambda c, t: c.proof("GET", CALL, t, iat=10**400),
    "iat is text": lambda c, t: c.proof("GET", CALL, t, iat="1"),
    "expired": lambda c, t: c.proof("GET", CALL, t, exp=int(time.time()) - 1),
    "not yet": lambda c, t: c.proof("GET", CALL, t, nbf=int(time.time()) + 70),
    "no jti": lambda c, t: c.proof("GET", CALL, t, jti=None),
    "empty jti": lambda c, t: c.proof("GET", CALL, t, jti=""),
    "long jti": lambda c, t: c.proof("GET", CALL, t, jti="x" * 257),
    "no typ": lambda c, t: c.proof("GET", CALL, t, {"typ": None}),
    "other typ": lambda c, t: c.proof("GET", CALL, t, {"typ": "JWT"}),
    "no jwk": lambda c, t: c.proof("GET", CALL, t, {"jwk": None}),
    "empty jwk": lambda c, t: c.proof("GET", CALL, t, {"jwk": {}}),
    "jwk is text": lambda c, t: c.proof("GET", CALL, t, {"jwk": "key"}),
    "private jwk": lambda c, t: c.proof("GET", CALL, t, {"jwk": c.proof_key.as_dict(private=True)}),
    "jwk of another": lambda c, t: c.proof("GET", CALL, t, {"jwk": new_key("ES256").as_dict(private=False)}),
    "another key": lambda c, t: c.proof("GET", CALL, t, key=new_key("ES256")),
    "key of another kind": lambda c, t: c.proof("GET", CALL, t, {"alg": "Ed25519"}, key=new_key("Ed25519")),
    "RS256": lambda c, t: c.proof("GET", CALL, t, {"alg": "RS256"}, key=new_key("RS256")),
    "P-384": lambda c, t: c.proof("GET", CALL, t, {"alg": "ES384"}, key=new_key("ES384")),
    "unsigned": lambda c, t: c.proof("GET", CALL, t).rpartition(".")[0] + ".",
    "alg none": lambda c, t: NO_ALGORITHM + c.proof("GET", CALL, t)[c.proof("GET", CALL, t).index(".") :],
    "empty": lambda c, t: "",
    "two in one": lambda c, t: f"{c.proof('GET', CALL, t)}, {c.proof('GET', CALL, t)}",
    "long": lambda c, t: c.proof("GET", CALL, t, more="x" * 4000),
    "deep": lambda c, t: sign(b'{"jwk":' + b"[" * 2000, b"{}", c.proof_key, "ES256"),
}


@pytest.mark.spec(PROFILE, "5.3.2.1-13", "5.3.4-5", "5.4.1-1.2", "5.4.1-1.3")
@pytest.mark.spec(
    "RFC 9449", "4.3-2", "4.3-3", "4.3-4", "4.3-5", "4.3-6", "4.3-7", "4.3-8", "4.3-11", "4.3-12"
)
@pytest.mark.spec(SUITE, "dpop-negative-tests")
@pytest.mark.parametrize("make", WRONG_PROOFS.values(), ids=WRONG_PROOFS)
async def test_wrong_proofs_are_refused(http, client, token, make):
    headers = {"Authorization": f"DPoP {token}", "DPoP": make(client, token)}
    refused(await http.get(CALL, headers=headers), "invalid_dpop_proof")


@pytest.mark.spec(PROFILE, "5.3.4-5")
@pytest.mark.spec("RFC 9449", "4.3-1")
@pytest.mark.spec(SUITE, "dpop-negative-tests")
async def test_no_proof_and_two_proofs_are_refused(http, client, token):
    one = ("Authorization", f"DPoP {token}")
    refused(await http.get(CALL, headers=[one]), "invalid_dpop_proof")
    two = [("DPoP", client.proof("GET", CALL, token)) for _ in range(2)]
    refused(await http.get(CALL, headers=[one, *two]), "invalid_dpop_proof")


@pytest.mark.spec(PROFILE, "5.3.2.1-13")
@pytest.mark.spec("RFC 9449", "4.2", "4.3-11", "11.1")
@pytest.mark.spec(
    SUITE,
    "check-dpop-proof-nbf-exp",
    "ensure-dpopproof-with-iat-10seconds-after-succeeds",
    "ensure-dpopproof-with-iat-10seconds-before-succeeds",
)
@pytest.mark.parametrize("ahead", [-55, -10, 0, 10, 55])
async def test_clocks_may_differ_a_little(http, client, token, ahead):
    now = int(time.time())
    proof = client.proof("GET", CALL, token, iat=now + ahead, nbf=now + ahead, exp=now + 100, more="ignored")
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
    assert (await http.get(CALL, headers=headers)).status_code == 200


@pytest.mark.spec("RFC 9449", "11.1")
@pytest.mark.spec(SUITE, "dpop-negative-tests")
async def test_a_proof_counts_once_however_many_arrive_together(http, client, token):
    headers = client.call_headers("GET", CALL, token)
    answers = await asyncio.gather(*(http.get(CALL, headers=headers) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [401] * 7
    refused(next(a for a in answers if a.status_code == 401), "invalid_dpop_proof")
    assert "before" in answers[-1].text or answers[-1].status_code == 200


async def test_ids_of_one_key_do_not_use_up_those_of_another(http, partner, client, token):
    other = await a_client(partner)
    for caller, its in ((client, token), (other, await a_token(http, other))):
        headers = {"Authorization": f"DPoP {its}", "DPoP": caller.proof("GET", CALL, its, jti="same")}
        assert (await http.get(CALL, headers=headers)).status_code == 200


async def test_a_proof_that_is_refused_is_not_used_up(http, client, token):
    wrong = client.proof("GET", CALL, "another", jti="kept")
    right = client.proof("GET", CALL, token, jti="kept")
    for proof, status in ((wrong, 401), (right, 200)):
        headers = {"Authorization": f"DPoP {token}", "DPoP": proof}
        assert (await http.get(CALL, headers=headers)).status_code == status


# --- the table


def test_ids_are_spent_only_after_everything_about_them_was_verified():
    for endpoint in Endpoint:
        names = [f"{check.__module__.rpartition('.')[2]}.{check.__name__}" for check in CHECKS[endpoint]]
        spend = names.index("single_use.spend")
        assert all(name.endswith((".admit", "rate.count")) for name in names[spend + 1 :])
        assert {"proof.verify", "client_authentication.verify"} & set(names[:spend])


@given(st.text(max_size=60))
def test_addresses_of_any_kind_are_normalised_or_refused(text):
    once = proofs.normalised(text)
    assert once is None or once == proofs.normalised(text.partition("#")[0] + "?a#b")


SEGMENT = st.lists(st.tuples(st.sampled_from("azAZ09-._~"), st.sampled_from(["{}", "%{:02x}", "%{:02X}"])))


@pytest.mark.spec("RFC 3986", "6.2.2")
@given(SEGMENT)
def test_an_escape_that_was_not_needed_changes_nothing(characters):
    plain = "".join(c for c, _ in characters)
    escaped = "".join(form.format(c if form == "{}" else ord(c)) for c, form in characters)
    right = proofs.normalised(f"https://bank.example/{plain}")
    assert right == ("https", "bank.example", 443, f"/{plain}")
    assert proofs.normalised(f"HTTPS://Bank.Example:443/{escaped}") == right
