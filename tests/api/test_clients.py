"""Clients of partners: what they may be registered with, that two people let them in, and that they can be stopped."""

import asyncio
import json
from base64 import b64encode
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from support import identities, live, oauth_app, world
from support.live import Installation
from support.oauth_client import OAuthClient, new_key
from support.world import told

from api import operating
from api.oauth import certificates, clients, registration
from api.oauth.clients import ClientNotProposed
from api.oauth.keys import PRIVATE_MEMBERS
from api.oauth.scopes import Scope
from api.running import Standing
from api.settings import Settings
from compliance import ids
from compliance.act import open_act, open_view
from compliance.refusals import NotFound, SamePerson, Unacceptable
from compliance.vocabulary import OFFERED, PartnerId, Purpose, Staff, StaffId, StaffRole

MANAGER, OFFICER = (
    Staff(StaffId(uuid4()), role) for role in (StaffRole.PARTNER_MANAGER, StaffRole.COMPLIANCE_OFFICER)
)
PARTNER = PartnerId(uuid4())
KEY = new_key("ES256")
JWKS = {"keys": [KEY.as_dict(private=False)]}
BACK = "https://alpha.example/back"
SUBJECT = "CN=client.alpha.example,O=Alpha\\, Bank,C=CN"


def wanted(**changes):
    """A right registration, unless something is changed; None takes a member away."""
    right = {"client_id": "new", "partner": PARTNER, "scopes": ["scores"], "jwks": JWKS}
    return {name: value for name, value in (right | changes).items() if value is not None}


def checked(loopback=False, **changes):
    return registration.check(wanted(**changes), loopback=loopback)


def faults(loopback=False, **changes) -> set[tuple[str, str]]:
    with pytest.raises(Unacceptable) as refusal:
        checked(loopback, **changes)
    return {(fault.pointer, fault.code) for fault in refusal.value.faults}


# --- what is checked


def test_what_is_left_out_has_its_default():
    columns = checked()
    assert columns["method"] == "private_key_jwt"
    assert columns["redirect_uris"] == []
    assert columns["certificate_bound"] is False
    assert set(columns["purposes"]) == set(Purpose) - {Purpose.MODEL_DEVELOPMENT, Purpose.SELF_VIEW}


GOOD_ADDRESSES = [
    BACK,
    "https://alpha.example",
    "https://alpha.example:8443/a/b?c=d&e=%2F",
    "https://[2606:4700::1111]/back",
]
LOOPBACK_ADDRESSES = ["http://127.0.0.1:3000/back", "http://[::1]/back", "http://localhost/back"]
BAD_ADDRESSES = [
    "",
    "/back",
    "alpha.example/back",
    "//alpha.example/back",
    "http://alpha.example/back",
    "ftp://alpha.example/back",
    "javascript:alert(1)",
    "alpha:/back",
    "https:///back",
    "https://alpha.example/back#",
    "https://alpha.example/back#here",
    "https://user@alpha.example/back",
    "https://user:word@alpha.example/back",
    "https://@alpha.example/back",
    "https://*.alpha.example/back",
    "https://alpha.example/*",
    "https://alpha.example/ back",
    "https://alpha.example/back\n",
    "https://alpha.example/回",
    "https://阿.example/back",
    "https://alpha.example\\@evil.example/back",
    "https://alpha.example:notaport/",
    "https://alpha.example:99999/",
    "https://[::1/back",
    "https://alpha.example/" + "a" * 500,
    "http://127.0.0.1.evil.example/back",
    "http://10.0.0.1/back",
    "http://127.0.0.2/back",
]


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2-8")
@pytest.mark.parametrize("address", GOOD_ADDRESSES)
def test_https_addresses_are_kept_as_they_came(address):
    assert checked(redirect_uris=[address])["redirect_uris"] == [address]
    assert checked(jwks=None, jwks_uri=address)["jwks_uri"] == address


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2-8")
@pytest.mark.spec("RFC 9700", "4.1.3")
@pytest.mark.parametrize("address", BAD_ADDRESSES)
@pytest.mark.parametrize("loopback", [False, True])
def test_other_addresses_are_named(address, loopback):
    found = faults(loopback, redirect_uris=[BACK, address])
    assert found == {("/redirect_uris/1", "address_unusable")}
    assert faults(loopback, jwks=None, jwks_uri=address) == {("/jwks_uri", "address_unusable")}


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.2-8")
@pytest.mark.parametrize("address", LOOPBACK_ADDRESSES)
def test_http_on_this_machine_is_for_development(address):
    assert checked(loopback=True, redirect_uris=[address])["redirect_uris"] == [address]
    assert faults(redirect_uris=[address]) == {("/redirect_uris/0", "address_unusable")}


