"""Client certificates: only a trusted proxy can show one, and what it shows is judged by us."""

from base64 import b64encode
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request
from litestar.datastructures import State
from support.identities import DAY, SERVER, Identity, certify

from api.oauth import certificates
from api.oauth.certificates import Certificate, CertificateUnusable
from api.oauth.checks import certificate
from api.oauth.checks.form import InvalidRequest
from api.settings import Settings

PROXY, ELSEWHERE = "10.0.0.7", "10.0.0.8"
SUBJECT = "CN=bank-a.example,O=甲银行,C=CN"
AUTHORITY = certify("CN=Clients,O=Authority", authority=True)
ISSUED = certify(SUBJECT, AUTHORITY)
SELF_SIGNED = certify(SUBJECT)
VERSION_3, VERSION_6 = bytes.fromhex("a003020102"), bytes.fromhex("a003020105")
P_256, NO_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
POINT = ISSUED.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@pytest.fixture(scope="module")
def client_ca(tmp_path_factory):
    file = tmp_path_factory.mktemp("authorities") / "ca.pem"
    file.write_bytes(AUTHORITY.certificate_pem)
    return file


@cache
def an_app(client_ca: Path | None) -> Litestar:
    """An application that trusts the word of `PROXY`."""
    settings = Settings(
        Path("/nowhere"),
        "development",
        "https://xinqiao.example",
        None,
        frozenset(),
        trusted_proxies=frozenset({PROXY}),
        client_ca=client_ca,
    )
    return Litestar([], state=State({"settings": settings}), openapi_config=None)


def connection(*lines: tuple[str, str], hop: str | None = PROXY, client_ca: Path | None = None) -> Request:
    """A call that comes from `hop` with these header lines."""
    scope = {
        "type": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in lines],
        "client": None if hop is None else (hop, 40_000),
        "litestar_app": an_app(client_ca),
    }
    return Request(scope)


def shown(*chain: Identity, hop: str | None = PROXY, client_ca: Path | None = None) -> Certificate | None:
    """What is made of a certificate, with the chain that follows it."""
    lines = [("Client-Cert", chain[0].header)]
    lines += [("Client-Cert-Chain", one.header) for one in chain[1:]]
    return certificates.presented(connection(*lines, hop=hop, client_ca=client_ca))


@pytest.mark.spec("RFC 9440", "2.2")
@pytest.mark.spec("RFC 8705", "2.1.1")
def test_a_certificate_that_our_authority_issued_is_trusted(client_ca):
    found = shown(ISSUED, client_ca=client_ca)
    assert found == Certificate(ISSUED.thumbprint, SUBJECT, trusted=True)


@pytest.mark.spec("RFC 8705", "2.2")
def test_a_self_signed_certificate_is_told_apart_and_not_trusted(client_ca):
    for authorities in (client_ca, None):
        found = shown(SELF_SIGNED, client_ca=authorities)
        assert found == Certificate(SELF_SIGNED.thumbprint, SUBJECT, trusted=False)


def test_without_an_authority_nobody_is_trusted():
    assert shown(ISSUED) == Certificate(ISSUED.thumbprint, SUBJECT, trusted=False)


def test_no_certificate_is_none():
    assert certificates.presented(connection()) is None


@pytest.mark.spec("RFC 9440", "4")
@pytest.mark.parametrize("hop", [ELSEWHERE, None, "", "127.0.0.1", f"{PROXY}."])
def test_what_others_say_about_certificates_is_ignored(hop, client_ca):
    assert shown(ISSUED, hop=hop, client_ca=client_ca) is None
    nonsense = (("Client-Cert", "nonsense"), ("Client-Cert", "more"), ("Client-Cert-Chain", "?"))
    assert certificates.presented(connection(*nonsense, hop=hop)) is None


