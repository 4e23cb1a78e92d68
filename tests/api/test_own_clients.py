"""Partners register, see, re-key and stop their own clients where nobody real is served, and reach no one else's."""

from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
from support import code_flow, identities, oauth_app, world
from support.oauth_client import OAuthClient, new_key
from support.world import ISSUER, told

from api.oauth import clients
from api.oauth.scopes import Scope
from compliance import ids
from compliance.act import open_act, open_view
from compliance.vocabulary import Staff, StaffId, StaffRole

CLIENTS = "/v1/clients"
STAFF_CLIENTS = "/v1/operator/clients"
BACK = "https://alpha.example/back"
EVERY_CALL = [
    ("POST", CLIENTS),
    ("GET", CLIENTS),
    ("GET", f"{CLIENTS}/new"),
    ("PUT", f"{CLIENTS}/new/jwks"),
    ("POST", f"{CLIENTS}/new/suspension"),
    ("DELETE", f"{CLIENTS}/new/suspension"),
]


@pytest.fixture
async def here(database, home):
    async with world.opened(database, home) as opened:
        yield opened


@pytest.fixture
async def bank(here):
    return await here.software()


def software(client_id="new"):
    return OAuthClient(client_id, ISSUER)


def wanted(client, **changes):
    """A right registration, unless something is changed; None takes a member away."""
    right = {"client_id": client.client_id, "scopes": ["scores"], "jwks": client.jwks()}
    return {name: value for name, value in (right | changes).items() if value is not None}


async def registered(bank, client=None, **changes):
    client = client or software()
    told(await bank.call("POST", CLIENTS, wanted(client, **changes)), 201)
    return client


def faults(answer):
    body = told(answer, 422)
    return {(fault["pointer"], fault["code"]) for fault in body["errors"]}


def refused(answer, code, status=403):
    assert told(answer, status)["code"] == code


async def facts_of(owner, bank):
    kinds = await world.kinds(owner, partner=bank.client.partner)
    return [kind for kind in kinds if kind.startswith("client_")]


# --- registering


async def test_a_client_counts_at_once(bank, owner):
    new = software()
    answer = await bank.call("POST", CLIENTS, wanted(new, redirect_uris=["http://127.0.0.1:3000/back"]))
    body = told(answer, 201)
    assert answer.headers["location"] == f"{CLIENTS}/new"
    assert (body["state"], body["scopes"]) == ("registered", ["scores"])
    assert not body.keys() & {"partner", "proposed_by", "approved_by", "suspended_by"}
    assert (await oauth_app.ask(bank.http, new)).status_code == 200
    assert told(await bank.call("GET", f"{CLIENTS}/new"), 200) == body
    row = await owner.fetchrow("select * from api_client where client_id = 'new'")
    assert row["partner"] == bank.client.partner
    assert row["approved_by"] == f"client:{bank.client.client_id}"
    assert (await facts_of(owner, bank))[-1] == "client_registered"


async def test_a_repeat_registers_once(bank, owner):
    body = wanted(software())
    first = await bank.call("POST", CLIENTS, body, key="k")
    again = await bank.call("POST", CLIENTS, body, key="k")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await facts_of(owner, bank)).count("client_registered") == 2  # the caller itself, and the new one
    refused(await bank.call("POST", CLIENTS, body), "client_id_taken", 409)


async def test_the_id_of_another_partners_client_is_taken_too(here, bank):
    other = await here.software("beta")
    answer = await bank.call("POST", CLIENTS, wanted(software(other.client.client_id)))
    refused(answer, "client_id_taken", 409)


async def test_a_client_may_do_no_more_than_who_registers_it(here):
    bank = await here.software(scopes=(Scope.CLIENTS, Scope.SCORES))
    new = software()
    more = {"scopes": ["scores", "log"], "redirect_uris": ["x"]}
    found = faults(await bank.call("POST", CLIENTS, wanted(new, **more)))
    assert found == {("/scopes", "beyond_own"), ("/redirect_uris/0", "address_unusable")}
    await registered(bank, new, scopes=["scores", "clients"])


async def test_nor_than_the_token_that_it_is_registered_with(bank):
    bank.token = await oauth_app.a_token(bank.http, bank.oauth, scope="clients")
    found = faults(await bank.call("POST", CLIENTS, wanted(software())))
    assert found == {("/scopes", "beyond_own")}
    await registered(bank, scopes=["clients"])


async def test_nor_for_more_than_its_purposes(here):
    flow = await code_flow.begin(here, purposes=["portrait"])
    bank = world.Software(here.http, flow.bank, flow.oauth)
    for purposes in (["portrait", "prescreen"], None):  # left out, it would be every purpose
        found = faults(await bank.call("POST", CLIENTS, wanted(software(), purposes=purposes)))
        assert found == {("/purposes", "beyond_own")}
    await registered(bank, purposes=["portrait"])