@given(st.text(max_size=60))
def test_no_text_as_an_address_crashes_or_gets_past(text):
    for address in (text, f"https://{text}", f"https://alpha.example/{text}"):
        try:
            (kept,) = checked(redirect_uris=[address])["redirect_uris"]
        except Unacceptable:
            continue
        assert kept == address
        assert address.startswith("https://")
        assert address.isascii()
        assert not set(address) & set("#*@ \\") or "@" in address.split("/", 3)[-1]


def test_there_are_at_most_ten_addresses():
    ten = [f"{BACK}/{n}" for n in range(10)]
    assert checked(redirect_uris=ten)["redirect_uris"] == sorted(ten)
    assert faults(redirect_uris=[*ten, BACK]) == {("/redirect_uris", "too_many")}


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.3.2.1-3", "5.3.2.1-6")
@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"client_id": ""}, "/client_id", "malformed"),
        ({"client_id": ".."}, "/client_id", "malformed"),
        ({"client_id": "a b"}, "/client_id", "malformed"),
        ({"client_id": "a\x00"}, "/client_id", "malformed"),
        ({"client_id": "a" * 129}, "/client_id", "malformed"),
        ({"scopes": []}, "/scopes", "unknown_scope"),
        ({"scopes": ["everything"]}, "/scopes", "unknown_scope"),
        ({"purposes": []}, "/purposes", "unknown_purpose"),
        ({"purposes": ["self_view"]}, "/purposes", "unknown_purpose"),
        ({"purposes": ["anything"]}, "/purposes", "unknown_purpose"),
        ({"method": "client_secret_basic"}, "/method", "unknown_method"),
        ({"method": "none"}, "/method", "unknown_method"),
        ({"jwks": None}, "/method", "means_unfit"),
        ({"jwks_uri": BACK}, "/method", "means_unfit"),
        ({"tls_subject": SUBJECT}, "/method", "means_unfit"),
        ({"method": "tls_client_auth"}, "/method", "means_unfit"),
        ({"method": "tls_client_auth", "tls_subject": SUBJECT}, "/method", "means_unfit"),
        ({"method": "tls_client_auth", "jwks": None}, "/method", "means_unfit"),
        (
            {"method": "self_signed_tls_client_auth", "jwks": None, "jwks_uri": BACK},
            "/method",
            "means_unfit",
        ),
        ({"jwks": {}}, "/jwks/keys", "malformed"),
        ({"jwks": {"keys": [KEY.as_dict(private=True)]}}, "/jwks/keys/0", "key_unusable"),
    ],
)
def test_what_cannot_be_registered_is_named(changes, pointer, code):
    assert faults(**changes) == {(pointer, code)}


def test_all_faults_are_named_at_once():
    found = faults(client_id="", scopes=[], purposes=[], redirect_uris=["x"], jwks={})
    assert {pointer for pointer, _ in found} == {
        "/client_id",
        "/scopes",
        "/purposes",
        "/redirect_uris/0",
        "/jwks/keys",
    }


# --- certificates


def by_subject(subject):
    return {"method": "tls_client_auth", "jwks": None, "tls_subject": subject}


@pytest.mark.spec("RFC 8705", "2.1.2")
def test_a_subject_is_stored_as_certificates_are_read():
    columns = checked(**by_subject("2.5.4.3=client.alpha.example,O=Alpha\\2C Bank,C=CN"))
    assert columns["tls_subject"] == SUBJECT
    assert columns["certificate_bound"] is True
    identity = identities.certify(SUBJECT)
    assert identity.certificate.subject.rfc4514_string() == columns["tls_subject"]


@pytest.mark.parametrize(
    "subject", ["", "alpha", "CN=", "CN=a, O=b", "CN=a,", "X=1", "CN=" + "a" * 600, "\udcff"]
)
def test_what_is_no_subject_is_named(subject):
    assert faults(**by_subject(subject)) == {("/tls_subject", "malformed")}


def certified(identity=None, key=KEY, **changes):
    """A key with the certificate of an identity (of its own key, unless told otherwise)."""
    given = identity or identities.certify("CN=alpha", key=key.private_key)
    return key.as_dict(private=False) | {"x5c": [b64encode(given.der).decode()]} | changes


def self_signed(*keys):
    return {"method": "self_signed_tls_client_auth", "jwks": {"keys": list(keys)}}


