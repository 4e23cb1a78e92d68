"""ID tokens: believed only if every check of OpenID Connect Core 1.0 section 3.1.3.7 holds."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey
from support.provider import CLIENT_ID, Liar

from api.oauth import published_keys
from api.oauth.keys import PublicKey
from api.oidc import id_token
from api.oidc.id_token import Expected, NotBelieved
from api.sessions import Proof

CORE = "OpenID Connect Core 1.0"
SUBJECT, NONCE = "operator-4711", "n" * 43


@pytest.fixture
def liar() -> Liar:
    return Liar()


async def believed(liar: Liar, token: str, *algorithms: str, acr: tuple[str, ...] = ()) -> Proof:
    """What comes of a token of a moment ago, from a provider whose keys are known."""
    known = published_keys.read({"keys": liar.published})

    async def keys(_: str | None) -> Mapping[str, PublicKey]:
        return known

    now = time.time()
    expected = Expected(liar.issuer, CLIENT_ID, NONCE, frozenset(algorithms or ["ES256"]), acr, now - 43_200)
    return await id_token.believe(token, expected, keys, now)


WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "its issuer with a slash": {"iss": "/"},
    "no issuer": {"iss": None},
    "for another client": {"aud": "somebody"},
    "for nobody": {"aud": []},
    "for us and another": {"aud": [CLIENT_ID, "somebody"], "azp": CLIENT_ID},
    "for us twice": {"aud": [CLIENT_ID, CLIENT_ID]},
    "issued to another": {"azp": "somebody"},
    "expired": {"exp": -61},
    "without an end": {"exp": None},
    "an end that is text": {"exp": "never"},
    "an end that is true": {"exp": True},
    "issued in the future": {"iat": 120},
    "issued long ago": {"iat": -700},
    "not yet": {"nbf": 120},
    "without a nonce": {"nonce": None},
    "another nonce": {"nonce": "x" * 43},
    "a nonce that is a list": {"nonce": ["x"]},
    "no time of proof": {"auth_time": None},
    "proven yesterday": {"auth_time": -86_400},
    "proven tomorrow": {"auth_time": 86_400},
    "proven at infinity": {"auth_time": "Infinity"},
    "nobody": {"sub": ""},
    "no subject": {"sub": None},
    "a subject that is a number": {"sub": 4711},
    "a subject too long": {"sub": "x" * 256},
    "a subject not ASCII": {"sub": "操作员"},
    "a subject with a zero": {"sub": "a\x00"},
    "an endless way of proof": {"acr": "x" * 257},
}
TIMES = ("exp", "iat", "nbf", "auth_time")


def changed(claims: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Numbers are seconds from now, a slash goes behind what was there, None is left out."""
    made = dict(claims)
    for name, value in changes.items():
        if name in TIMES and type(value) is int:
            made[name] = int(time.time()) + value
        elif value == "/":
            made[name] = claims[name] + "/"
        else:
            made[name] = value
    return {name: value for name, value in made.items() if value is not None}


@pytest.mark.spec(CORE, "2", "3.1.3.7")
@pytest.mark.parametrize("changes", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS)
async def test_a_token_with_a_wrong_claim_is_refused(liar, changes):
    token = liar.signed(changed(liar.claims(NONCE, SUBJECT), changes))
    with pytest.raises(NotBelieved):
        await believed(liar, token)


RIGHT_CLAIMS: list[dict[str, Any]] = [
    {},
    {"aud": [CLIENT_ID], "azp": CLIENT_ID},
    {"exp": -30},
    {"iat": 30, "auth_time": 30},
    {"auth_time": -40_000},
    {"iat": 1.5},
    {"acr": "1", "amr": ["pwd", "otp"], "email": "x", "at_hash": "y", "groups": ["g"] * 500},
]


@pytest.mark.parametrize("changes", RIGHT_CLAIMS, ids=str)
async def test_a_token_that_is_right_is_believed(liar, changes):
    claims = changed(liar.claims(NONCE, SUBJECT), changes)
    claims["iat"] = time.time() if claims["iat"] == 1.5 else claims["iat"]
    proof = await believed(liar, liar.signed(claims))
    assert (proof.reference, proof.acr) == (SUBJECT, changes.get("acr"))
    # A clock that is ahead makes nobody fresh for longer.
    assert proof.auth_time.timestamp() <= min(time.time(), claims["auth_time"])


