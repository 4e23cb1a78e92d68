"""Signing in at the operator's provider: the whole way, and everything that can be wrong on it."""

import asyncio
import hashlib
import json
import re
import time
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from support import provider, world
from support.provider import CLIENT_ID, Liar, Visitor, named
from support.world import STORY, told

from api.oidc.discovery import Discovery, SignInUnavailable
from api.settings import Provider
from api.web import onward
from compliance import ids
from compliance.act import open_act
from compliance.vocabulary import StaffRole, UserId
from consent import people
from consent.people import NewPerson

CORE, DISCOVERY = "OpenID Connect Core 1.0", "OpenID Connect Discovery 1.0"
REFERENCE = "operator-4711"
COOKIE, SESSION = "__Host-xinqiao-sign-in", "__Host-xinqiao"
CLIENT, REQUEST = "bank.a~1", "urn:ietf:params:oauth:request_uri:" + "Ab3_-" * 9
LANGUAGES = pytest.mark.parametrize("language", ["en", "zh-CN"])


@pytest.fixture
async def here(database, home, monkeypatch):
    monkeypatch.setattr("api.passwords.COST", 2)
    async with provider.opened(database, home) as opened:
        yield opened


@pytest.fixture
async def both(database, home):
    async with provider.lying(database, home) as opened:
        yield opened


def b64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


async def somebody(reference: str = REFERENCE) -> UserId:
    """A person whom the operator knows by this reference."""
    async with open_act(STORY, None) as act:
        return (await people.bring(act, [NewPerson(reference, None, fictional=True)]))[reference]


async def sessions_of(owner) -> list[Any]:
    return await owner.fetch("select * from api_session order by signed_in_at")


# --- the whole way


@pytest.mark.spec(CORE, "3.1.2.1", "3.1.3.1")
async def test_who_signs_in_there_is_signed_in_here(here, owner):
    user = await named()
    visitor = Visitor(here)
    begun = datetime.now(UTC) - timedelta(seconds=2)
    answer = await visitor.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/me")
    (session,) = await sessions_of(owner)
    assert (session["user_id"], session["method"], session["acr"]) == (user, "openid_connect", None)
    assert begun < session["auth_time"] <= datetime.now(UTC)
    assert (await visitor.look("/me")).status_code == 200
    assert COOKIE not in visitor.cookies


async def test_what_we_ask_of_the_provider(here):
    asked = await Visitor(here, language="zh-CN").leave()
    assert {
        name: asked[name] for name in ("response_type", "client_id", "scope", "code_challenge_method")
    } == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "scope": "openid",
        "code_challenge_method": "S256",
    }
    assert asked["redirect_uri"] == f"{world.ISSUER}/sign-in/return"
    assert (asked["ui_locales"], asked["max_age"], "prompt" in asked) == ("zh-CN", "43200", False)
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) == 43
    assert len({asked[name] for name in ("state", "nonce", "code_challenge")}) == 3
    assert "acr_values" not in asked


async def test_the_cookie_that_waits_is_closed_and_says_nothing(here):
    answer = await here.http.get("/sign-in")
    (cookie,) = answer.headers.get_list("set-cookie")
    name, _, rest = cookie.partition("=")
    parts = {part.strip().lower() for part in rest.split(";")[1:]}
    assert name == COOKIE
    assert {"httponly", "secure", "samesite=lax", "path=/", "max-age=600"} == parts
    asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert not any(asked[secret] in cookie for secret in ("state", "nonce"))
    assert answer.headers["cache-control"] == "no-store"


async def test_signing_in_again_ends_the_session_before_it_and_adopts_no_cookie(here, owner):
    await named()
    visitor = Visitor(here, cookies={SESSION: "chosen-by-somebody"})
    await visitor.sign_in()
    first = visitor.cookies[SESSION]
    assert first != "chosen-by-somebody"
    await visitor.sign_in(fresh="yes")
    second = visitor.cookies[SESSION]
    rows = await sessions_of(owner)
    assert [row["ended_at"] is None for row in rows] == [False, True]
    assert rows[1]["token_hash"] == hashlib.sha256(second.encode()).digest()
    told(await here.http.get("/v1/me/grants", headers={"Cookie": f"{SESSION}={first}"}), 401)
    told(await here.http.get("/v1/me/grants", headers={"Cookie": f"{SESSION}={second}"}), 200)