@pytest.mark.spec("RFC 8705", "2.2.2")
def test_the_thumbprint_of_a_certificate_is_stored():
    identity = identities.certify("CN=alpha", key=KEY.private_key)
    columns = checked(**self_signed(certified(identity)))
    (stored,) = columns["jwks"]["keys"]
    assert stored["x5t#S256"] == certificates._examine(identity.der, (), None, 0).certificate.thumbprint
    assert "x5c" not in stored
    assert columns["certificate_bound"] is True


@pytest.mark.spec("RFC 7517", "4.7")
@pytest.mark.parametrize(
    "key",
    [
        KEY.as_dict(private=False),
        certified(x5c=[]),
        certified(x5c="text"),
        certified(x5c=[1]),
        certified(x5c=["%%%"]),
        certified(x5c=["AAAA"]),
        certified(x5c=["A" * 20_000]),
        certified(identities.certify("CN=alpha")),
        certified(identities.certify("CN=alpha", key=ec.generate_private_key(ec.SECP384R1()))),
    ],
    ids=["none", "empty", "text", "number", "not base64", "not DER", "long", "of another", "of another kind"],
)
def test_a_key_comes_with_its_own_certificate(key):
    assert faults(**self_signed(key)) == {("/jwks/keys/0", "key_unusable")}


def test_tokens_of_a_client_with_keys_can_be_bound_to_its_certificate():
    assert checked(certificate_bound=True)["certificate_bound"] is True


# --- who lets a client in


@pytest.fixture
async def partner(ground, owner):
    return await oauth_app.a_partner(owner)


async def entered(how, by=MANAGER, **changes):
    async with open_act(by, None) as act:
        return await how(act, **wanted(**changes))


async def done(how, by, client_id="new"):
    async with open_act(by, None) as act:
        return await how(act, client_id)


async def test_a_registered_client_is_found_as_it_was_registered(partner):
    key = certified()
    await entered(
        clients.register_client,
        partner=partner,
        redirect_uris=[BACK],
        scopes=["scores", "grants"],
        purposes=["portrait"],
        **self_signed(key),
    )
    found = await clients.find("new")
    (stored,) = registration.check(wanted(**self_signed(key)), loopback=False)["jwks"]["keys"]
    assert found.method == "self_signed_tls_client_auth"
    assert set(found.keys) == {KEY.kid}
    assert (found.redirect_uris, found.scopes) == ({BACK}, {"scores", "grants"})
    assert (found.purposes, found.certificate_bound) == ({Purpose.PORTRAIT}, True)
    assert (found.tls_subject, found.certificates) == (None, {stored["x5t#S256"]})


async def test_a_client_is_found_by_the_subject_of_its_certificate(partner):
    await entered(clients.register_client, partner=partner, **by_subject(SUBJECT))
    found = await clients.find("new")
    assert (found.tls_subject, found.keys, found.certificates) == (SUBJECT, {}, frozenset())


async def test_nobody_can_use_a_proposal_until_another_person_approves_it(partner, owner):
    row = await entered(clients.propose, partner=partner)
    assert clients.state(row) == "proposed"
    assert await clients.find("new") is None
    with pytest.raises(SamePerson):
        await done(clients.approve, MANAGER)
    with pytest.raises(SamePerson):  # the same person in another role
        await done(clients.approve, Staff(MANAGER.staff, StaffRole.COMPLIANCE_OFFICER))
    assert await clients.find("new") is None
    assert clients.state(await done(clients.approve, OFFICER)) == "registered"
    assert (await clients.find("new")).scopes == {"scores"}
    with pytest.raises(ClientNotProposed):
        await done(clients.approve, OFFICER)
    kinds = await world.kinds(owner, partner=partner)
    assert kinds == ["client_proposed", "client_registered"]


async def test_a_proposal_gets_no_token(database, home, owner):
    async with world.opened(database, home) as here:
        partner = await oauth_app.a_partner(owner)
        software = OAuthClient("new", world.ISSUER)
        await entered(clients.propose, partner=partner, jwks=software.jwks())
        assert (await oauth_app.ask(here.http, software)).status_code == 401
        await done(clients.approve, OFFICER)
        assert (await oauth_app.ask(here.http, software)).status_code == 200


async def test_a_suspension_counts_at_once_and_can_end(database, home, owner):
    async with world.opened(database, home) as here:
        software = await here.software()
        client_id = software.client.client_id
        assert (await software.call("GET", "/v1/products")).status_code == 200
        await done(clients.suspend, OFFICER, client_id)
        row = await done(clients.suspend, MANAGER, client_id)
        assert clients.state(row) == "suspended"
        assert (await software.call("GET", "/v1/products")).status_code == 401
        assert (await oauth_app.ask(here.http, software.oauth)).status_code == 401
        await done(clients.resume, MANAGER, client_id)
        await done(clients.resume, MANAGER, client_id)
        assert (await software.call("GET", "/v1/products")).status_code == 200
        kinds = await world.kinds(owner, partner=software.client.partner)
        assert [k for k in kinds if k.startswith("client_")][-4:] == ["client_suspended"] * 2 + [
            "client_resumed"
        ] * 2