@pytest.mark.spec("RFC 9440", "2.2")
@pytest.mark.parametrize(
    "lines",
    [
        [ISSUED.header, ISSUED.header],
        [f"{ISSUED.header}, {ISSUED.header}"],
        [""],
        ["::"],
        [":!:"],
        [":abc:"],
        [ISSUED.header.strip(":")],
        [f"{ISSUED.header[:65]} {ISSUED.header[65:]}"],
        [f"{ISSUED.header};a=1"],
        [ISSUED.header.replace(":", '"')],
        [f":{b64encode(b'no certificate').decode()}:"],
        [f":{b64encode(ISSUED.der + b'!').decode()}:"],
        [f":{b64encode(ISSUED.der[:-1]).decode()}:"],
        [f":{b64encode(ISSUED.certificate_pem).decode()}:"],
        [ISSUED.certificate_pem.decode().replace("\n", " ")],
        [f":{b64encode(bytes(17 * 1024)).decode()}:"],
    ],
)
def test_what_is_not_one_certificate_is_refused(lines):
    with pytest.raises(CertificateUnusable):
        certificates.presented(connection(*(("Client-Cert", line) for line in lines)))


def test_a_certificate_has_at_most_16_kib(monkeypatch):
    assert len(SELF_SIGNED.header) - 2 == 4 * -(-len(SELF_SIGNED.der) // 3)
    monkeypatch.setattr(certificates, "LONGEST", len(SELF_SIGNED.der) - 1)
    with pytest.raises(CertificateUnusable, match="byte sequence of at most"):
        shown(SELF_SIGNED)
    monkeypatch.setattr(certificates, "LONGEST", len(SELF_SIGNED.der))
    assert shown(SELF_SIGNED) is not None


@pytest.mark.parametrize(("begins", "ends"), [(-2 * DAY, -DAY), (DAY, 2 * DAY)])
@pytest.mark.parametrize("by", [AUTHORITY, None], ids=["issued", "self-signed"])
def test_out_of_its_time_it_is_refused_whoever_signed_it(by, begins, ends, client_ca):
    identity = certify(SUBJECT, by, begins=begins, ends=ends)
    for _ in range(2):  # the second time from what was kept
        with pytest.raises(CertificateUnusable, match="expired"):
            shown(identity, client_ca=client_ca)


@pytest.mark.spec("FAPI 2.0 Security Profile", "5.4.1-2", "5.4.1-3")
@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP224R1()),
        dsa.generate_private_key(2048),
    ],
    ids=["RSA 1024", "P-224", "DSA"],
)
def test_a_weak_key_is_refused(key):
    with pytest.raises(CertificateUnusable, match="weak or unusual"):
        shown(certify(SUBJECT, AUTHORITY, key=key))


@pytest.mark.parametrize(
    ("der", "told"),
    [
        (ISSUED.der.replace(VERSION_3, VERSION_6), "not a certificate"),
        (ISSUED.der.replace(P_256, NO_CURVE), "cannot be read"),
        (ISSUED.der.replace(POINT, bytes([4]) + bytes(64)), "cannot be read"),
    ],
    ids=["version 6", "unknown curve", "point off the curve"],
)
def test_a_certificate_that_cannot_be_understood_is_refused(der, told):
    assert der != ISSUED.der
    with pytest.raises(CertificateUnusable, match=told):
        certificates.presented(connection(("Client-Cert", f":{b64encode(der).decode()}:")))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["RSA 2048", "P-384", "Ed25519"],
)
def test_a_strong_key_is_not(key):
    assert shown(certify(SUBJECT, AUTHORITY, key=key)) is not None


@pytest.mark.spec("RFC 9440", "2.3")
def test_an_intermediate_authority_joins_the_client_to_ours(client_ca):
    middle = certify("CN=Branch", AUTHORITY, authority=True)
    leaf = certify(SUBJECT, middle)
    assert not shown(leaf, client_ca=client_ca).trusted
    assert shown(leaf, middle, client_ca=client_ca).trusted
    assert shown(leaf, AUTHORITY, middle, client_ca=client_ca).trusted
    assert not shown(leaf, certify("CN=Branch", authority=True), client_ca=client_ca).trusted
    together = [("Client-Cert", leaf.header), ("Client-Cert-Chain", f"{middle.header},  {AUTHORITY.header}")]
    assert certificates.presented(connection(*together, client_ca=client_ca)).trusted


