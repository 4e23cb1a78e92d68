"""What the operator does from the command line: clients, development sign-ins, keys."""

import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from api import passwords
from api.oauth import clients
from api.running import Standing
from api.settings import SettingUnusable
from api.web import onward
from compliance import database as databases
from compliance import ids, keys, remains
from compliance.act import Act, Upkeep, open_act
from compliance.database import ground
from compliance.refusals import Fault, NotFound, Unacceptable
from compliance.vocabulary import PartnerId, PartnerKind, UserId, Worker
from consent import capsules, people
from consent.people import NewPerson
from partners import directory
from partners.directory import Institution

OPERATOR = Worker("operator")
KEY_SET_BYTES_MAX = 65_536
PARTNERS_NAMED_MAX = 20
PARTNER_CODE = re.compile(r"[a-z][a-z0-9-]{1,39}")
FICTIONAL_LICENCE_DAYS = 365


@asynccontextmanager
async def _operator_act(found: Standing) -> AsyncIterator[Act]:
    async with (
        databases.opened(found.database, found.settings.home, found.settings.origin),
        open_act(OPERATOR, None) as act,
    ):
        yield act


async def add_development_sign_in(
    found: Standing, name: str, password_file: Path, *, born_on: date, reference: str | None
) -> int:
    """Give a fictional person a name and a password: one who is made for it, or the one with the reference.

    A name that exists gets the new password. Prints where to sign in, as one line of JSON.
    """
    if found.settings.in_production:
        raise SettingUnusable(
            "a development sign-in is for fictional people: not in a production installation"
        )
    password = _first_line(password_file)
    passwords.refuse_unusable(name, password)
    kept = await passwords.stretch(password)
    async with _operator_act(found) as act:
        user = await _fictional(act, reference) if reference else await _new_person(act, name, born_on)
        await passwords.keep(act, name, user, kept)
    _tell({"name": name, "sign_in": found.settings.issuer + onward.SIGN_IN})
    return 0


async def add_client(found: Standing, partner: str, key_set: Path | None, **wanted: Any) -> int:
    """Register a client of a partner (its code, or its id); in production, propose it for another person to approve.

    Where nobody real is served, a code that no partner has makes a fictional bank of that code.
    `wanted`: the rest of its registration. Prints the client as one line of JSON.
    """
    production = found.settings.in_production
    if key_set:
        wanted["jwks"] = _key_set(key_set)
    enter = clients.propose if production else clients.register_client
    async with _operator_act(found) as act:
        owner = await _partner(act, partner, may_be_fictional=not production)
        row = await enter(act, loopback=not production, partner=owner, **wanted)
    _tell(
        {
            "client_id": row.client_id,
            "partner": ids.public("ptn", row.partner),
            "state": clients.state(row),
            "scopes": row.scopes,
        }
    )
    if production:
        approval = f"{found.settings.issuer}/v1/operator/clients/{row.client_id}/approval"
        sys.stderr.write(f"a proposal: a partner manager or a compliance officer approves it at {approval}\n")
    return 0


def _key_set(file: Path) -> Mapping[str, object]:
    try:
        with file.open("rb") as content:
            read = json.loads(content.read(KEY_SET_BYTES_MAX))
    except OSError as error:
        raise _unreadable(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"it is not JSON of at most {KEY_SET_BYTES_MAX} bytes") from error
    if not isinstance(read, dict):
        raise _unreadable("it is not a JWK set")
    return read


def _unreadable(why: str) -> Unacceptable:
    return Unacceptable("the key set cannot be read", Fault("/jwks", "unreadable", why))


async def _partner(act: Act, named: str, *, may_be_fictional: bool) -> PartnerId:
    """The partner of a code or an id; who names none is told which there are, or gets a fictional bank."""
    if named == directory.OPERATOR_CODE:
        return await directory.operator(act)
    try:
        return await partner_named(act, named)
    except Unacceptable:
        if not may_be_fictional or not PARTNER_CODE.fullmatch(named):
            raise
    return PartnerId((await directory.admit(act, _fictional_bank(named, act.now.date()))).id)


async def partner_named(at: Act | Upkeep, named: str) -> PartnerId:
    """The partner of a code or an id; who names none is told which there are."""
    rows = await at.db.execute_query_dict("select id, code from partners_partner order by code")
    for row in rows:
        if named in (row["code"], ids.public("ptn", row["id"])):
            return PartnerId(row["id"])
    codes = ", ".join(row["code"] for row in rows[:PARTNERS_NAMED_MAX]) or "none"
    raise Unacceptable(f"there is no partner {named!r}; there are: {codes}")


def _fictional_bank(code: str, today: date) -> Institution:
    return Institution(
        code=code,
        name_zh=f"虚构银行 {code}",
        name_en=f"Fictional Bank {code}",
        kind=PartnerKind.BANK,
        licence="FICTIONAL",
        licence_from=today,
        licence_until=today + timedelta(days=FICTIONAL_LICENCE_DAYS),
        owned_hosts=(),
    )


async def rotate_keys(found: Standing, *, at_once: bool) -> int:
    """Let the next signing key sign; records `signing_key_rotated` and prints the `kid` of each published key."""
    async with _operator_act(found) as act:
        folder = ground().home / "keys"
        keys.rotate(folder, at_once=at_once)
        following, current, *retired = (str(key.kid) for key in keys.load(folder).published())
        act.record("signing_key_rotated", {"next": following, "current": current, "retired": retired[0]})
    _tell({"next": following, "current": current, "retired": retired})
    return 0


async def appoint_custodians(found: Standing, key_set: Path) -> int:
    """Replace the two custodians of evidence capsules. Records `custodians_appointed` and prints each `kid`."""
    async with _operator_act(found) as act:
        both = [str(key.kid) for key in keys.appoint(ground().home / "keys", _key_set(key_set))]
        act.record("custodians_appointed", {"keys": list(both)})
    _tell({"custodians": both})
    return 0


async def hand_over_capsule(found: Standing, capsule: str, reason: str) -> int:
    """Print the sealed parts of an evidence capsule, a line each, for its two custodians to open."""
    async with _operator_act(found) as act:
        parts = await capsules.hand_over(act, ids.private("cap", capsule), reason)
    sys.stdout.write("".join(f"{part}\n" for part in parts))
    return 0


async def rewrite(found: Standing) -> int:
    """Rewrite the database's files, so that nothing that was deleted is left in them; 1 where a step was not allowed."""
    refused = 0
    async for step, done in remains.rewrite(found.database):
        refused += not done
        sys.stderr.write(f"{'done' if done else 'left to the administrator'}: {step}\n")
    _tell({"whole": refused == 0})
    return int(refused > 0)


def _first_line(file: Path) -> str:
    # What is not UTF-8 becomes a character that no password may have.
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        return lines.readline(passwords.PASSWORD_LENGTH_MAX + 2).rstrip("\n")


async def _new_person(act: Act, name: str, born_on: date) -> UserId:
    # The provider tells it to the relying party, in at most 255 ASCII characters; a name may be Chinese.
    reference = f"development sign-in {sha256(name.encode()).hexdigest()}"
    return (await people.bring(act, [NewPerson(reference, born_on, fictional=True)]))[reference]


async def _fictional(act: Act, reference: str) -> UserId:
    rows = await act.db.execute_query_dict(
        "select id from consent_person where reference_index = $1 and fictional",
        [ground().keyring.blind_index(reference)],
    )
    if not rows:
        raise NotFound("no fictional person has this reference")
    return UserId(rows[0]["id"])


def _tell(told: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
