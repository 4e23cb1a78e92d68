"""What others name is fetched from the public internet alone, from the address that was checked, small and in time."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from socket import gaierror

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from support import identities
from support.identities import SERVER

from api import outgoing
from api.outgoing import NotFetched, fetch_json, is_public

NAME = "keys.alpha.example"
JSON = b'{"keys": []}'
NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
]


def answer(
    body: bytes = JSON, *headers: bytes, status: bytes = b"200 OK", kind: bytes = b"application/json"
) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Type: " + kind, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"Connection: close", b"", body])


Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


def saying(content: bytes) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return reply


@dataclass
class Host:
    """A server on the loopback, and the requests it got."""

    port: int
    requests: list[str] = field(default_factory=list)


@asynccontextmanager
async def host(reply: Reply | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Host]:
    here = Host(0)
    said = saying(reply) if isinstance(reply, bytes) else reply

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            here.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await said(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    here.port = server.sockets[0].getsockname()[1]
    async with server:
        yield here


@pytest.fixture
def names(monkeypatch) -> Callable[..., list[str]]:
    """Say what each next look-up of a name finds; returns the names that were looked up."""
    asked: list[str] = []

    def find(*found: list[str]) -> list[str]:
        left = list(found)

        async def getaddrinfo(_self: object, name: str, port: int, **how: object) -> list[tuple[object, ...]]:
            asked.append(name)
            if not left:
                raise gaierror("looked up too often")
            return [(0, 0, 0, "", (address, port)) for address in left.pop(0)]

        monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", getaddrinfo)
        return asked

    return find


async def refused(url: str, *, allow_private: bool = False) -> str:
    with pytest.raises(NotFetched) as why:
        await fetch_json(url, allow_private=allow_private)
    return str(why.value)


# --- where to


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_these_are_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450::1"])
def test_these_are(address):
    assert is_public(ip_address(address))


@given(st.ip_addresses())
def test_a_public_address_is_of_one_host_at_large(address):
    if is_public(address):
        assert address.is_global
        kinds = ("private", "loopback", "link_local", "multicast", "reserved", "unspecified")
        assert [kind for kind in kinds if getattr(address, f"is_{kind}")] == []
    if address.version == 4:
        for network in ("::ffff:0:0/96", "64:ff9b::/96"):
            embedded = int(ip_address(network.split("/")[0])) + int(address)
            assert not is_public(ip_address(embedded.to_bytes(16, "big")))


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_no_address_that_is_not_public_is_called(address):
    async with host(answer()) as here:
        shown = f"[{address}]" if ":" in address else address
        assert await refused(f"https://{shown}:{here.port}/") in (
            "the host is not on the public internet",
            "the address is no URL",
            "the connection failed (gaierror)",
        )
        assert here.requests == []


@pytest.mark.parametrize("found", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["2606:4700::1", "::1"], []])
async def test_a_name_that_leads_inside_is_not_called(names, found):
    names(found)
    assert await refused(f"https://{NAME}/") == "the host is not on the public internet"


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.1-1")
@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "//8.8.8.8/",
        "https:///x",
        "",
        "https://[::1/",
    ],
)
async def test_anything_but_https_is_not_called(url):
    assert await refused(url) in ("the address is not https", "the address is no URL")


async def test_for_development_only_this_machine_is_called_without_tls(names):
    names(["8.8.8.8"], ["10.0.0.1"], ["127.0.0.1", "8.8.8.8"])
    for _ in range(3):
        assert (
            await refused(f"http://{NAME}/", allow_private=True) == "the host is not on the public internet"
        )


async def test_the_connection_goes_to_the_address_that_was_checked(names):
    """What the name says a moment later counts for nothing (DNS rebinding)."""
    async with host(answer()) as here:
        asked = names(["127.0.0.1"], ["10.9.9.9"])
        got = await fetch_json(f"http://{NAME}:{here.port}/a?b=c", allow_private=True)
    assert got == {"keys": []}
    assert asked == [NAME]
    (request,) = here.requests
    assert request.startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"\r\nHost: {NAME}:{here.port}\r\n" in request


# --- TLS


@pytest.fixture
def authority(monkeypatch):
    """An authority of the test's own, which the product trusts."""
    ca = identities.certify("CN=ca", authority=True)
    trusted = ssl.create_default_context(cadata=ca.certificate_pem.decode())
    monkeypatch.setattr(outgoing, "_authorities", lambda: trusted)
    monkeypatch.setattr(outgoing, "is_public", lambda address: str(address) == "127.0.0.1")
    return ca


