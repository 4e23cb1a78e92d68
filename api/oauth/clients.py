"""The clients of partners: who they are, how they prove it, what they may do, and who let them in."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Unpack

from api.oauth import key_sets, keys, registration
from api.oauth.key_sets import THUMBPRINT
from api.oauth.keys import PublicKey
from api.oauth.published_keys import PublishedKeys
from api.oauth.registration import BY_CERTIFICATE, CLIENT_ID, Registration
from api.tables import ClientRow
from compliance import facts
from compliance.act import Act, View, open_upkeep
from compliance.canonical import Json
from compliance.refusals import Fault, NotFound, Refusal, SamePerson, Unacceptable
from compliance.vocabulary import PartnerClient, PartnerId, Purpose

# An insert of our own: where another client has the id, the transaction must not be lost with it.
INSERT = """
insert into api_client (client_id, partner, method, scopes, purposes, redirect_uris, jwks, jwks_uri, tls_subject,
                        certificate_bound, made_at, proposed_by, approved_by, approved_at)
values ($1, $2, $3, $4::text[], $5::text[], $6::text[], $7::jsonb, $8, $9, $10, $11, $12, $13, $14)
on conflict do nothing returning client_id
"""
VERSION = "select xmin::text::bigint as version from api_client where client_id = $1"
PUBLISHED = PublishedKeys()
REMEMBERED_MAX = 4_096
MOST_OF_PARTNER = 100
"""Clients that a partner can register itself; each has its own number of calls in a minute."""

State = Literal["proposed", "registered", "suspended"]


class ClientIdTaken(Refusal):
    """Another client has this id."""

    status, code, title = 409, "client_id_taken", "Another client has this id"


class ClientChanged(Exception):
    """The client is not as this process remembers it: nothing was done yet, the call is looked at again."""


class ClientNotProposed(Refusal):
    """Only a proposal can be approved, and once."""

    status, code, title = 409, "client_not_proposed", "This client is not a proposal"


class TooManyClients(Refusal):
    """A partner registers so many clients itself, and no more."""

    status, code, title = 409, "too_many_clients", "You have as many clients as you can register"


class SuspendedByOperator(Refusal):
    """A partner ends the suspensions that are its own."""

    status, code, title = 403, "suspended_by_operator", "The operator suspended this client"


class BeyondOwnClient(Refusal):
    """Whoever sets a client's keys can be that client: nobody comes to more than it has in this way."""

    status, code, title = 403, "beyond_own_client", "This client may do more than the one that calls"


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client: how it authenticates, and what it may do.

    `keys`: by key id, for `private_key_jwt`. `tls_subject`: RFC 4514, for `tls_client_auth`. `certificates`: x5t#S256,
    for `self_signed_tls_client_auth`. `certificate_bound`: its tokens may be bound to its certificate (RFC 8705, 3.4).
    `version` is of the row: another one means that something of this has changed.
    """

    client_id: str
    version: int
    method: str
    jwks_uri: str | None
    keys: Mapping[str, PublicKey]
    redirect_uris: frozenset[str]
    scopes: frozenset[str]
    purposes: frozenset[Purpose]
    certificate_bound: bool
    tls_subject: str | None
    certificates: frozenset[str]


_remembered: OrderedDict[str, Client] = OrderedDict()
"""Clients as they were read last; whether one has changed since is asked with each call, in its one statement."""


async def find(client_id: str, kid: str | None = None, *, loopback: bool = False) -> Client | None:
    """The client with this id, as registered and approved; a suspended one too.

    `kid`: the key that is looked for, where the client publishes its keys itself. `loopback`: as in `propose`.
    """
    if CLIENT_ID.fullmatch(client_id) is None:
        return None
    client = _remembered.get(client_id)
    if client is None or client.jwks_uri or kid not in client.keys:
        client = await _read(client_id, kid, loopback=loopback)
    if client is not None:
        _remembered[client_id] = client
        _remembered.move_to_end(client_id)
        if len(_remembered) > REMEMBERED_MAX:
            _remembered.popitem(last=False)
    return client


async def has_changed(client: Client) -> bool:
    """Whether the client is no longer as it was read."""
    async with open_upkeep() as upkeep:
        told = await upkeep.db.execute_query_dict(VERSION, [client.client_id])
    return not told or told[0]["version"] != client.version


def forget(client_id: str) -> None:
    """Read the client anew when it is looked for again."""
    _remembered.pop(client_id, None)


async def _read(client_id: str, kid: str | None, *, loopback: bool) -> Client | None:
    async with open_upkeep() as upkeep:
        # The version first: if the row changes in between, it is only read once more.
        told = await upkeep.db.execute_query_dict(VERSION, [client_id])
        row = await ClientRow.get_or_none(client_id=client_id, using_db=upkeep.db)
    if not told or row is None or row.approved_at is None:
        return None
    registered = row.jwks["keys"] if row.jwks else []
    known: Mapping[str, PublicKey] = {k["kid"]: keys.public_key(k) for k in registered}
    if row.jwks_uri:  # the transaction is over: fetching may take its time
        # Who registers itself does not choose what on this machine is called.
        private = loopback and not row.proposed_by.startswith("client:")
        known = await PUBLISHED.at(row.jwks_uri, kid, allow_private=private)
    return Client(
        client_id=client_id,
        version=told[0]["version"],
        method=row.method,
        jwks_uri=row.jwks_uri,
        keys=known,
        redirect_uris=frozenset(row.redirect_uris),
        scopes=frozenset(row.scopes),
        purposes=frozenset(Purpose(purpose) for purpose in row.purposes),
        certificate_bound=row.certificate_bound,
        tls_subject=row.tls_subject,
        certificates=frozenset(k[THUMBPRINT] for k in registered if THUMBPRINT in k),
    )


async def register_client(act: Act, *, loopback: bool = False, **wanted: Unpack[Registration]) -> ClientRow:
    """Register a client of a partner at once, where nobody else has to approve; records `client_registered`.

    The partner exists. `loopback`: the client's addresses may be http on this machine, as in development. A partner
    that does it itself comes to no more than it has. Raises `Unacceptable`, naming every fault, `ClientIdTaken`, and
    `TooManyClients`.
    """
    by = _partners_own(act)
    checked = registration.check(wanted, loopback=loopback, by=by)
    # Two at the same time may both be the last one: that does no harm.
    if by and await ClientRow.filter(partner=by.partner).using_db(act.db).count() >= MOST_OF_PARTNER:
        raise TooManyClients("ask the operator for another one")
    row = await _enter(act, checked, approved=True)
    act.record("client_registered", _told(row), partner=PartnerId(row.partner))
    return row


async def propose(act: Act, *, loopback: bool = False, **wanted: Unpack[Registration]) -> ClientRow:
    """Enter a client that nobody can use before another person approves it; records `client_proposed`.

    Takes and raises the same as `register_client`.
    """
    row = await _enter(act, registration.check(wanted, loopback=loopback), approved=False)
    act.record("client_proposed", _told(row), partner=PartnerId(row.partner))
    return row


async def approve(act: Act, client_id: str) -> ClientRow:
    """Let a proposed client in: another person than who proposed it. Records `client_registered`.

    Raises `NotFound`, `ClientNotProposed` and `SamePerson`.
    """
    row = await _locked(act, client_id)
    if row.approved_at is not None:
        raise ClientNotProposed("the client was approved before")
    if facts.same_hands(row.proposed_by, act.principal):
        raise SamePerson("ask a colleague: who proposed a client does not approve it")
    row.approved_by, row.approved_at = facts.describe(act.principal), act.now
    await row.save(using_db=act.db, update_fields=["approved_by", "approved_at"])
    act.record("client_registered", _told(row), partner=PartnerId(row.partner))
    return row


async def suspend(act: Act, client_id: str) -> ClientRow:
    """Stop a client at once: it gets no token, and those it has count no more. Records `client_suspended`.

    A client of which its partner had taken the switch is the operator's to resume, once the operator suspends it too.
    """
    row = await _locked(act, client_id)
    if row.suspended_at is None or (suspended_by_partner(row) and not _partners_own(act)):
        row.suspended_by = facts.describe(act.principal)
    row.suspended_at = row.suspended_at or act.now
    await row.save(using_db=act.db, update_fields=["suspended_at", "suspended_by"])
    act.record("client_suspended", {"client": client_id}, partner=PartnerId(row.partner))
    return row


async def resume(act: Act, client_id: str) -> ClientRow:
    """End a suspension; what the client was approved for is as it was. Records `client_resumed`.

    Raises `SuspendedByOperator` where a partner would end another's.
    """
    row = await _locked(act, client_id)
    if row.suspended_at and _partners_own(act) and not suspended_by_partner(row):
        raise SuspendedByOperator("ask the operator why, and to end it")
    row.suspended_at = row.suspended_by = None
    await row.save(using_db=act.db, update_fields=["suspended_at", "suspended_by"])
    act.record("client_resumed", {"client": client_id}, partner=PartnerId(row.partner))
    return row


async def replace_keys(act: Act, client_id: str, jwks: Mapping[str, object]) -> ClientRow:
    """Give a client other keys (RFC 7517); the ones before count no more, at once. Records `client_keys_replaced`.

    Tokens that it holds count on until they end, in minutes. Raises `NotFound`, `BeyondOwnClient`, and `Unacceptable`,
    naming every fault, also for a client that is not known by keys we hold.
    """
    row = await _locked(act, client_id)
    by, faults = _partners_own(act), list[Fault]()
    if by and (more := registration.beyond(by, row.scopes, row.purposes)):
        raise BeyondOwnClient("; ".join(fault.detail for fault in more))
    if row.jwks is None:
        faults.append(Fault("/jwks", "means_unfit", "this client is not known by keys that are kept here"))
    accepted = key_sets.accept(jwks, faults, certified=row.method == BY_CERTIFICATE)
    if faults:
        raise Unacceptable("the keys cannot be replaced by these", *faults)
    row.jwks = {"keys": list(accepted.values())}
    await row.save(using_db=act.db, update_fields=["jwks"])
    told: dict[str, Json] = {"client": client_id, "keys": sorted(accepted)}
    act.record("client_keys_replaced", told, partner=PartnerId(row.partner))
    return row


def suspended_by_partner(row: ClientRow) -> bool:
    """Whether it was a client of the partner that suspended this one, and nobody else."""
    return (row.suspended_by or "").startswith("client:")


def state(row: ClientRow) -> State:
    """How a client stands."""
    if row.approved_at is None:
        return "proposed"
    return "suspended" if row.suspended_at else "registered"


async def look_up(at: Act | View, client_id: str) -> ClientRow:
    """A client that the caller may know of; raises `NotFound`."""
    rows = (
        await ClientRow.filter(client_id=client_id).using_db(at.db) if CLIENT_ID.fullmatch(client_id) else []
    )
    if not rows:
        raise NotFound
    return rows[0]


async def listed(at: Act | View, after: str, count_max: int) -> list[ClientRow]:
    """Clients and proposals in the order of their ids, from the one after `after`; to a partner, its own clients."""
    return await ClientRow.filter(client_id__gt=after).using_db(at.db).order_by("client_id").limit(count_max)


async def _locked(act: Act, client_id: str) -> ClientRow:
    if CLIENT_ID.fullmatch(client_id) is None:
        raise NotFound
    row = await ClientRow.filter(client_id=client_id).using_db(act.db).select_for_update().first()
    if row is None:
        raise NotFound
    return row


def _partners_own(act: Act) -> PartnerClient | None:
    """The partner's client that acts, if it is not the operator who does."""
    return act.principal if isinstance(act.principal, PartnerClient) else None