def b64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def hmac_with_the_public_key(liar: Liar, claims: dict[str, Any]) -> str:
    head = json.dumps({"alg": "HS256", "kid": liar.key.kid}).encode()
    said = f"{b64(head)}.{b64(json.dumps(claims).encode())}"
    return f"{said}.{b64(hmac.digest(liar.key.as_pem(private=False), said.encode(), hashlib.sha256))}"  # type: ignore[union-attr]


def unsigned(liar: Liar, claims: dict[str, Any]) -> str:
    return f"{b64(NONE)}.{liar.signed(claims).split('.')[1]}."


def tampered(liar: Liar, claims: dict[str, Any]) -> str:
    head, _, signature = liar.signed(claims | {"sub": "other"}).split(".")
    return f"{head}.{liar.signed(claims).split('.')[1]}.{signature}"


def critical(liar: Liar, claims: dict[str, Any]) -> str:
    head = b64(json.dumps({"alg": "ES256", "kid": liar.key.kid, "crit": ["x"], "x": 1}).encode())
    return ".".join([head, *liar.signed(claims).split(".")[1:]])


NONE = b'{"alg":"none"}'
FORGED = {
    "unsigned": unsigned,
    "signed by another key of that name": lambda liar, claims: liar.signed(
        claims, ECKey.generate_key("P-256", {"kid": liar.key.kid})
    ),
    "signed by a key that is not published": lambda liar, claims: liar.signed(
        claims, ECKey.generate_key("P-256", auto_kid=True)
    ),
    "signed by the key in its header": lambda liar, claims: liar.signed(
        claims, other := ECKey.generate_key("P-256"), jwk=other.as_dict(private=False), kid=None
    ),
    "HMAC with the public key": hmac_with_the_public_key,
    "tampered with": tampered,
    "another kind of statement": lambda liar, claims: liar.signed(claims, typ="logout+jwt"),
    "a critical extension": critical,
    "endless": lambda liar, claims: liar.signed(claims | {"x": "y" * 20_000}),
    "no token": lambda liar, claims: "nonsense",
    "five parts": lambda liar, claims: liar.signed(claims) + ".a.b",
    "empty": lambda liar, claims: "",
}


@pytest.mark.spec(CORE, "3.1.3.7")
@pytest.mark.spec("RFC 8725", "3.1", "3.11")
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_forged_token_is_refused(liar, forge):
    token = forge(liar, liar.claims(NONCE, SUBJECT))
    with pytest.raises(NotBelieved):
        await believed(liar, token)


EC, RSA, ED = "EC", "RSA", "OKP"
MADE = {
    EC: lambda: ECKey.generate_key("P-256", auto_kid=True),
    RSA: lambda: RSAKey.generate_key(2048, auto_kid=True),
    ED: lambda: OKPKey.generate_key("Ed25519", auto_kid=True),
}


@pytest.mark.parametrize(
    ("kind", "alg"), [(EC, "ES256"), (RSA, "PS256"), (RSA, "RS256"), (ED, "Ed25519")], ids=str
)
@pytest.mark.parametrize("named", [True, False])
async def test_each_kind_of_key_counts_with_its_algorithm(liar, kind, alg, named):
    key = MADE[kind]()
    liar.published = [{n: v for n, v in key.as_dict(private=False).items() if n != "alg"}]
    more = {} if named else {"kid": None}
    token = liar.signed(liar.claims(NONCE, SUBJECT), key, alg=alg, **more)
    assert (await believed(liar, token, alg)).reference == SUBJECT
    with pytest.raises(NotBelieved):  # not named by the provider as one it signs with
        await believed(liar, token, *({"ES256", "RS256", "PS256", "Ed25519"} - {alg}))


async def test_without_a_name_only_the_one_key_that_fits_counts(liar):
    other = ECKey.generate_key("P-256", auto_kid=True)
    token = liar.signed(liar.claims(NONCE, SUBJECT), kid=None)
    liar.published.append(RSAKey.generate_key(2048, auto_kid=True).as_dict(private=False))
    assert (await believed(liar, token)).reference == SUBJECT
    liar.published.append(other.as_dict(private=False))
    with pytest.raises(NotBelieved):
        await believed(liar, token)


@pytest.mark.parametrize("acr", [None, "low", "high "])
async def test_where_the_way_of_proof_matters_no_other_counts(liar, acr):
    claims = liar.claims(NONCE, SUBJECT)
    assert (await believed(liar, liar.signed(claims | {"acr": "high"}), acr=("high", "best"))).acr == "high"
    with pytest.raises(NotBelieved):
        await believed(liar, liar.signed(claims | ({"acr": acr} if acr else {})), acr=("high", "best"))