async def test_how_somebody_signed_in_is_evidence_of_their_yes(here, owner):
    visitor = Visitor(here)
    await named()
    await visitor.sign_in()
    bank = await world.a_bank()
    asked = await world.asked(bank)
    body = {"categories": sorted(world.ALL), "language": "en"}
    path = f"/v1/me/grants/{ids.public('gnt', asked.id)}/approve"
    headers = visitor.headers | {"Origin": world.ISSUER, "Idempotency-Key": str(uuid4()), "Accept": "*/*"}
    told(await here.http.post(path, json=body, headers=headers), 200)
    evidence = json.loads(await owner.fetchval("select evidence from consent_grant"))
    assert evidence["method"] == "openid_connect"
    (session,) = await sessions_of(owner)
    assert datetime.fromisoformat(evidence["auth_time"]) == session["auth_time"]


# --- where a person goes on to


PLACES = {
    "/me": {"to": "/me"},
    "/me/grants/gnt_1": {"to": "/me/grants/gnt_1"},
    "/ask/gnt_1": {"to": "/ask/gnt_1"},
}
ELSEWHERE = [
    {"to": "https://evil.example"},
    {"to": "//evil.example"},
    {"to": "/\\evil.example"},
    {"to": "/me/..//evil.example"},
    {"to": "/me?x=https://evil.example"},
    {"to": "/me\r\nSet-Cookie: a=b"},
    {"to": "/me\n"},
    {"to": "/sign-out"},
    {"to": "/compliance"},
    {"to": "/me" + "/a" * 5},
    {"to": "/me/" + "a" * 65},
    {"next": "https://evil.example", "redirect_uri": "https://evil.example", "return_to": "//evil.example"},
    {"client_id": CLIENT},
    {"request_uri": REQUEST},
    {"client_id": "", "request_uri": REQUEST},
    {"client_id": "a" * 129, "request_uri": REQUEST},
    {"client_id": "a&redirect_uri=https://evil.example", "request_uri": REQUEST},
    {"client_id": "bank\n", "request_uri": REQUEST},
    {"client_id": "银行", "request_uri": REQUEST},
    {"client_id": CLIENT, "request_uri": "https://evil.example"},
    {"client_id": CLIENT, "request_uri": "//evil.example"},
    {"client_id": CLIENT, "request_uri": REQUEST + "\r\nSet-Cookie: a=b"},
    {"client_id": CLIENT, "request_uri": REQUEST + "\n"},
    {"client_id": CLIENT, "request_uri": "urn:ietf:params:oauth:request_uri:" + "a" * 19},
    {"client_id": CLIENT, "request_uri": "urn:ietf:params:oauth:request_uri:" + "a" * 129},
]


@pytest.mark.parametrize(("place", "said"), PLACES.items())
def test_a_page_of_ours_is_gone_on_to(place, said):
    for more in ({}, {"fresh": "yes"}):
        read = onward.read(said | more)
        assert read == onward.Onward(place, fresh=bool(more))
        assert onward.read(dict(parse_qsl(urlsplit(read.address).query))) == read


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1-7")
@pytest.mark.parametrize("said", ELSEWHERE, ids=str)
def test_nothing_else_leads_anywhere(said):
    assert onward.read(said) == onward.Onward("/me")


async def test_the_request_that_waits_goes_along(here):
    await named()
    wanted = {"client_id": CLIENT, "request_uri": REQUEST}
    address = onward.read(wanted).address
    assert dict(parse_qsl(urlsplit(address).query, strict_parsing=True)) == wanted
    visitor = Visitor(here)
    answer = await visitor.sign_in(**wanted)
    went = urlsplit(answer.headers["location"])
    assert (answer.status_code, went.scheme, went.netloc, went.path) == (303, "", "", "/oauth/authorize")
    assert dict(parse_qsl(went.query, strict_parsing=True)) == wanted
    again = await visitor.look(address)
    assert (again.status_code, again.headers["location"]) == (303, answer.headers["location"])
    assert "set-cookie" not in again.headers
    assert "/authorize?" in (await visitor.look("/sign-in", fresh="yes", **wanted)).headers["location"]


async def test_only_a_person_is_signed_in_already(here):
    console = await here.console(StaffRole.AUDITOR)
    for cookie in (console.cookie, f"{SESSION}=nothing"):
        answer = await here.http.get("/sign-in", headers={"Cookie": cookie})
        assert answer.headers["location"].startswith("http://127.0.0.1:")


