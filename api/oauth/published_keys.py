"""Keys that clients publish at an address of their own: fetched with care, kept for a while, missed for no short outage."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api import outgoing
from api.oauth import key_sets, keys
from api.oauth.keys import KeyUnusable, PublicKey
from api.outgoing import NotFetched
from api.telemetry import log

KEPT_SECONDS = 600
RETRY_SECONDS = 60
"""Whatever asks for it: nobody can make us call an address more often than this."""
STALE_SECONDS = 86_400
"""How long keys count whose address does not answer."""
MOST_ADDRESSES = 1_000
MOST_KEYS = 32


@dataclass(slots=True)
class _Published:
    keys: Mapping[str, PublicKey] = field(default_factory=dict)
    fetched_at: float = -math.inf
    tried_at: float = -math.inf
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class PublishedKeys:
    """What the addresses said last; one for each process. `clock` is in seconds."""

    def __init__(
        self,
        fetch: Callable[..., Awaitable[object]] = outgoing.fetch_json,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch, self._clock = fetch, clock
        self._known: OrderedDict[str, _Published] = OrderedDict()

    async def at(self, address: str, kid: str | None, *, allow_private: bool) -> Mapping[str, PublicKey]:
        """The keys by key id, none where there is nothing to rely on; `kid` is the one that is looked for."""
        known = self._known.setdefault(address, _Published())
        self._known.move_to_end(address)
        if len(self._known) > MOST_ADDRESSES:
            self._known.popitem(last=False)
        async with known.turn:  # who comes while it is being fetched waits for what comes
            now = self._clock()
            wanted = now - known.fetched_at > KEPT_SECONDS or (kid is not None and kid not in known.keys)
            if wanted and now - known.tried_at >= RETRY_SECONDS:
                known.tried_at = now
                try:
                    known.keys = read(await self._fetch(address, allow_private=allow_private))
                    known.fetched_at = now
                except (NotFetched, KeyUnusable) as error:
                    log.warning("client_keys_not_fetched", error_type=type(error).__name__)
            return known.keys if now - known.fetched_at <= STALE_SECONDS else {}


def read(document: object) -> Mapping[str, PublicKey]:
    """The keys for signatures in a published set; raises `KeyUnusable` where the set is not one to rely on.

    Kinds that we do not use are passed over (RFC 7517 section 5), and so are `x5u` and `jku`. A private key, or two
    keys of one id, spoil the set (FAPI 2.0 section 5.4.1).
    """
    given: Any = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(given, list) or len(given) > MOST_KEYS:
        raise KeyUnusable(f"this is no set of at most {MOST_KEYS} keys")
    if any(isinstance(jwk, dict) and keys.PRIVATE_MEMBERS & jwk.keys() for jwk in given):
        raise KeyUnusable("the set holds private keys")
    found: dict[str, PublicKey] = {}
    for jwk in given:
        try:
            key = key_sets.signing_key(jwk)
        except KeyUnusable:
            continue
        if key["kid"] in found:
            raise KeyUnusable("the set names two keys by one id")
        found[key["kid"]] = keys.public_key(key)
    if not found:
        raise KeyUnusable("the set holds no key that we accept")
    return found