async def _enter(act: Act, checked: Mapping[str, Any], *, approved: bool) -> ClientRow:
    who = facts.describe(act.principal)
    row = ClientRow(**checked, made_at=act.now, proposed_by=who)
    if approved:
        row.approved_by, row.approved_at = who, act.now
    values = [
        row.client_id,
        row.partner,
        row.method,
        row.scopes,
        row.purposes,
        row.redirect_uris,
        json.dumps(row.jwks) if row.jwks else None,
        row.jwks_uri,
        row.tls_subject,
        row.certificate_bound,
        row.made_at,
        row.proposed_by,
        row.approved_by,
        row.approved_at,
    ]
    if not await act.db.execute_query_dict(INSERT, values):
        raise ClientIdTaken("choose another client id")
    return row


def _told(row: ClientRow) -> dict[str, Json]:
    """A client as the log tells it: everything that somebody answers for, keys by their ids."""
    return {
        "client": row.client_id,
        "method": row.method,
        "scopes": row.scopes,
        "purposes": row.purposes,
        "redirect_uris": row.redirect_uris,
        "keys": sorted(key["kid"] for key in row.jwks["keys"]) if row.jwks else [],
        "jwks_uri": row.jwks_uri,
        "tls_subject": row.tls_subject,
        "certificate_bound": row.certificate_bound,
    }