async def test_what_nobody_may_is_said_once(bank):
    found = faults(await bank.call("POST", CLIENTS, wanted(software(), scopes=["everything"])))
    assert found == {("/scopes", "unknown_scope")}


async def test_nobody_makes_us_call_our_own_machine(bank):
    for address in ("http://127.0.0.1:9000/keys", "http://localhost/keys", "http://[::1]/keys"):
        body = wanted(software(), jwks=None, jwks_uri=address)
        assert faults(await bank.call("POST", CLIENTS, body)) == {("/jwks_uri", "address_unusable")}
    await registered(bank, jwks=None, jwks_uri="https://alpha.example/keys")


async def test_a_partner_has_no_end_of_clients(bank, monkeypatch):
    monkeypatch.setattr(clients, "MOST_OF_PARTNER", 2)
    await registered(bank)
    refused(await bank.call("POST", CLIENTS, wanted(software("third"))), "too_many_clients", 409)


async def test_the_clients_of_others_do_not_count(here, bank, monkeypatch):
    monkeypatch.setattr(clients, "MOST_OF_PARTNER", 2)
    for code in ("beta", "gamma"):
        await here.software(code)
    await registered(bank)


async def test_the_list_goes_on_where_it_ended(here, bank):
    await registered(bank)
    other = await here.software("beta")
    both = told(await bank.call("GET", CLIENTS), 200)
    assert {item["client_id"] for item in both["items"]} == {"new", bank.client.client_id}
    first = told(await bank.call("GET", f"{CLIENTS}?limit=1"), 200)
    second = told(await bank.call("GET", f"{CLIENTS}?limit=1&cursor={first['next']}"), 200)
    assert [*first["items"], *second["items"]] == both["items"]
    (theirs,) = told(await other.call("GET", CLIENTS), 200)["items"]
    assert theirs["client_id"] == other.client.client_id


# --- keys


async def replaced(bank, jwks, client_id="new"):
    return await bank.call("PUT", f"{CLIENTS}/{client_id}/jwks", {"jwks": jwks})


async def test_the_keys_before_stop_at_once(bank, owner):
    before = await registered(bank)
    assert (await oauth_app.ask(bank.http, before)).status_code == 200
    after = software()
    assert (await oauth_app.ask(bank.http, after)).status_code == 401
    (key,) = told(await replaced(bank, after.jwks()), 200)["jwks"]["keys"]
    assert key["kid"] == after.key.kid
    assert (await oauth_app.ask(bank.http, before)).status_code == 401
    assert (await oauth_app.ask(bank.http, after)).status_code == 200
    assert (await facts_of(owner, bank))[-1] == "client_keys_replaced"


async def test_a_client_replaces_its_own_keys(bank):
    after = software(bank.oauth.client_id)
    told(await replaced(bank, after.jwks(), after.client_id), 200)
    assert (await oauth_app.ask(bank.http, bank.oauth)).status_code == 401
    assert (await oauth_app.ask(bank.http, after)).status_code == 200


@pytest.mark.parametrize(
    ("jwks", "pointer", "code"),
    [
        ({}, "/jwks/keys", "malformed"),
        ({"keys": []}, "/jwks/keys", "malformed"),
        ({"keys": [new_key("ES256").as_dict(private=True)]}, "/jwks/keys/0", "key_unusable"),
        ({"keys": [new_key("ES384").as_dict(private=False)]}, "/jwks/keys/0", "key_unusable"),
    ],
    ids=["nothing", "none", "private", "another curve"],
)
async def test_unusable_keys_change_nothing(bank, jwks, pointer, code):
    before = await registered(bank)
    assert faults(await replaced(bank, jwks)) == {(pointer, code)}
    assert (await oauth_app.ask(bank.http, before)).status_code == 200


async def test_a_key_for_certificates_comes_with_one(bank):
    def certified():
        key = new_key("ES256")
        der = identities.certify("CN=new", key=key.private_key).der
        return {"keys": [key.as_dict(private=False) | {"x5c": [b64encode(der).decode()]}]}

    await registered(bank, method="self_signed_tls_client_auth", jwks=certified())
    assert faults(await replaced(bank, software().jwks())) == {("/jwks/keys/0", "key_unusable")}
    told(await replaced(bank, certified()), 200)


@pytest.mark.parametrize(
    "known_by",
    [{"jwks_uri": "https://alpha.example/keys"}, {"method": "tls_client_auth", "tls_subject": "CN=new"}],
    ids=["address", "subject"],
)
async def test_keys_that_are_kept_elsewhere_are_not_replaced_here(bank, known_by):
    await registered(bank, jwks=None, **known_by)
    assert faults(await replaced(bank, software().jwks())) == {("/jwks", "means_unfit")}