@pytest.mark.parametrize(
    "lines",
    [
        [("Client-Cert-Chain", AUTHORITY.header)],
        [("Client-Cert", ISSUED.header), ("Client-Cert-Chain", "")],
        [("Client-Cert", ISSUED.header), ("Client-Cert-Chain", ":AAAA:")],
        [("Client-Cert", ISSUED.header), ("Client-Cert-Chain", f"{AUTHORITY.header},")],
        [("Client-Cert", ISSUED.header)] + 6 * [("Client-Cert-Chain", AUTHORITY.header)],
        [("Client-Cert", ISSUED.header), ("Client-Cert-Chain", ",".join(6 * [AUTHORITY.header]))],
    ],
    ids=["no leaf", "empty", "not DER", "open end", "six lines", "six in one line"],
)
def test_a_chain_that_cannot_be_one_is_refused(lines):
    with pytest.raises(CertificateUnusable):
        certificates.presented(connection(*lines))


def test_five_intermediates_are_not_too_many(client_ca):
    found = shown(ISSUED, *(5 * [AUTHORITY]), client_ca=client_ca)
    assert found.trusted


def test_a_certificate_for_another_use_is_not_trusted(client_ca):
    assert not shown(certify(SUBJECT, AUTHORITY, usage=SERVER), client_ca=client_ca).trusted
    assert shown(certify(SUBJECT, AUTHORITY, usage=None), client_ca=client_ca).trusted
    assert not shown(certify(SUBJECT, AUTHORITY, authority=True), client_ca=client_ca).trusted
    assert not shown(AUTHORITY, client_ca=client_ca).trusted


def test_an_authority_of_the_same_name_is_another(client_ca):
    impostor = certify("CN=Clients,O=Authority", authority=True)
    assert not shown(certify(SUBJECT, impostor), impostor, client_ca=client_ca).trusted


def test_a_client_cannot_vouch_for_another(client_ca):
    assert not shown(certify("CN=other", ISSUED), ISSUED, client_ca=client_ca).trusted


def test_an_authority_out_of_its_time_vouches_for_nobody(tmp_path):
    old = certify("CN=Old", authority=True, begins=-3 * DAY, ends=-DAY)
    file = tmp_path / "old.pem"
    file.write_bytes(old.certificate_pem)
    assert not shown(certify(SUBJECT, old), client_ca=file).trusted


def test_what_was_found_out_counts_for_five_minutes(tmp_path, monkeypatch):
    file, now = tmp_path / "ca.pem", 1_900_000_000
    file.write_bytes(AUTHORITY.certificate_pem)
    monkeypatch.setattr(certificates, "time", SimpleNamespace(time=lambda: now))
    leaf = certify(SUBJECT, AUTHORITY)
    assert shown(leaf, client_ca=file).trusted
    file.write_bytes(certify("CN=Another", authority=True).certificate_pem)
    assert shown(leaf, client_ca=file).trusted
    now += 300
    assert not shown(leaf, client_ca=file).trusted


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.binary(min_size=1, max_size=4), st.integers(0, len(ISSUED.der)), st.integers(0, 4))
def test_damaged_certificates_are_refused_or_not_trusted(client_ca, noise, place, removed):
    der = ISSUED.der[:place] + noise + ISSUED.der[place + removed :]
    header = ("Client-Cert", f":{b64encode(der).decode()}:")
    try:
        found = certificates.presented(connection(header, client_ca=client_ca))
    except CertificateUnusable:
        return
    assert der == ISSUED.der or (not found.trusted and found.thumbprint != ISSUED.thumbprint)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=3), st.lists(st.text(max_size=40), max_size=3))
def test_any_other_words_are_refused(leaf, chain):
    lines = [("Client-Cert", text) for text in leaf] + [("Client-Cert-Chain", text) for text in chain]
    with pytest.raises(CertificateUnusable):
        certificates.presented(connection(*lines))


async def test_the_check_notes_the_certificate_or_refuses_the_call():
    attempt = SimpleNamespace(request=connection(("Client-Cert", SELF_SIGNED.header)))
    await certificate.read(attempt)
    assert attempt.certificate.thumbprint == SELF_SIGNED.thumbprint
    attempt.request = connection()
    await certificate.read(attempt)
    assert attempt.certificate is None
    attempt.request = connection(("Client-Cert", "nonsense"))
    with pytest.raises(InvalidRequest, match="the client certificate cannot be used: it is not one byte"):
        await certificate.read(attempt)
