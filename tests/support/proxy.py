"""The TLS proxy as operators run it, and behind it a server that tells what it was shown."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from litestar import Litestar, Request, get
from litestar.datastructures import State
from support import live, sources
from support.identities import SERVER, Identity, certify

from api import settings
from api.oauth import certificates

CONFIGURATION = sources.ROOT / "deploy" / "haproxy.cfg"


@dataclass(frozen=True)
class Proxy:
    """A running proxy: the address for people, the one for clients with certificates, and whom to trust."""

    people: str
    clients: str
    folder: Path

    def tls(self, identity: Identity | None = None) -> ssl.SSLContext:
        """How a client connects, with its certificate or without one."""
        context = ssl.create_default_context(cafile=self.folder / "server-ca.pem")
        if identity:
            context.load_cert_chain(identity.written(self.folder / "client.pem"))
        return context


@contextmanager
def proxied(server_port: int, client_ca: Path, folder: Path) -> Iterator[Proxy]:
    """Run HAProxy in front of a server; killed when the block ends."""
    root = certify("CN=Roots of servers", authority=True)
    server = certify("CN=Xinqiao", root, usage=SERVER, alternative=x509.IPAddress(ip_address("127.0.0.1")))
    (folder / "server-ca.pem").write_bytes(root.certificate_pem)
    port = live.free_ports(2)
    # Debian keeps it where only root looks.
    environment = os.environ | {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "PROXY_PEOPLE": f"127.0.0.1:{port}",
        "PROXY_CLIENTS": f"127.0.0.1:{port + 1}",
        "PROXY_CERTIFICATE": str(server.written(folder / "server.pem")),
        "PROXY_SERVER": f"127.0.0.1:{server_port}",
        "XINQIAO_CLIENT_CA": str(client_ca),
    }
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", CONFIGURATION],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        live.wait_until(lambda: listens(port) or process.poll() is not None, "the proxy listens")
        if process.poll() is not None:
            raise RuntimeError((folder / "proxy.log").read_text())
        yield Proxy(f"https://127.0.0.1:{port}", f"https://127.0.0.1:{port + 1}", folder)
    finally:
        process.kill()
        process.wait()


@get("/shown", sync_to_thread=False)
def shown(request: Request[Any, Any, Any]) -> dict[str, Any] | None:
    """What the product makes of the connection."""
    found = certificates.presented(request)
    return found and {"thumbprint": found.thumbprint, "subject": found.subject, "trusted": found.trusted}


def make_app() -> Litestar:
    return Litestar([shown], state=State({"settings": settings.from_environment()}), openapi_config=None)


@contextmanager
def server(folder: Path, **environment: str) -> Iterator[int]:
    """Serve `make_app` as the product is served, on the port that this gives."""
    port = live.free_ports()
    code = f"from api import running; running.listen('support.proxy:make_app', port={port}, workers=1)"
    variables = live.environment(folder, PYTHONPATH=os.pathsep.join(sys.path), **environment)
    with (folder / "live.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=log, stderr=log)
    try:
        live.wait_until(lambda: listens(port) or process.poll() is not None, "the server listens")
        if process.poll() is not None:
            raise RuntimeError((folder / "live.log").read_text())
        yield port
    finally:
        live.Running(process, folder).stop()


def listens(port: int) -> bool:
    """Whether anybody answers there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