def tls_for(name: str, authority, folder) -> ssl.SSLContext:
    identity = identities.certify("CN=server", authority, usage=SERVER, alternative=x509.DNSName(name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.written(folder / "server.pem"))
    return context


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.1-5")
async def test_the_certificate_must_be_of_the_name(names, authority, tmp_path):
    context = tls_for(NAME, authority, tmp_path)
    shown: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: shown.append(name)
    async with host(answer(), context) as here:
        names(["127.0.0.1"])
        assert await fetch_json(f"https://{NAME}:{here.port}/", allow_private=False) == {"keys": []}
        assert shown == [NAME]
        names(["127.0.0.1"])
        assert "the connection failed" in await refused(f"https://other.example:{here.port}/")
        assert len(here.requests) == 1


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.1-5")
async def test_an_authority_that_we_do_not_know_vouches_for_nobody(names, authority, tmp_path):
    other = identities.certify("CN=ca", authority=True)
    async with host(answer(), tls_for(NAME, other, tmp_path)) as here:
        names(["127.0.0.1"])
        assert "the connection failed" in await refused(f"https://{NAME}:{here.port}/")
        assert here.requests == []


# --- what comes back


async def local(reply: Reply | bytes) -> str:
    async with host(reply) as here:
        return await refused(f"http://127.0.0.1:{here.port}/keys", allow_private=True)


@pytest.mark.parametrize(
    "kind", [b"application/json", b"application/jwk-set+json; charset=utf-8", b"APPLICATION/JSON"]
)
async def test_json_is_read(kind):
    async with host(answer(kind=kind)) as here:
        assert await fetch_json(f"http://localhost:{here.port}", allow_private=True) == {"keys": []}


async def test_no_redirect_is_followed():
    async with host(answer()) as inside:
        where = b"Location: http://127.0.0.1:%d/" % inside.port
        for status in (b"301 Moved", b"302 Found", b"303 See Other", b"307 Temporary", b"308 Permanent"):
            assert await local(answer(b"{}", where, status=status)) == f"the answer is {status[:3].decode()}"
        assert inside.requests == []


@pytest.mark.parametrize("status", [b"204 No Content", b"206 Partial", b"404 Not Found", b"500 Broken"])
async def test_only_ok_is_an_answer(status):
    assert await local(answer(status=status)) == f"the answer is {status[:3].decode()}"


@pytest.mark.parametrize("kind", [b"text/html", b"text/plain", b"application/xml", b"", b"application/jsonp"])
async def test_another_type_is_not_read(kind):
    assert await local(answer(kind=kind)) == "the answer is not plain JSON"


async def test_what_is_compressed_is_not_unfolded():
    assert await local(answer(JSON, b"Content-Encoding: gzip")) == "the answer is not plain JSON"


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'"\xff"', b"[" * 60_000])
async def test_what_is_no_json_is_refused(body):
    assert await local(answer(body)) == "the answer is not JSON"


async def test_a_large_body_is_cut_off_while_it_comes():
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while sent < 1 << 26:
            writer.write(b" " * 65_536)
            sent += 65_536
            await writer.drain()

    assert await local(endless) == f"the answer is longer than {outgoing.BODY_BYTES_MAX} bytes"
    assert sent < 1 << 26


