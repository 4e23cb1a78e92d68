"""What the operator's provider says of itself (OpenID Connect Discovery 1.0): kept for a while, and its keys too."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping

import msgspec

from api import outgoing
from api.oauth.keys import PublicKey
from api.oauth.published_keys import KEPT_SECONDS, STALE_SECONDS, PublishedKeys
from api.oidc import id_token
from api.outgoing import NotFetched
from api.settings import is_address
from api.telemetry import log
from compliance.refusals import Refusal

PATH = "/.well-known/openid-configuration"
RETRY_SECONDS = 5
"""While the provider is down, whoever comes is told so at once: it is asked no more often than this."""
ADDRESS_LENGTH_MAX = 2_048


class SignInUnavailable(Refusal):
    """The provider is not connected, does not answer, or is not set up as it must be."""

    status, code, title = 503, "sign_in_unavailable", "Signing in does not work at the moment"


class Metadata(msgspec.Struct, frozen=True):
    """What counts of it; the rest is ignored."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    id_token_signing_alg_values_supported: list[str]
    authorization_response_iss_parameter_supported: bool = False
    end_session_endpoint: str | None = None
    pushed_authorization_request_endpoint: str | None = None
    require_pushed_authorization_requests: bool = False

    @property
    def addresses(self) -> list[str]:
        """Every address in it that a browser is sent to, or that we call."""
        needed = [self.authorization_endpoint, self.token_endpoint, self.jwks_uri]
        wished = [self.end_session_endpoint, self.pushed_authorization_request_endpoint]
        return needed + [address for address in wished if address is not None]


class Unfit(Exception):
    """The provider describes itself in a way that we cannot rely on; the message says why."""


class Discovery:
    """What one provider said last; one for each process. `clock` is in seconds."""

    def __init__(
        self, issuer: str, *, allow_private: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer, self._allow_private, self._clock = issuer, allow_private, clock
        self._said: Metadata | None = None
        self._fetched_at = self._tried_at = -math.inf
        self._turn = asyncio.Lock()
        self._keys = PublishedKeys(_fetch_keys, clock)

    async def metadata(self) -> Metadata:
        """Its metadata; raises `SignInUnavailable`. A short outage of this document alone is not noticed."""
        async with self._turn:  # who comes while it is being fetched waits for what comes
            now = self._clock()
            if now - self._fetched_at > KEPT_SECONDS and now - self._tried_at >= RETRY_SECONDS:
                self._tried_at = now
                try:
                    address = self._issuer.rstrip("/") + PATH
                    said = await outgoing.ask_trusted(address, allow_private=self._allow_private)
                    self._said, self._fetched_at = self._read(said), now
                except (NotFetched, Unfit) as error:
                    log.warning("provider_not_described", reason=str(error))
            if self._said is None or now - self._fetched_at > STALE_SECONDS:
                raise SignInUnavailable("try again in a few minutes")
            return self._said

    async def keys(self, kid: str | None) -> Mapping[str, PublicKey]:
        """The keys that it signs with, by key id; none where there is nothing to rely on."""
        address = (await self.metadata()).jwks_uri
        return await self._keys.at(address, kid, allow_private=self._allow_private)

    def _read(self, document: object) -> Metadata:
        try:
            said = msgspec.convert(document, Metadata)
        except msgspec.ValidationError as error:
            raise Unfit("it is not the metadata of a provider") from error
        # OpenID Connect Discovery 1.0 section 4.3: else it would be another one's metadata.
        if said.issuer != self._issuer:
            raise Unfit("its issuer is another one")
        if not all(map(self._may_be_called, said.addresses)):
            raise Unfit("an address in it is not https")
        if not set(id_token.ALGORITHMS) & set(said.id_token_signing_alg_values_supported):
            raise Unfit(f"it signs with none of {' '.join(id_token.ALGORITHMS)}")
        return said

    def _may_be_called(self, url: str) -> bool:
        try:
            shaped = len(url) <= ADDRESS_LENGTH_MAX and url.isascii() and url.isprintable() and "#" not in url
            return shaped and is_address(url, loopback=self._allow_private)
        except ValueError:
            return False


async def _fetch_keys(address: str, *, allow_private: bool) -> object:
    """A provider's keys. Its RSA keys are taken whichever of the two algorithms for them it names: both are allowed here."""
    document = await outgoing.ask_trusted(address, allow_private=allow_private)
    given = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(given, list):
        return document
    return {"keys": [_without_alg(key) if _is_rs256(key) else key for key in given]}


def _is_rs256(key: object) -> bool:
    return isinstance(key, dict) and key.get("alg") == "RS256"


def _without_alg(key: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in key.items() if name != "alg"}
