"""Keys that clients publish: kept for a while, looked for again seldom, missed for no short outage."""

import asyncio
import logging
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from support import oauth_app, world
from support.oauth_client import OAuthClient, new_key

from api.oauth import clients, published_keys
from api.oauth.keys import KeyUnusable
from api.oauth.published_keys import PublishedKeys
from api.outgoing import NotFetched
from compliance.act import open_act, open_upkeep
from compliance.vocabulary import Worker

ADDRESS = "https://keys.alpha.example/jwks"
EC, OTHER, RSA = new_key("ES256"), new_key("ES256"), new_key("PS256")


def public(key, **changes):
    return key.as_dict(private=False) | changes


@dataclass
class Published:
    """An address, what it says, and how often it was asked."""

    says: object = field(default_factory=lambda: {"keys": [public(EC)]})
    asked: int = 0
    now: float = 1_000_000.0

    async def fetch(self, address: str, *, allow_private: bool) -> object:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def kept(self) -> PublishedKeys:
        return PublishedKeys(self.fetch, lambda: self.now)


@pytest.fixture
def there():
    return Published()


async def kids(kept: PublishedKeys, kid: str | None = None, address: str = ADDRESS) -> set[str]:
    return set(await kept.at(address, kid, allow_private=False))


async def test_keys_are_kept_for_ten_minutes(there):
    kept = there.kept()
    for _ in range(3):
        assert await kids(kept) == {EC.kid}
    there.now += 600
    await kids(kept)
    assert there.asked == 1
    there.now += 1
    await kids(kept)
    assert there.asked == 2


async def test_an_unknown_key_is_looked_for_once_a_minute(there):
    kept = there.kept()
    assert await kids(kept, EC.kid) == {EC.kid}
    there.says = {"keys": [public(EC), public(OTHER)]}
    there.now += 59
    assert await kids(kept, OTHER.kid) == {EC.kid}
    there.now += 1
    assert await kids(kept, OTHER.kid) == {EC.kid, OTHER.kid}
    for _ in range(100):
        await kids(kept, "nonsense")
    assert there.asked == 2


async def test_a_key_that_was_taken_away_counts_no_more(there):
    kept = there.kept()
    await kids(kept)
    there.says = {"keys": [public(OTHER)]}
    there.now += 601
    assert await kids(kept, EC.kid) == {OTHER.kid}


@pytest.mark.parametrize("outage", [NotFetched("down"), {"keys": []}, "junk"], ids=["down", "empty", "junk"])
async def test_an_outage_of_a_day_is_bridged_and_no_longer(there, outage):
    kept = there.kept()
    await kids(kept)
    there.says = outage
    there.now += 86_400
    assert await kids(kept) == {EC.kid}
    there.now += 1
    assert await kids(kept) == set()
    there.says = {"keys": [public(EC)]}
    assert await kids(kept) == set()  # asked a second ago
    there.now += 60
    assert await kids(kept) == {EC.kid}


async def test_an_address_that_fails_is_asked_once_a_minute(there):
    kept, there.says = there.kept(), NotFetched("down")
    for _ in range(120):
        assert await kids(kept, EC.kid) == set()
        there.now += 1
    assert there.asked == 2


async def test_many_at_once_wait_for_one_answer(there):
    kept = there.kept()
    assert await asyncio.gather(*(kids(kept, EC.kid) for _ in range(50))) == [{EC.kid}] * 50
    assert there.asked == 1


async def test_no_more_than_a_thousand_addresses_are_kept(there):
    kept = there.kept()
    for number in range(1_001):
        await kids(kept, address=f"{ADDRESS}/{number}")
    await kids(kept, address=f"{ADDRESS}/1000")
    assert there.asked == 1_001
    await kids(kept, address=f"{ADDRESS}/0")
    assert there.asked == 1_002
    assert len(kept._known) == 1_000


async def test_a_failure_is_logged_without_the_address(there, capsys):
    kept, there.says = there.kept(), NotFetched(ADDRESS)
    await kids(kept)
    said = capsys.readouterr()
    assert "client_keys_not_fetched" in said.out + said.err
    assert "keys.alpha" not in said.out + said.err
    assert logging.getLogger().level >= logging.INFO


# --- what counts of a set


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.4.2-2")
@pytest.mark.spec("RFC 7517", "5")
def test_what_we_do_not_use_is_passed_over():
    document = {
        "keys": [
            public(EC, x5u="https://evil.example", jku="https://evil.example", x5c=["junk"]),
            public(RSA),
            public(OTHER, use="enc"),
            public(new_key("ES384")),
            {"kty": "AKP", "alg": "ML-DSA-44", "pub": "x"},
            "junk",
            {},
        ],
        "more": 1,
    }
    found = published_keys.read(document)
    assert {kid: key.alg for kid, key in found.items()} == {EC.kid: "ES256", RSA.kid: "PS256"}


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.4.2-3")
@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": {}},
        {"keys": []},
        {"keys": [public(EC)] * 33},
        {"keys": [public(EC), public(OTHER, kid=EC.kid)]},
        {"keys": [public(EC), public(EC)]},
        {"keys": [public(EC), OTHER.as_dict(private=True)]},
        {"keys": [public(EC), {"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": [public(EC, use="enc")]},
    ],
    ids=["null", "list", "empty", "object", "none", "many", "one id", "twice", "private", "secret", "unfit"],
)
def test_a_set_that_cannot_be_relied_on_is_refused_as_a_whole(document):
    with pytest.raises(KeyUnusable):
        published_keys.read(document)


# --- with a client


async def test_a_client_signs_with_the_keys_it_publishes(database, home, owner, monkeypatch, there):
    monkeypatch.setattr(clients, "PUBLISHED", there.kept())
    async with world.opened(database, home) as here:
        partner = await oauth_app.a_partner(owner)
        software = OAuthClient(f"client-{uuid4()}", world.ISSUER)
        there.says = software.jwks()
        async with open_act(Worker("tests"), None) as act:
            await clients.register_client(
                act, client_id=software.client_id, partner=partner, scopes=["scores"], jwks_uri=ADDRESS
            )
        assert (await oauth_app.ask(here.http, software)).status_code == 200
        software.key = new_key("ES256")
        assert (await oauth_app.ask(here.http, software)).status_code == 401
        there.says, there.now = software.jwks(), there.now + 60
        assert (await oauth_app.ask(here.http, software)).status_code == 200
        assert there.asked == 2


async def test_no_transaction_is_open_while_keys_are_fetched(ground, owner, monkeypatch, there):
    monkeypatch.setattr(clients, "PUBLISHED", PublishedKeys(lambda *_, **__: fetched()))

    async def fetched() -> object:
        async with open_upkeep():  # they do not nest: this raises while another one is open
            return there.says

    partner = await oauth_app.a_partner(owner)
    async with open_act(Worker("tests"), None) as act:
        await clients.register_client(
            act, client_id="new", partner=partner, scopes=["scores"], jwks_uri=ADDRESS
        )
    found = await clients.find("new", EC.kid)
    assert set(found.keys) == {EC.kid}