async def test_nobody_comes_to_more_by_setting_keys(here, bank):
    mighty = await registered(bank, scopes=["scores", "log"])
    narrow = await registered(bank, software("narrow"), scopes=["clients", "scores"])
    weak = replace(bank, oauth=narrow)
    refused(await replaced(weak, software().jwks()), "beyond_own_client")
    assert (await oauth_app.ask(here.http, mighty)).status_code == 200
    bank.token = await oauth_app.a_token(here.http, bank.oauth, scope="clients")
    refused(await replaced(bank, software().jwks(), "narrow"), "beyond_own_client")


async def test_nor_to_other_purposes(here, bank):
    few = await registered(bank, software("few"), scopes=["clients", "scores"], purposes=["portrait"])
    await registered(bank)
    refused(await replaced(replace(bank, oauth=few), software().jwks()), "beyond_own_client")


# --- the switch


def switch(client_id="new", of=CLIENTS):
    return f"{of}/{client_id}/suspension"


async def test_a_partner_has_a_switch_of_its_own(bank, owner):
    new = await registered(bank)
    for _ in range(2):
        body = told(await bank.call("POST", switch()), 200)
        assert (body["state"], body["suspended_by"]) == ("suspended", "partner")
    assert (await oauth_app.ask(bank.http, new)).status_code == 401
    for _ in range(2):
        body = told(await bank.call("DELETE", switch()), 200)
        assert body["state"] == "registered"
        assert not body.keys() & {"suspended_at", "suspended_by"}
    assert (await oauth_app.ask(bank.http, new)).status_code == 200
    assert (await facts_of(owner, bank))[-4:] == ["client_suspended"] * 2 + ["client_resumed"] * 2


async def test_any_client_of_the_partner_can_turn_it_back(bank):
    second = await registered(bank, scopes=["clients"])
    told(await replace(bank, oauth=second).call("POST", switch(bank.client.client_id)), 200)
    assert (await bank.call("GET", CLIENTS)).status_code == 401
    told(await replace(bank, oauth=second).call("DELETE", switch(bank.client.client_id)), 200)
    told(await bank.call("GET", CLIENTS), 200)


async def test_what_the_operator_suspended_the_operator_lets_go_on(here, bank):
    new = await registered(bank)
    manager = await here.console(StaffRole.PARTNER_MANAGER)
    told(await manager.call("POST", switch(of=STAFF_CLIENTS)), 200)
    body = told(await bank.call("POST", switch()), 200)  # twice is fine, and gives no right to end it
    assert body["suspended_by"] == "operator"
    refused(await bank.call("DELETE", switch()), "suspended_by_operator")
    assert (await oauth_app.ask(bank.http, new)).status_code == 401
    told(await manager.call("DELETE", switch(of=STAFF_CLIENTS)), 200)
    told(await bank.call("DELETE", switch()), 200)
    assert (await oauth_app.ask(bank.http, new)).status_code == 200


async def test_a_partner_that_was_first_cannot_undo_the_operators_suspension(here, bank):
    await registered(bank)
    began = told(await bank.call("POST", switch()), 200)["suspended_at"]
    manager = await here.console(StaffRole.PARTNER_MANAGER)
    seen = told(await manager.call("GET", STAFF_CLIENTS), 200)["items"]
    assert {item.get("suspended_by") for item in seen} == {None, f"client:{bank.client.client_id}"}
    body = told(await manager.call("POST", switch(of=STAFF_CLIENTS)), 200)
    assert body["suspended_by"].startswith("partner_manager:stf_")
    assert body["suspended_at"] == began
    refused(await bank.call("DELETE", switch()), "suspended_by_operator")


async def test_the_operator_ends_a_partners_suspension_too(here, bank):
    await registered(bank)
    told(await bank.call("POST", switch()), 200)
    manager = await here.console(StaffRole.PARTNER_MANAGER)
    assert told(await manager.call("DELETE", switch(of=STAFF_CLIENTS)), 200)["state"] == "registered"


# --- who may not


async def test_anothers_client_is_like_none(here, bank):
    await registered(bank)
    other = await here.software("beta")
    for method, path in EVERY_CALL[2:]:
        body = {"jwks": software().jwks()} if method == "PUT" else None
        anothers = told(await other.call(method, path, body), 404)
        nobodys = told(await other.call(method, path.replace("new", "nobody"), body), 404)
        assert anothers | {"trace_id": ""} == nobodys | {"trace_id": ""}
    assert told(await bank.call("GET", f"{CLIENTS}/new"), 200)["state"] == "registered"


@pytest.mark.parametrize("name", ["a%00", "..%2f", "%F0%9D%9F%99", "a" * 129, "-"])
async def test_what_is_no_id_is_not_found(bank, name):
    refused(await bank.call("GET", f"{CLIENTS}/{name}"), "not_found", 404)