@pytest.mark.parametrize("how", [clients.approve, clients.suspend, clients.resume])
@pytest.mark.parametrize("client_id", ["unknown", "a\x00", "../x", ""])
async def test_who_is_unknown_is_not_found(ground, how, client_id):
    with pytest.raises(NotFound):
        await done(how, OFFICER, client_id)
    assert await clients.find(client_id) is None


async def test_the_list_goes_on_where_it_ended(partner):
    for name in "cab":
        await entered(clients.propose, partner=partner, client_id=name)
    async with open_view(MANAGER) as view:
        first = await clients.listed(view, "", 2)
        rest = await clients.listed(view, first[-1].client_id, 2)
    assert [row.client_id for row in (*first, *rest)] == ["a", "b", "c"]


# --- staff, over HTTP

CLIENTS = "/v1/operator/clients"


async def test_staff_propose_approve_suspend_and_resume(database, home):
    async with world.opened(database, home) as here:
        bank = await world.a_bank()
        manager = await here.console(StaffRole.PARTNER_MANAGER, "manager")
        officer = await here.console(StaffRole.COMPLIANCE_OFFICER, "officer")
        software = OAuthClient("new", world.ISSUER)
        body = {
            "client_id": "new",
            "partner": ids.public("ptn", bank.partner),
            "scopes": ["grants"],
            "redirect_uris": [BACK],
            "jwks": software.jwks(),
        }
        assert told(await manager.call("POST", CLIENTS, body), 201)["state"] == "proposed"
        assert told(await officer.call("POST", CLIENTS, body), 409)["code"] == "client_id_taken"
        assert told(await manager.call("POST", f"{CLIENTS}/new/approval"), 409)["code"] == "same_person"
        approved = told(await officer.call("POST", f"{CLIENTS}/new/approval"), 200)
        assert approved["state"] == "registered"
        assert (approved["redirect_uris"], approved["scopes"]) == ([BACK], ["grants"])
        assert (await oauth_app.ask(here.http, software)).status_code == 200
        assert told(await officer.call("POST", f"{CLIENTS}/new/suspension"), 200)["state"] == "suspended"
        assert (await oauth_app.ask(here.http, software)).status_code == 401
        assert told(await manager.call("DELETE", f"{CLIENTS}/new/suspension"), 200)["state"] == "registered"
        assert (
            told(await manager.call("POST", f"{CLIENTS}/new/approval"), 409)["code"] == "client_not_proposed"
        )


async def test_staff_page_through_the_clients(database, home):
    async with world.opened(database, home) as here:
        await here.software("alpha")
        await here.software("beta")
        manager = await here.console(StaffRole.PARTNER_MANAGER)
        first = told(await manager.call("GET", f"{CLIENTS}?limit=1"), 200)
        second = told(await manager.call("GET", f"{CLIENTS}?limit=1&cursor={first['next']}"), 200)
        both = told(await manager.call("GET", CLIENTS), 200)
        assert [*first["items"], *second["items"]] == both["items"]
        assert "next" not in both
        assert not PRIVATE_MEMBERS & both["items"][0]["jwks"]["keys"][0].keys()


@pytest.mark.parametrize("role", [StaffRole.AUDITOR, StaffRole.RISK_OFFICER])
async def test_other_staff_may_not(database, home, role):
    async with world.opened(database, home) as here:
        console = await here.console(role)
        for method, path in (
            ("GET", CLIENTS),
            ("POST", f"{CLIENTS}/x/approval"),
            ("DELETE", f"{CLIENTS}/x/suspension"),
        ):
            assert told(await console.call(method, path), 403)["code"] == "role_missing"


async def test_a_partner_that_is_not_there_is_not_found(database, home):
    async with world.opened(database, home) as here:
        manager = await here.console(StaffRole.PARTNER_MANAGER)
        body = {"client_id": "new", "partner": ids.public("ptn", uuid4()), "scopes": ["grants"], "jwks": JWKS}
        assert (await manager.call("POST", CLIENTS, body)).status_code == 404


# --- the operator, from the command line


@pytest.fixture
async def installed(database, home):
    """An installation with one partner, open in this process too."""
    async with live.installation(database, home) as made:
        await world.a_bank("harbour")
        yield made


