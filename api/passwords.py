"""Names and passwords of fictional people, for installations that serve nobody real."""

import asyncio
import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from compliance.act import Act, Upkeep, open_upkeep
from compliance.refusals import Fault, Refusal, Unacceptable
from compliance.vocabulary import UserId

NAME_LENGTH_MAX = 64
PASSWORD_LENGTH_MIN, PASSWORD_LENGTH_MAX = 8, 256
SALT_BYTES, HASH_BYTES = 16, 32
COST, BLOCK, LANES = 2**15, 8, 1
MEMORY_BYTES_MAX = 64 * 2**20
"""What scrypt may take: twice what it needs, which is 128 * COST * BLOCK (RFC 7914 section 2)."""
TRIES_MAX = 5
LOCKED_FOR = timedelta(minutes=15)
NOBODY: dict[str, Any] = {"user_id": None, "salt": bytes(SALT_BYTES), "hash": bytes(HASH_BYTES)}

COUNT_TRY = """
insert into api_sign_in_try as t (name_hash, tries, until) values ($1, 1, $3)
on conflict (name_hash) do update
    set tries = case when t.until <= $2 then 1 else t.tries + 1 end, until = excluded.until
    where t.until <= $2 or t.tries < $4
returning tries
"""
FORGET_TRIES = """
delete from api_sign_in_try where name_hash in (
    select name_hash from api_sign_in_try where until <= $1 limit 100 for update skip locked)
"""
KEEP = """
insert into api_password (name, user_id, salt, hash) values ($1, $2, $3, $4)
on conflict (name) do update set user_id = excluded.user_id, salt = excluded.salt, hash = excluded.hash
"""


class SignInRefused(Refusal):
    """There is no such name, or it has another password: the same words for both."""

    status, code, title = 401, "sign_in_refused", "The name or the password is wrong"


class SignInLocked(Refusal):
    """Too many tries in a row; whoever knows the password waits as well."""

    status, code, title = 429, "sign_in_locked", "Too many tries to sign in"

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(f"wait {wait_seconds} seconds")
        self.headers = {"Retry-After": str(wait_seconds)}


@dataclass(frozen=True, slots=True)
class Stretched:
    """What is kept of a password."""

    salt: bytes
    hash: bytes


def refuse_unusable(name: str, password: str) -> None:
    """Refuse a name or a password that nobody could type or that anybody could guess (`Unacceptable`)."""
    faults = []
    if not _is_name(name):
        faults.append(Fault("/name", "invalid", f"1 to {NAME_LENGTH_MAX} visible characters"))
    if not (PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX and password.isprintable()):
        detail = f"one line of {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        faults.append(Fault("/password", "invalid", detail))
    if faults:
        raise Unacceptable("choose another name or password", *faults)


async def stretch(password: str) -> Stretched:
    """Salt and hash a password; takes a tenth of a second and 32 MiB, in a thread, and so no transaction waits for it."""
    salt = secrets.token_bytes(SALT_BYTES)
    return Stretched(salt, await _hashed(password, salt))


async def keep(act: Act, name: str, user: UserId, kept: Stretched) -> None:
    """Give a person a name and a password; a name that exists gets the new ones. Records `development_sign_in_added`."""
    await act.db.execute_query(KEEP, [name, user, kept.salt, kept.hash])
    act.record("development_sign_in_added", {}, person=user)


async def verify(name: str, password: str) -> UserId:
    """Whose name and password these are; raises `SignInRefused` or, after five tries in a row, `SignInLocked`.

    A name that does not exist costs the same time and the same tries. A try is counted before it is decided, so that
    many at once are not more than one after the other.
    """
    name = name if _is_name(name) else ""
    named = hashlib.sha256(name.encode()).digest()
    async with open_upkeep() as upkeep:
        await _count_try(upkeep, named)
        rows = await upkeep.db.execute_query_dict(
            "select user_id, salt, hash from api_password where name = $1", [name]
        )
    kept = rows[0] if rows else NOBODY
    if not hmac.compare_digest(await _hashed(password, kept["salt"]), kept["hash"]):
        raise SignInRefused("write both as they were given to you")
    async with open_upkeep() as upkeep:
        await upkeep.db.execute_query("delete from api_sign_in_try where name_hash = $1", [named])
    return UserId(kept["user_id"])


async def _count_try(upkeep: Upkeep, named: bytes) -> None:
    now = upkeep.now
    counted = await upkeep.db.execute_query_dict(COUNT_TRY, [named, now, now + LOCKED_FOR, TRIES_MAX])
    if not counted:
        rows = await upkeep.db.execute_query_dict(
            "select until from api_sign_in_try where name_hash = $1", [named]
        )
        left = (rows[0]["until"] - now).total_seconds() if rows else 0  # none: its owner has just come in
        raise SignInLocked(max(1, math.ceil(left)))
    # After the own row, and past what others hold: nobody waits for two.
    await upkeep.db.execute_query(FORGET_TRIES, [now])


async def _hashed(password: str, salt: bytes) -> bytes:
    return await asyncio.to_thread(
        hashlib.scrypt,
        password.encode(errors="surrogatepass"),
        salt=salt,
        n=COST,
        r=BLOCK,
        p=LANES,
        maxmem=MEMORY_BYTES_MAX,
        dklen=HASH_BYTES,
    )


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= NAME_LENGTH_MAX and text.isprintable() and " " not in text
