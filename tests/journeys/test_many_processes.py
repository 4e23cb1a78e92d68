"""Two servers on one database are one authorization server: what one of them does counts at the other, at once."""

import asyncio
import copy
import json
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TypeAlias

import asyncpg
import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from support import code_flow, live
from support.code_flow import BACK, Flow
from support.identities import Identity, certify
from support.live import Installation
from support.oauth_client import OAuthClient, new_key
from support.world import ISSUER, told

from compliance import keys

pytestmark = pytest.mark.check
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
PROFILE = "FAPI 2.0 Security Profile"
AT_ONCE = 64
ASKING_SECONDS = 0.3
LEARNT_SECONDS = 10
ROTATED_SECONDS = 60
"""With the time that the command takes to start."""


@dataclass(frozen=True)
class Pair:
    """One client and one person, and two servers that they reach it by."""

    place: Installation
    one: Flow
    other: Flow

    @property
    def both(self) -> tuple[Flow, Flow]:
        return self.one, self.other


@pytest.fixture
async def pair(database, home):
    """Whatever was started is gone afterwards."""
    limits = dict.fromkeys(("XINQIAO_CLIENT_CALLS_PER_MINUTE", "XINQIAO_GRANT_CALLS_PER_MINUTE"), "100000")
    async with (
        live.installation(database, home, XINQIAO_TRUSTED_PROXIES="127.0.0.1", **limits) as place,
        AsyncExitStack() as stack,
    ):
        first, second = await asyncio.gather(*(stack.enter_async_context(place.server()) for _ in range(2)))
        flow = await code_flow.begin(first)
        yield Pair(place, flow, replace(flow, http=second.http))
    live.wait_until(lambda: not live.at_home(home), "nothing is left behind")


def refused(answer: httpx2.Response, error: str, status: int) -> None:
    assert (answer.status_code, answer.json().get("error")) == (status, error), answer.text


def dead(answer: httpx2.Response) -> None:
    """A protected call whose token does not count."""
    assert (answer.status_code, answer.json().get("code")) == (401, "invalid_token"), answer.text
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def tell(capsys: pytest.CaptureFixture[str], measured: str) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{measured}\n")


async def own_token(flow: Flow) -> httpx2.Response:
    """The client asks in its own name."""
    return await flow.post("/oauth/token", {"grant_type": "client_credentials", "scope": "log grants"})


async def look(flow: Flow, tokens: dict, grant: str) -> httpx2.Response:
    """A cheap protected call."""
    path = f"/v1/grants/{grant}"
    headers = flow.oauth.call_headers("GET", ISSUER + path, tokens["access_token"])
    return await flow.http.get(path, headers=headers)