async def add(installed: Installation, *arguments: str, **environment: str):
    given = ("--partner", "harbour", "--client-id", "new", "--scope", "scores grants", *arguments)
    return await asyncio.to_thread(live.run, installed.environment | environment, "clients", "add", *given)


@pytest.fixture
def key_set(tmp_path):
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(JWKS))
    return file


async def test_the_operator_adds_a_client(installed, owner, key_set):
    local = "http://127.0.0.1:3000/back"
    done = await add(installed, "--jwks", str(key_set), "--redirect-uri", local, "--redirect-uri", BACK)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    partner = await owner.fetchval("select id from partners_partner")
    assert printed == {
        "client_id": "new",
        "partner": ids.public("ptn", partner),
        "state": "registered",
        "scopes": ["grants", "scores"],
    }
    row = await owner.fetchrow("select * from api_client")
    assert row["approved_at"] is not None
    assert row["redirect_uris"] == [local, BACK]
    again = await add(installed, "--jwks", str(key_set), "--partner", printed["partner"])
    assert (again.returncode, again.stdout) == (1, "")
    assert "choose another client id" in again.stderr


async def test_in_production_the_operator_proposes(installed, owner, key_set):
    done = await add(installed, "--jwks", str(key_set), XINQIAO_INSTALLATION="production")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "proposed"
    assert f"{world.ISSUER}/v1/operator/clients/new/approval" in done.stderr
    assert await owner.fetchval("select approved_at from api_client") is None


async def test_what_the_operator_mistook_is_told(installed, owner, key_set):
    done = await add(installed, "--jwks", f"{key_set}.old", "--scope", "everything")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("xinqiao: the key set cannot be read; /jwks: ")
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


PRODUCTION = {"installation": "production"}


async def added(database, home, key_set, partner="harbour", installation="development", **changes) -> None:
    settings = Settings(home, installation, world.ISSUER, database, OFFERED)
    right = {"client_id": "new", "scopes": ["scores"], "redirect_uris": [], "method": "private_key_jwt"}
    await operating.add_client(Standing(settings, database), partner, key_set, **(right | changes))


async def test_a_certificates_subject_says_the_method(database, home, owner):
    async with world.opened(database, home):
        await world.a_bank("harbour")
    await added(database, home, None, **by_subject(SUBJECT))
    row = await owner.fetchrow("select * from api_client")
    assert (row["method"], row["tls_subject"], row["certificate_bound"]) == ("tls_client_auth", SUBJECT, True)


@pytest.mark.parametrize(
    ("content", "changes", "said"),
    [
        (json.dumps(JWKS), {"partner": "nobody"} | PRODUCTION, "there are: harbour"),
        (json.dumps(JWKS), {"partner": "No Code"}, "there are: harbour"),
        (json.dumps({"keys": [KEY.as_dict(private=True)]}), {}, "private"),
        ("not json", {}, "not JSON"),
        ("[]", {}, "not a JWK set"),
        ("[" * 60_000, {}, "not JSON"),
        ('{"a": "' + "a" * 70_000 + '"}', {}, "not JSON"),
        ("\udcff", {}, "not JSON"),
        (json.dumps(JWKS), {"method": "none"}, "private_key_jwt"),
        (json.dumps(JWKS), {"scopes": ["everything"]}, " ".join(Scope)),
        (json.dumps(JWKS), {"redirect_uris": ["http://localhost/"]} | PRODUCTION, "use https"),
    ],
    ids=[
        "partner",
        "code",
        "private",
        "no json",
        "no set",
        "deep",
        "long",
        "no utf-8",
        "method",
        "scope",
        "http",
    ],
)
async def test_each_mistake_is_named(database, home, owner, key_set, content, changes, said):
    async with world.opened(database, home):
        await world.a_bank("harbour")
    key_set.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(Unacceptable) as refusal:
        await added(database, home, key_set, **changes)
    told = "; ".join([refusal.value.detail, *(fault.detail for fault in refusal.value.faults)])
    assert said in told
    assert await owner.fetchval("select count(*) from api_client") == 0


async def test_without_partners_there_are_none(database, home, key_set):
    with pytest.raises(Unacceptable, match="there are: none"):
        await added(database, home, key_set, installation="production")


async def test_where_nobody_real_is_served_a_bank_is_made_up(database, home, owner, key_set):
    await added(database, home, key_set, partner="nobody-bank")
    await added(database, home, key_set, partner="nobody-bank", client_id="second")
    row = await owner.fetchrow("select code, name_en, licence from partners_partner")
    assert tuple(row) == ("nobody-bank", "Fictional Bank nobody-bank", "FICTIONAL")
    assert await owner.fetchval("select count(*) from api_client") == 2
