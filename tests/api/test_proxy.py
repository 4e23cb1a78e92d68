"""The proxy that operators run, in front of a real server: it shows each client's certificate, and nobody else's words."""

import socket
import ssl

import httpx2
import pytest
from support import proxy
from support.identities import certify

pytestmark = pytest.mark.check

SUBJECT = "CN=bank-a.example,O=甲银行,C=CN"
AUTHORITY = certify("CN=Clients,O=Authority", authority=True)
ISSUED = certify(SUBJECT, AUTHORITY)
SELF_SIGNED = certify(SUBJECT)
FORGED = {"Client-Cert": ISSUED.header, "client-cert-chain": AUTHORITY.header}


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxy")
    client_ca = folder / "client-ca.pem"
    client_ca.write_bytes(AUTHORITY.certificate_pem)
    told = {"XINQIAO_TRUSTED_PROXIES": "127.0.0.1", "XINQIAO_CLIENT_CA": str(client_ca)}
    with proxy.server(folder, **told) as port, proxy.proxied(port, client_ca, folder) as running:
        yield running


@pytest.mark.parametrize(
    ("identity", "trusted"),
    [(ISSUED, True), (SELF_SIGNED, False), (None, None)],
    ids=["issued", "self-signed", "none"],
)
@pytest.mark.parametrize("headers", [{}, FORGED], ids=["honest", "forging"])
def test_through_the_proxy_a_client_is_shown_as_it_is(front, identity, trusted, headers):
    with httpx2.Client(verify=front.tls(identity), trust_env=False, headers=headers) as http:
        answer = http.get(f"{front.clients}/shown")
        assert answer.status_code == 200, answer.text
        right = identity and {"thumbprint": identity.thumbprint, "subject": SUBJECT, "trusted": trusted}
        assert answer.json() == right
        # The door for people asks nobody for a certificate, and believes no header either.
        assert http.get(f"{front.people}/shown").json() is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_connection_is_still_the_clients(front, version):
    context, session = front.tls(ISSUED), None
    context.minimum_version = context.maximum_version = version
    for resumed in (False, True):
        host, port = front.clients.removeprefix("https://").split(":")
        with (
            socket.create_connection((host, int(port))) as raw,
            context.wrap_socket(raw, server_hostname=host, session=session) as tls,
        ):
            tls.sendall(f"GET /shown HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda tls=tls: tls.recv(4096), b""))
            session = tls.session
            assert tls.session_reused is resumed
        assert f'"thumbprint":"{ISSUED.thumbprint}"'.encode() in answer


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.1-1", "5.2.1-2")
@pytest.mark.spec("RFC 9325", "3.1.1")
def test_old_tls_is_refused(front):
    context = front.tls()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    for door in (front.people, front.clients):
        with pytest.raises(httpx2.ConnectError, match="protocol version"):
            httpx2.get(f"{door}/shown", verify=context, trust_env=False)