async def test_a_proposal_is_not_the_partners_yet(here, bank):
    manager = await here.console(StaffRole.PARTNER_MANAGER)
    body = wanted(software()) | {"partner": ids.public("ptn", bank.client.partner)}
    told(await manager.call("POST", STAFF_CLIENTS, body), 201)
    refused(await replaced(bank, software().jwks()), "not_found", 404)
    refused(await bank.call("POST", switch()), "not_found", 404)
    items = told(await bank.call("GET", CLIENTS), 200)["items"]
    assert [item["client_id"] for item in items] == [bank.client.client_id]


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
async def test_in_production_the_operator_does_it(database, home, owner, method, path):
    async with world.opened(database, home, installation="production") as here:
        bank = await here.software()
        for body in ({"jwks": software().jwks()}, wanted(software()), {"malformed": 1}, None):
            refused(await bank.call(method, path, body), "by_operator_only")
        assert (await world.kinds(owner, partner=bank.client.partner))[-4:] == ["refused"] * 4
        assert await facts_of(owner, bank) == ["client_registered"]
        assert await owner.fetchval("select count(*) from api_client") == 1


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
async def test_without_the_scope_nobody_does(here, method, path):
    bank = await here.software(scopes=tuple(set(world.BANKS) - {Scope.CLIENTS}))
    refused(await bank.call(method, path), "insufficient_scope")


async def test_a_token_that_a_person_agreed_to_has_not_this_scope(here):
    flow = await code_flow.begin(here)
    assert Scope.CLIENTS in flow.bank.scopes
    tokens = await flow.tokens(scope="scores clients")
    assert tokens["scope"] == "scores"
    token = tokens["access_token"]
    for method, path in EVERY_CALL:
        headers = flow.oauth.call_headers(method, f"{ISSUER}{path}", token)
        refused(await here.http.request(method, path, headers=headers), "insufficient_scope")


# --- the walls of the database


@asynccontextmanager
async def inside(who):
    """An act of somebody, whose outcome is thrown away."""
    with pytest.raises(ZeroDivisionError):
        async with open_act(who, None) as act:
            yield act
            raise ZeroDivisionError


async def asked(who, query, *values):
    async with inside(who) as act:
        return await act.db.execute_query_dict(query, list(values))


INSERT = """
insert into api_client (client_id, partner, method, jwks, scopes, purposes, made_at, proposed_by, approved_by, approved_at)
values ('forged', $1, 'private_key_jwt', '{}', '{scores}', '{portrait}', now(), 'x', 'x', {approved}) returning client_id
"""


async def test_a_partner_reaches_its_own_rows_alone(here, bank):
    other = await here.software("beta")
    theirs = "select client_id from api_client"
    assert [row["client_id"] for row in await asked(bank.client, theirs)] == [bank.client.client_id]
    async with open_view(None) as nobody:
        assert await nobody.db.execute_query_dict(theirs) == []
    for change in ("jwks = '{}'", "suspended_at = now(), suspended_by = 'x'"):
        mine = f"update api_client set {change} where client_id = $1 returning client_id"
        assert await asked(bank.client, mine, other.client.client_id) == []
        assert len(await asked(bank.client, mine, bank.client.client_id)) == 1
    async with inside(Staff(StaffId(ids.ordered_id()), StaffRole.AUDITOR)) as act:
        assert len(await act.db.execute_query_dict(theirs)) == 2


async def test_a_partner_enters_no_client_for_another_and_no_proposal(here, bank):
    other = await here.software("beta")
    right, proposal = INSERT.replace("{approved}", "now()"), INSERT.replace("'x', {approved}", "null, null")
    assert len(await asked(bank.client, right, bank.client.partner)) == 1
    for query, partner in ((right, other.client.partner), (proposal, bank.client.partner)):
        with pytest.raises(Exception, match="row-level security"):
            await asked(bank.client, query, partner)


@pytest.mark.parametrize(
    "change",
    ["approved_by", "approved_at", "proposed_by", "partner", "scopes", "purposes", "method", "jwks_uri"],
)
async def test_a_partner_changes_nothing_else_of_a_client(bank, change):
    with pytest.raises(Exception, match="permission denied"):
        await asked(bank.client, f"update api_client set {change} = {change}")


async def test_a_partner_deletes_no_client(bank):
    with pytest.raises(Exception, match="permission denied"):
        await asked(bank.client, "delete from api_client")


async def test_who_suspended_is_known_exactly_while_it_lasts(bank, owner):
    for change in ("suspended_at = now()", "suspended_by = 'x'"):
        with pytest.raises(asyncpg.CheckViolationError):
            await owner.execute(f"update api_client set {change}")
