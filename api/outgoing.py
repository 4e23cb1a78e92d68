"""What we ask of addresses that others name: only public ones, or those of the operator's own, small, in bounded time."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import AI_ADDRCONFIG, SOCK_STREAM
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

import httpx2
import msgspec

DEADLINE_SECONDS = 3.0
"""For everything: finding the address, connecting, reading."""
BODY_BYTES_MAX = 65_536
MEDIA_TYPE = re.compile(r"application/([a-z0-9.-]+\+)?json", re.IGNORECASE)
PORTS = {"https": 443, "http": 80}
UNICAST = IPv6Network("2000::/3")
"""What is given out of IPv6; outside of it an address stands for an IPv4 one (mapped, NAT64), or for no host at large."""
SIX_TO_FOUR = IPv6Network("2002::/16")

Address = IPv4Address | IPv6Address


class NotFetched(Exception):
    """There is nothing from this address; the message says why and repeats nothing of what came.

    `status` is what it answered with, if that is why.
    """

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to connect, and how the host there is called."""

    parts: SplitResult
    host: str
    port: int


async def fetch_json(url: str, *, allow_private: bool) -> object:
    """GET a JSON document over HTTPS from a host on the public internet; raises `NotFetched`.

    Its name is looked up once, and the connection goes to the address that was checked: what the name says a moment
    later is of no use to whoever answers for it. No redirect is followed. `allow_private`: for development, this
    machine may be asked too, and without TLS.
    """
    return await _ask(url, {}, None, allow_private=allow_private, trusted=False)


async def ask_trusted(
    url: str,
    *,
    allow_private: bool,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> object:
    """The same from an address that the operator trusts, which may be in its own network; a `form` is sent by POST."""
    return await _ask(url, headers, form, allow_private=allow_private, trusted=True)


async def _ask(
    url: str,
    headers: Mapping[str, str],
    form: Mapping[str, str] | None,
    *,
    allow_private: bool,
    trusted: bool,
) -> object:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            target = _target(url, allow_private=allow_private)
            address = await _look_up(target, allow_private=allow_private, trusted=trusted)
            return _read(*await _send(target, address, headers, form))
    except TimeoutError as error:
        raise NotFetched(f"it took longer than {DEADLINE_SECONDS:g} seconds") from error
    except (httpx2.RequestError, httpx2.InvalidURL, OSError, UnicodeError) as error:
        raise NotFetched(f"the connection failed ({type(error).__name__})") from error


def _target(url: str, *, allow_private: bool) -> _Target:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotFetched("the address is no URL") from error
    if not host or parts.scheme not in (("https", "http") if allow_private else ("https",)):
        raise NotFetched("the address is not https")
    return _Target(parts, host, port or PORTS[parts.scheme])


async def _look_up(target: _Target, *, allow_private: bool, trusted: bool) -> Address:
    """The one address to connect to; a name with a single address that is refused is refused altogether."""
    found = await asyncio.get_running_loop().getaddrinfo(
        target.host, target.port, type=SOCK_STREAM, flags=AI_ADDRCONFIG
    )
    addresses = [ip_address(str(entry[4][0])) for entry in found]
    if allow_private and addresses and all(address.is_loopback for address in addresses):
        return addresses[0]
    may_be_called = trusted or all(map(is_public, addresses))
    if not addresses or target.parts.scheme != "https" or not may_be_called:
        raise NotFetched("the host is not on the public internet")
    return addresses[0]


def is_public(address: Address) -> bool:
    """Whether an address is of one host on the public internet (IANA special-purpose address registries)."""
    if isinstance(address, IPv6Address) and (address not in UNICAST or address in SIX_TO_FOUR):
        return False
    return address.is_global and not address.is_multicast


async def _send(
    target: _Target, address: Address, headers: Mapping[str, str], form: Mapping[str, str] | None
) -> tuple[httpx2.Response, bytes]:
    where = f"[{address}]" if address.version == 6 else str(address)
    path = target.parts.path or "/"
    query = f"?{target.parts.query}" if target.parts.query else ""
    async with (
        # Its own limits are per read and per write, and add up: the one deadline counts.
        httpx2.AsyncClient(verify=_authorities(), timeout=None, trust_env=False) as client,
        client.stream(
            "GET" if form is None else "POST",
            f"{target.parts.scheme}://{where}:{target.port}{path}{query}",
            headers={
                "Host": target.parts.netloc,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **headers,
            },
            data=form,
            extensions={"sni_hostname": target.host},
        ) as answer,
    ):
        return answer, await _bounded(answer)


@cache
def _authorities() -> ssl.SSLContext:
    """Whom we trust to say which host is which; reading them takes longer than a call."""
    return httpx2.create_ssl_context(trust_env=False)


async def _bounded(answer: httpx2.Response) -> bytes:
    body = b""
    async for part in answer.aiter_raw():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise NotFetched(f"the answer is longer than {BODY_BYTES_MAX} bytes")
    return body


def _read(answer: httpx2.Response, body: bytes) -> object:
    if answer.status_code not in (httpx2.codes.OK, httpx2.codes.CREATED):
        raise NotFetched(f"the answer is {answer.status_code}", answer.status_code)
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    # A compressed answer was not asked for, and could unfold to any size.
    if MEDIA_TYPE.fullmatch(media_type) is None or "content-encoding" in answer.headers:
        raise NotFetched("the answer is not plain JSON")
    try:
        document: object = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NotFetched("the answer is not JSON") from error
    return document