@pytest.mark.spec("RFC 6749", "4.1.2")
@pytest.mark.spec(PROFILE, "5.3.2.2-9")
async def test_of_many_redemptions_at_once_over_two_servers_one_succeeds(pair: Pair, owner):
    code = await pair.one.code()
    answers = await asyncio.gather(*(pair.both[n % 2].redeem(code) for n in range(AT_ONCE)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: AT_ONCE - 1}
    (given,) = (answer.json() for answer in answers if answer.status_code == 200)
    for answer in answers:
        if answer.status_code != 200:
            refused(answer, "invalid_grant", 400)
    for flow in pair.both:
        dead(await flow.score(given))
        refused(await flow.refresh(given["refresh_token"]), "invalid_grant", 400)
    told_of = dict(await owner.fetch("select kind, count(*) from compliance_fact group by kind"))
    assert (told_of["authorization_redeemed"], told_of["code_replayed"]) == (1, AT_ONCE - 1)


async def give_back(pair: Pair) -> None:
    tokens = await pair.one.tokens()
    told(await pair.other.score(tokens), 201)
    told(await pair.one.post("/oauth/revoke", {"token": tokens["access_token"]}, proof=False), 200)
    dead(await pair.other.score(tokens))
    fresh = tokens | told(await pair.other.refresh(tokens["refresh_token"]), 200)
    told(await pair.one.score(fresh), 201)
    told(await pair.other.post("/oauth/revoke", {"token": tokens["refresh_token"]}, proof=False), 200)
    for flow in pair.both:
        dead(await flow.score(fresh))
        refused(await flow.refresh(tokens["refresh_token"]), "invalid_grant", 400)


@pytest.mark.spec(PROFILE, "5.3.4-3")
@pytest.mark.spec("RFC 7009", "2.1")
async def test_a_token_given_back_and_a_consent_withdrawn_at_one_are_dead_at_the_other(pair: Pair, capsys):
    await give_back(pair)
    tokens = await pair.one.tokens()
    grant = tokens["grant_id"]
    told(await pair.other.score(tokens), 201)
    over = asyncio.Event()

    async def keep_looking() -> list[tuple[float, float, int]]:
        seen = []
        while not over.is_set():
            began = time.monotonic()
            status = (await look(pair.other, tokens, grant)).status_code
            seen.append((began, time.monotonic(), status))
        return seen

    looking = [asyncio.create_task(keep_looking()) for _ in range(2)]
    await asyncio.sleep(ASKING_SECONDS)
    withdrawn = await pair.one.browser.send_form(f"/me/grants/{grant}/withdraw")
    answered = time.monotonic()
    dead(await pair.other.score(tokens))
    await asyncio.sleep(ASKING_SECONDS)
    over.set()
    calls = sorted(call for client in await asyncio.gather(*looking) for call in client)
    assert withdrawn.headers["location"] == f"/me/grants/{grant}/withdrawn"
    assert {status for _, _, status in calls} == {200, 401}
    assert {status for began, _, status in calls if began > answered} == {401}
    last = max(began for began, _, status in calls if status == 200)
    first = min(ended for began, ended, status in calls if status == 401)
    tell(
        capsys,
        f"the last call that was let through began {(answered - last) * 1000:.1f} ms before the withdrawal was answered, "
        f"the first refusal was there {(first - answered) * 1000:.1f} ms after it",
    )
    refused(await pair.other.refresh(tokens["refresh_token"]), "invalid_grant", 400)


@pytest.mark.spec("RFC 7517", "5")
async def test_keys_rotate_under_two_servers_and_nobody_is_refused(pair: Pair, capsys):
    grant = (await pair.one.tokens())["grant_id"]
    old = [told(await own_token(flow), 200) for flow in pair.both]
    before = await jwks(pair.one)
    rotating = asyncio.create_task(pair.place.run("keys", "rotate"))
    rounds = []
    async with asyncio.timeout(ROTATED_SECONDS):
        while not rotating.done() or rounds[-1] != (before[0], before[0]):
            new = [told(await own_token(flow), 200) for flow in pair.both]
            for tokens in (*old, *new):
                for flow in pair.both:
                    told(await look(flow, tokens, grant), 200)
            rounds.append(tuple(map(signed_with, new)))
    changed_at = (pair.place.home / "keys" / keys.SIGNING).stat().st_mtime
    agreed_after_seconds = time.time() - changed_at
    said = json.loads((await rotating).stdout)
    assert (said["current"], said["retired"]) == (before[0], [before[1]])
    assert [await jwks(flow) for flow in pair.both] == [[said["next"], *before]] * 2
    assert agreed_after_seconds < LEARNT_SECONDS
    assert set(rounds[0]) == {before[1]}
    mixed = sum(len(set(kids)) > 1 for kids in rounds)
    tell(
        capsys,
        f"both servers signed with the new key within {agreed_after_seconds:.1f} s of the rotation; of {len(rounds)} "
        f"rounds of calls {mixed} were between tokens of different keys",
    )


def signed_with(tokens: dict) -> str:
    header: dict[str, str] = jws.extract_compact(tokens["access_token"].encode()).headers()
    return header["kid"]


async def jwks(flow: Flow) -> list[str]:
    return [key["kid"] for key in told(await flow.http.get("/.well-known/jwks.json"), 200)["keys"]]


async def test_what_changes_about_a_client_counts_everywhere_at_once(pair: Pair, owner):
    await suspend(pair, owner)
    await move(pair, owner)
    first = pair.one.oauth
    second = await replace_key(pair, owner, first)
    await replace_key(pair, owner, second, kid=second.key.kid)
    await take_certificates(pair, owner)


async def suspend(pair: Pair, owner: Owner) -> None:
    tokens = await pair.one.tokens()
    await be_remembered(pair)
    await change(owner, pair, "suspended_at = now(), suspended_by = 'worker:tests'")
    for flow in pair.both:
        refused(await own_token(flow), "invalid_client", 401)
        refused(await flow.refresh(tokens["refresh_token"]), "invalid_client", 401)
        dead(await flow.score(tokens))
    await change(owner, pair, "suspended_at = null, suspended_by = null")
    for flow in pair.both:
        told(await own_token(flow), 200)
        told(await flow.score(tokens), 201)


async def move(pair: Pair, owner: Owner) -> None:
    """The client gets another address to come back to."""
    await be_remembered(pair)
    await change(owner, pair, "redirect_uris = $2", [f"{BACK}/new"])
    for flow in pair.both:
        told(await flow.push(redirect_uri=f"{BACK}/new"), 201)
        refused(await flow.push(), "invalid_request", 400)


async def replace_key(pair: Pair, owner: Owner, old: OAuthClient, kid: str | None = None) -> OAuthClient:
    """The client gets another key, under a name of its own or under the one that is given."""
    await be_remembered(pair, old)
    key, new = new_key(old.alg), copy.copy(old)
    new.key = ECKey.import_key(key.as_dict(private=True) | ({"kid": kid} if kid else {}))
    await change(owner, pair, "jwks = $2::jsonb", json.dumps(new.jwks()))
    for flow in pair.both:
        told(await own_token(replace(flow, oauth=new)), 200)
        refused(await own_token(replace(flow, oauth=old)), "invalid_client", 401)
    return new


async def take_certificates(pair: Pair, owner: Owner) -> None:
    """The client is known by a certificate instead of a key, and then by another one."""
    first, second = (certify("CN=bank.example") for _ in range(2))
    await change(owner, pair, "method = 'self_signed_tls_client_auth', certificate_bound = true")
    for new, old in ((first, second), (second, first)):
        registered = {"keys": [{"kid": "one", "x5t#S256": new.thumbprint, **public_jwk(new)}]}
        await change(owner, pair, "jwks = $2::jsonb", json.dumps(registered))
        for flow in pair.both:
            told(await token_by_certificate(flow, new), 200)
            refused(await token_by_certificate(flow, old), "invalid_client", 401)
            refused(await own_token(flow), "invalid_client", 401)


async def token_by_certificate(flow: Flow, shown: Identity) -> httpx2.Response:
    """As the proxy passes it on."""
    form = {"grant_type": "client_credentials", "client_id": flow.oauth.client_id, "scope": "log"}
    return await flow.http.post("/oauth/token", data=form, headers={"Client-Cert": shown.header})


def public_jwk(identity: Identity) -> dict[str, str]:
    key = ECKey.import_key(identity.certificate_pem)
    return {name: str(key.as_dict(private=False)[name]) for name in ("kty", "crv", "x", "y")}


async def be_remembered(pair: Pair, client: OAuthClient | None = None) -> None:
    """Both servers know the client from now on, and need not read it again."""
    for flow in pair.both:
        told(await own_token(replace(flow, oauth=client or flow.oauth)), 200)


async def change(owner: Owner, pair: Pair, what: str, *values: object) -> None:
    """Change the client where it is registered, as a third process would."""
    done = await owner.execute(
        f"update api_client set {what} where client_id = $1", pair.one.oauth.client_id, *values
    )
    assert done == "UPDATE 1"