# --- coming back


async def refused(visitor: Visitor, answer: Any, status: int, code: str, owner: Any) -> None:
    """A page in the visitor's language that says what happened; nobody is signed in."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert f'<html lang="{visitor.language}">' in answer.text
    assert f"/problems/{code}" in answer.text
    assert SESSION not in visitor.cookies
    assert await owner.fetchval("select count(*) from api_session") == 0


@LANGUAGES
async def test_a_no_is_told_kindly(here, owner, language):
    visitor = Visitor(here, language)
    asked = await visitor.leave()
    no = {"error": "access_denied", "state": asked["state"], "iss": here.settings.provider.issuer}
    await refused(visitor, await visitor.look("/sign-in/return", **no), 403, "sign_in_cancelled", owner)


@LANGUAGES
async def test_who_is_unknown_is_told_so_and_gets_no_session(both, owner, language):
    here, liar = both
    visitor = Visitor(here, language)
    asked = await visitor.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], "somebody-else"))
    answer = await visitor.come_back(liar.back(asked))
    await refused(visitor, answer, 403, "person_unknown", owner)
    assert ("We hold nothing about you" if language == "en" else "我们没有您的任何数据") in answer.text


async def test_the_same_answer_counts_once_also_twice_at_once(both, owner):
    here, liar = both
    await somebody()
    visitor = Visitor(here)
    asked = await visitor.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE))
    path = liar.back(asked).removeprefix(world.ISSUER)
    headers = visitor.headers
    answers = await asyncio.gather(*(here.http.get(path, headers=headers) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [303] + [410] * 7
    assert (await here.http.get(path, headers=headers)).status_code == 410
    assert (len(await sessions_of(owner)), len(liar.redeemed)) == (1, 1)


@pytest.mark.spec("RFC 9700", "4.7.1")
async def test_an_answer_belongs_to_the_browser_that_asked(both, owner):
    """Nobody is signed in as an attacker, by an address that the attacker made them open."""
    here, liar = both
    await somebody()
    attacker, victim = Visitor(here), Visitor(here)
    asked = await attacker.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE))
    await refused(victim, await victim.come_back(liar.back(asked)), 410, "sign_in_expired", owner)
    await victim.leave()  # also where the victim is on the way to sign in
    await refused(victim, await victim.come_back(liar.back(asked)), 410, "sign_in_expired", owner)
    assert liar.redeemed == []


async def test_a_cookie_that_we_did_not_seal_is_none(both, owner):
    here, liar = both
    visitor = Visitor(here)
    asked = await visitor.leave()
    for cookie in ("", "x", "é", "A" * 5_000, b64(bytes(60))):
        headers = {"Cookie": f"{COOKIE}={cookie}".encode(), "Accept": "text/html", "Accept-Language": "en"}
        answer = await here.http.get(liar.back(asked).removeprefix(world.ISSUER), headers=headers)
        await refused(visitor, answer, 410, "sign_in_expired", owner)


async def test_an_attempt_lapses(both, owner, monkeypatch):
    here, liar = both
    visitor = Visitor(here)
    asked = await visitor.leave()
    later = time.time() + 601
    monkeypatch.setattr("api.web.sign_in.time.time", lambda: later)
    await refused(visitor, await visitor.come_back(liar.back(asked)), 410, "sign_in_expired", owner)


ODD_ANSWERS: list[tuple[dict[str, str], int, str]] = [
    ({"iss": "https://evil.example"}, 403, "sign_in_not_proven"),
    ({"iss": ""}, 403, "sign_in_not_proven"),
    ({"iss": "", "code": "", "error": "access_denied"}, 403, "sign_in_not_proven"),
    ({"code": "", "error": "login_required"}, 403, "sign_in_cancelled"),
    ({"code": "", "error": "temporarily_unavailable"}, 503, "sign_in_unavailable"),
    ({"code": "", "error": "invalid_request"}, 503, "sign_in_unavailable"),
    ({"code": "", "error": "<script>"}, 503, "sign_in_unavailable"),
    ({"code": ""}, 403, "sign_in_not_proven"),
    ({"state": "x"}, 410, "sign_in_expired"),
    ({"state": ""}, 410, "sign_in_expired"),
    ({"state": "é\u0378"}, 403, "sign_in_not_proven"),
    ({"code": "a\x00b"}, 403, "sign_in_not_proven"),
    ({"code": "x" * 2_049}, 403, "sign_in_not_proven"),
]


@pytest.mark.spec("RFC 9207", "2.4")
async def test_an_answer_that_is_not_right_is_not_redeemed(both, owner, subtests):
    here, liar = both
    for said, status, code in ODD_ANSWERS:
        with subtests.test(str(said)[:60]):
            visitor = Visitor(here)
            asked = await visitor.leave()
            await refused(visitor, await visitor.come_back(liar.back(asked, **said)), status, code, owner)
    assert liar.redeemed == []


async def test_nothing_comes_twice(both, owner):
    here, liar = both
    for name in ("state", "code", "iss", "error"):
        visitor = Visitor(here)
        asked = await visitor.leave()
        twice = liar.back(asked) + f"&{urlencode([(name, 'a'), (name, 'a')])}"
        await refused(visitor, await visitor.come_back(twice), 403, "sign_in_not_proven", owner)
    assert liar.redeemed == []


async def test_a_provider_that_names_no_issuer_in_its_answers_need_not(both, owner):
    here, liar = both
    await somebody()
    liar.metadata["authorization_response_iss_parameter_supported"] = False
    visitor = Visitor(here)
    asked = await visitor.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE))
    assert (await visitor.come_back(liar.back(asked, iss=""))).status_code == 303
    other = Visitor(here)
    asked = await other.leave()
    wrong = await other.come_back(liar.back(asked, iss="https://evil.example"))
    assert wrong.status_code == 403


async def test_after_a_no_a_person_can_go_where_they_wanted_to(both):
    here, liar = both
    visitor, wanted = Visitor(here), {"client_id": CLIENT, "request_uri": REQUEST}
    asked = await visitor.leave(**wanted)
    page = await visitor.come_back(liar.back(asked, code="", error="access_denied"))
    again = re.search(r'href="(/sign-in\?[^"]*)"', page.text)
    assert again
    assert dict(parse_qsl(urlsplit(unescape(again[1])).query)) == wanted


async def test_somebody_elses_code_is_of_no_use(here, owner):
    """An attacker puts their own code into the victim's answer, or the victim's into their own."""
    await named()
    await named("wang")
    attacker, victim = Visitor(here), Visitor(here)
    theirs = dict(parse_qsl(urlsplit((await attacker.at_provider("wang")).headers["location"]).query))
    asked = await victim.leave()
    answer = await victim.look("/sign-in/return", **theirs | {"state": asked["state"]})
    await refused(victim, answer, 403, "sign_in_not_proven", owner)


# --- the ID token; tests/api/test_id_token.py has the rest


@LANGUAGES
async def test_a_token_that_is_not_believed_signs_nobody_in(both, owner, language):
    here, liar = both
    await somebody()
    for changes in ({"nonce": "x" * 43}, {"aud": "somebody"}, {"auth_time": 1}):
        visitor = Visitor(here, language)
        asked = await visitor.leave()
        liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE) | changes)
        answer = await visitor.come_back(liar.back(asked))
        await refused(visitor, answer, 403, "sign_in_not_proven", owner)
    visitor = Visitor(here)
    asked = await visitor.leave()
    other = ECKey.generate_key("P-256", {"kid": liar.key.kid})
    liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE), other)
    await refused(visitor, await visitor.come_back(liar.back(asked)), 403, "sign_in_not_proven", owner)


async def test_keys_of_a_provider_that_signs_with_rsa_count(both):
    here, liar = both
    await somebody()
    key = RSAKey.generate_key(2048, auto_kid=True)
    liar.published = [key.as_dict(private=False) | {"alg": "RS256", "use": "sig"}]
    liar.metadata["id_token_signing_alg_values_supported"] = ["RS256"]
    visitor = Visitor(here)
    asked = await visitor.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE), key, alg="RS256")
    assert (await visitor.come_back(liar.back(asked))).status_code == 303


@pytest.mark.parametrize(("acr", "status"), [("high", 303), ("low", 403)])
async def test_where_it_matters_how_people_prove_who_they_are_nothing_else_counts(
    database, home, owner, acr, status
):
    async with provider.lying(database, home, acr=("high", "higher")) as (here, liar):
        await somebody()
        visitor = Visitor(here)
        asked = await visitor.leave()
        assert asked["acr_values"] == "high higher"
        liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE) | {"acr": acr})
        assert (await visitor.come_back(liar.back(asked))).status_code == status
    assert await owner.fetchval("select max(acr) from api_session") == ("high" if status == 303 else None)


# --- redeeming the code


@pytest.mark.spec("RFC 7523", "2.2", "3")
@pytest.mark.spec("RFC 7636", "4.5")
async def test_we_prove_who_we_are_with_a_key_that_we_publish(both):
    here, liar = both
    await somebody()
    visitor = Visitor(here)
    asked = await visitor.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE))
    await visitor.come_back(liar.back(asked))
    (form,) = liar.redeemed
    assert (form["grant_type"], form["code"], form["redirect_uri"]) == (
        "authorization_code",
        "a-code",
        f"{world.ISSUER}/sign-in/return",
    )
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert b64(digest) == asked["code_challenge"]
    published = told(await here.http.get("/.well-known/jwks.json"), 200)
    claims = jwt.decode(
        form["client_assertion"], KeySet.import_key_set(published), algorithms=["ES256"]
    ).claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == (CLIENT_ID, CLIENT_ID, liar.issuer)
    assert 0 < claims["exp"] - time.time() <= 60
    assert liar.authorized == [""]


@pytest.mark.spec("RFC 6749", "2.3.1")
async def test_or_with_a_secret_from_a_file(database, home, tmp_path):
    file = tmp_path / "secret"
    file.write_text("s:e c+r%et\nmore\n")
    async with provider.lying(database, home, secret_file=file) as (here, liar):
        await somebody()
        for gone in (False, True):
            visitor = Visitor(here)
            asked = await visitor.leave()
            liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE))
            if gone:
                file.unlink()
            answer = await visitor.come_back(liar.back(asked))
            assert answer.status_code == (503 if gone else 303)
    # What RFC 6749 appendix B makes of it, in base64: xinqiao:s%3Ae+c%2Br%25et
    assert liar.authorized == ["Basic eGlucWlhbzpzJTNBZStjJTJCciUyNWV0"]
    assert "client_assertion" not in liar.redeemed[0]


TOKEN_ANSWERS = [
    (400, {"error": "invalid_grant"}, 403, "sign_in_not_proven"),
    (401, {"error": "invalid_client"}, 503, "sign_in_unavailable"),
    (500, {}, 503, "sign_in_unavailable"),
    (303, {}, 503, "sign_in_unavailable"),
    (200, {}, 403, "sign_in_not_proven"),
    (200, {"id_token": 5}, 403, "sign_in_not_proven"),
    (200, {"id_token": "x", "pad": "y" * 70_000}, 503, "sign_in_unavailable"),
]


@LANGUAGES
async def test_whatever_the_provider_says_is_told_as_a_page(both, owner, language, subtests):
    here, liar = both
    for said, body, status, code in TOKEN_ANSWERS:
        with subtests.test(f"{said} {body}"[:60]):
            visitor = Visitor(here, language)
            asked = await visitor.leave()
            liar.status, liar.token = said, body
            await refused(visitor, await visitor.come_back(liar.back(asked)), status, code, owner)


# --- the provider's metadata


WRONG_METADATA = [
    {"issuer": "https://evil.example"},
    {"issuer": 5},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"authorization_endpoint": "http://evil.example/authorize"},
    {"authorization_endpoint": "https://evil.example/a#b"},
    {"authorization_endpoint": "https://evil.example/\r\nSet-Cookie: a=b"},
    {"token_endpoint": "http://10.0.0.1/"},
    {"token_endpoint": "file:///etc/passwd"},
    {"jwks_uri": "https://[::1"},
    {"jwks_uri": None},
    {"end_session_endpoint": "http://evil.example"},
    {"id_token_signing_alg_values_supported": ["HS256", "none"]},
    {"id_token_signing_alg_values_supported": []},
]


@pytest.mark.spec(DISCOVERY, "4.3")
async def test_a_provider_that_describes_itself_wrongly_is_not_gone_to(subtests):
    liar = Liar()
    right = dict(liar.metadata)
    async with provider.served(liar.app(), liar.issuer):
        assert (await Discovery(liar.issuer, allow_private=True).metadata()).issuer == liar.issuer
        for changes in WRONG_METADATA:
            with subtests.test(str(changes)):
                liar.metadata = right | changes
                with pytest.raises(SignInUnavailable):
                    await Discovery(liar.issuer, allow_private=True).metadata()
        liar.metadata = right
        with pytest.raises(SignInUnavailable):  # in production, nothing on this machine
            await Discovery(liar.issuer, allow_private=False).metadata()


async def test_an_outage_is_looked_at_again_soon_and_not_noticed_once_we_know():
    liar, now = Liar(), 1_000.0
    issuer, liar.metadata["issuer"] = liar.issuer, "broken"
    async with provider.served(liar.app(), issuer):
        known = Discovery(issuer, allow_private=True, clock=lambda: now)
        for seconds, described in ((0, 1), (4, 1), (5, 2)):
            now = 1_000.0 + seconds
            with pytest.raises(SignInUnavailable):
                await known.metadata()
            assert liar.described == described
        liar.metadata["issuer"], now = issuer, 1_020.0
        await known.metadata()
        liar.metadata["issuer"] = "broken"
        for seconds in (700, 80_000):
            now = 1_020.0 + seconds
            assert (await known.metadata()).issuer == issuer
        now = 1_020.0 + 86_401
        with pytest.raises(SignInUnavailable):
            await known.metadata()


@LANGUAGES
async def test_a_provider_that_is_down_is_told_as_a_page(database, home, owner, language):
    async with world.opened(database, home, provider=Provider("http://127.0.0.1:9")) as here:
        visitor = Visitor(here, language)
        await refused(visitor, await visitor.look("/sign-in"), 503, "sign_in_unavailable", owner)
        assert (await visitor.look("/signed-out")).status_code == 200


async def test_where_none_is_connected_it_says_so(database, home, owner):
    async with world.opened(database, home, installation="production") as here:
        visitor = Visitor(here)
        for path in ("/sign-in", "/sign-in/return?state=a&code=b"):
            answer = await visitor.look(path)
            assert answer.status_code in (410, 503)
        assert (await visitor.look("/signed-out")).status_code == 200


async def test_it_is_asked_about_itself_once_and_again_only_after_a_while(both):
    here, liar = both
    await asyncio.gather(*(Visitor(here).leave() for _ in range(5)))
    assert liar.described == 1
    liar.metadata["issuer"] = "broken"
    await Visitor(here).leave()
    assert liar.described == 1


# --- the sessions that come of it


async def test_a_session_that_is_not_used_ends(here, owner):
    await named()
    visitor = Visitor(here)
    await visitor.sign_in()
    for minutes, status in ((14, 200), (14, 200), (16, 401)):
        await owner.execute(f"update api_session set used_at = used_at - interval '{minutes} minutes'")
        assert (await visitor.look("/me")).status_code == status


async def test_signing_out_ends_it_and_names_the_provider(both, owner):
    here, liar = both
    await somebody()
    liar.metadata["end_session_endpoint"] = f"{liar.issuer}/out?x=1"
    visitor = Visitor(here)
    asked = await visitor.leave()
    liar.token = liar.signed(liar.claims(asked["nonce"], REFERENCE))
    await visitor.come_back(liar.back(asked))
    browser = world.Browser(here.http, f"{SESSION}={visitor.cookies[SESSION]}")
    assert (await browser.send_form("/sign-out")).headers["location"] == "/signed-out"
    assert (await visitor.look("/me")).status_code == 401
    page = (await visitor.look("/signed-out")).text
    there = urlencode({"client_id": CLIENT_ID, "post_logout_redirect_uri": f"{world.ISSUER}/signed-out"})
    assert f"{liar.issuer}/out?x=1&amp;{there.replace('&', '&amp;')}" in page
    assert (await sessions_of(owner))[0]["ended_at"]


@LANGUAGES
async def test_a_page_that_needs_a_session_leads_to_sign_in_and_back(here, language):
    await named()
    visitor = Visitor(here, language)
    page = await visitor.look("/me/log")
    assert (page.status_code, 'href="/sign-in?to=%2Fme%2Flog"' in page.text) == (401, True)
    answer = await visitor.sign_in(to="/me/log")
    assert answer.headers["location"] == "/me/log"
    console = await visitor.look("/compliance")
    assert (console.status_code, "/sign-in?" in console.text) == (401, False)