async def test_a_body_of_the_longest_length_is_read():
    body = b'"' + b"a" * (outgoing.BODY_BYTES_MAX - 2) + b'"'
    async with host(answer(body)) as here:
        assert await fetch_json(f"http://127.0.0.1:{here.port}", allow_private=True) == "a" * (len(body) - 2)


@pytest.mark.parametrize(
    "more", [b"X-Slow: ", b"Content-Type: application/json\r\n\r\n"], ids=["head", "body"]
)
async def test_who_is_slow_is_left(monkeypatch, more):
    """Each part comes quickly, all of it never does."""
    monkeypatch.setattr(outgoing, "DEADLINE_SECONDS", 0.4)

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + more)
        for _ in range(100):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)

    started = time.monotonic()
    assert await local(drip) == "it took longer than 0.4 seconds"
    assert time.monotonic() - started < 2


async def test_a_slow_look_up_counts_too(monkeypatch):
    monkeypatch.setattr(outgoing, "DEADLINE_SECONDS", 0.2)

    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(10)

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", never)
    assert await refused(f"https://{NAME}/") == "it took longer than 0.2 seconds"


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    async with host(answer(b'{"proxied": true}')) as proxy, host(answer()) as here:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert await fetch_json(f"http://127.0.0.1:{here.port}", allow_private=True) == {"keys": []}
        assert proxy.requests == []


async def test_nobody_there_is_told():
    async with host(answer()) as here:
        port = here.port
    assert (
        await refused(f"http://127.0.0.1:{port}", allow_private=True)
        == "the connection failed (ConnectError)"
    )
    assert await refused("https://no-such-name.invalid/") == "the connection failed (gaierror)"


# --- the operator's own


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.1-5")
async def test_what_the_operator_names_may_be_in_its_own_network(names, authority, tmp_path, monkeypatch):
    monkeypatch.setattr(outgoing, "is_public", lambda _: False)
    async with host(answer(), tls_for(NAME, authority, tmp_path)) as here:
        names(["127.0.0.1"], ["127.0.0.1"], ["127.0.0.1"])
        assert "public internet" in await refused(f"https://{NAME}:{here.port}/")
        said = await outgoing.ask_trusted(f"https://{NAME}:{here.port}/", allow_private=False)
        assert said == {"keys": []}
        with pytest.raises(NotFetched, match="connection failed"):
            await outgoing.ask_trusted(f"https://other.example:{here.port}/", allow_private=False)
        assert len(here.requests) == 1


async def test_but_not_without_tls_unless_it_is_this_machine(names):
    names(["10.0.0.1"])
    for allow_private in (True, False):
        with pytest.raises(NotFetched, match=r"public internet|not https"):
            await outgoing.ask_trusted(f"http://{NAME}/", allow_private=allow_private)
    async with host(answer()) as here:
        with pytest.raises(NotFetched, match="not https"):
            await outgoing.ask_trusted(f"http://127.0.0.1:{here.port}/", allow_private=False)
        assert here.requests == []


async def test_a_form_is_posted_with_what_it_needs():
    async with host(answer(status=b"201 Created")) as here:
        said = await outgoing.ask_trusted(
            f"http://127.0.0.1:{here.port}/token?x=1",
            allow_private=True,
            form={"code": "a b&c"},
            headers={"Authorization": "Basic eA=="},
        )
    (request,) = here.requests
    head = request.lower()
    assert said == {"keys": []}
    assert head.startswith("post /token?x=1 http/1.1")
    assert "content-type: application/x-www-form-urlencoded" in head
    assert "authorization: basic ea==" in head
    assert "content-length: 12" in head  # code=a+b%26c


async def test_what_it_answered_with_is_known():
    for status, known in ((b"400 Bad Request", 400), (b"303 See Other", 303)):
        async with host(answer(status=status)) as here:
            with pytest.raises(NotFetched) as why:
                await outgoing.ask_trusted(f"http://127.0.0.1:{here.port}/", allow_private=True, form={})
        assert why.value.status == known
