"""Every setting of an installation, read once from the environment into one frozen value."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from compliance import database as databases
from compliance.database import Database
from compliance.vocabulary import OFFERED, Categories, Category, Language

NAME_LENGTH_MAX = 100
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HTTPS_ORIGIN = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?/?")
INSTALLATIONS = ("demo", "sandbox", "development", "production")


class SettingUnusable(Exception):
    """A setting cannot be used; the message names it and says what it may be."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The operator's OpenID Connect provider, which knows who people are."""

    issuer: str
    """Exactly as the provider writes it."""
    client_id: str = "xinqiao"
    """What we are called there."""
    secret_file: Path | None = None
    """Holds our secret there, if it takes no signed assertions (private_key_jwt)."""
    acr: tuple[str, ...] = ()
    """The ways of proving who one is that count; none named: all that the provider has."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What distinguishes one installation from another. No secret is in here: keys are files under `home`."""

    home: Path
    """Where the installation keeps its database (embedded), keys, models and files."""
    installation: str
    """demo, sandbox, development or production."""
    issuer: str
    """The public base URL, no trailing slash; the OAuth issuer. HTTPS outside loopback."""
    database: Database | None
    """An external PostgreSQL; none: the embedded one under `home`."""
    offered: Categories
    """The categories that people can be asked for."""
    token_seconds: int = 300
    session_seconds: int = 1_800
    session_idle_seconds: int = 900
    link_seconds: int = 3_600
    body_bytes_max: int = 262_144
    client_calls_per_minute: int = 3_000
    """Of one client, over all processes."""
    grant_calls_per_minute: int = 60
    """With the tokens of one person's consent."""
    prescreen_entries_min: int = 1_000
    """A list with fewer people is refused: it would say something about one of them."""
    operator_name_zh: str = "信桥"
    operator_name_en: str = "Xinqiao"
    """Who handles people's data, as notices and pages name them (个人信息保护法, article 17)."""
    contact: str = "privacy@xinqiao.example"
    """Where people reach the operator about their data."""
    trusted_proxies: frozenset[str] = frozenset()
    """The addresses whose word on a client's certificate counts (RFC 9440); from others it is ignored."""
    client_ca: Path | None = None
    """The authorities for clients' certificates, PEM; none: only certificates that are registered one by one count."""
    mtls_origin: str | None = None
    """Where clients call with a certificate, if it is another address (RFC 8705 section 5), no trailing slash."""
    provider: Provider | None = None
    """By whom people sign in; none: not connected."""

    @property
    def operator(self) -> Mapping[Language, str]:
        """The operator's name in both languages."""
        return {Language.ZH_CN: self.operator_name_zh, Language.EN: self.operator_name_en}

    @property
    def origin(self) -> str:
        """The log's name, which must never change (C2SP tlog-checkpoint)."""
        return log_name(self.issuer)

    @property
    def in_production(self) -> bool:
        """Whether people are real: everywhere else clients may be on this machine, and people be fictional."""
        return self.installation == "production"

    @property
    def https(self) -> bool:
        """Whether cookies can be Secure."""
        return self.issuer.startswith("https://")


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read `XINQIAO_*`; whatever cannot be used is refused by name."""
    installation = environment.get("XINQIAO_INSTALLATION", "demo")
    if installation not in INSTALLATIONS:
        raise SettingUnusable(f"XINQIAO_INSTALLATION is one of {', '.join(INSTALLATIONS)}")
    issuer = environment.get("XINQIAO_ISSUER", "http://127.0.0.1:8080").rstrip("/")
    _refuse_odd_issuer(issuer)
    return Settings(
        home=home(environment),
        installation=installation,
        issuer=issuer,
        database=_database(environment),
        offered=_offered(environment.get("XINQIAO_OFFERED")),
        prescreen_entries_min=_number(environment, "XINQIAO_PRESCREEN_ENTRIES_MIN", 1_000, low=1),
        client_calls_per_minute=_number(environment, "XINQIAO_CLIENT_CALLS_PER_MINUTE", 3_000, low=1),
        grant_calls_per_minute=_number(environment, "XINQIAO_GRANT_CALLS_PER_MINUTE", 60, low=1),
        operator_name_zh=_name(environment, "XINQIAO_OPERATOR_ZH", "信桥"),
        operator_name_en=_name(environment, "XINQIAO_OPERATOR_EN", "Xinqiao"),
        contact=_name(environment, "XINQIAO_CONTACT", "privacy@xinqiao.example"),
        trusted_proxies=_addresses(environment.get("XINQIAO_TRUSTED_PROXIES", "")),
        client_ca=_authorities(environment.get("XINQIAO_CLIENT_CA")),
        mtls_origin=_https_origin(environment.get("XINQIAO_MTLS_ORIGIN")),
        provider=_provider(environment, loopback=installation != "production"),
    )


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """`XINQIAO_HOME`, else the user's data folder; root has a place that the database's user can enter."""
    if wanted := environment.get("XINQIAO_HOME"):
        return Path(wanted).resolve()
    return Path("/var/lib/xinqiao") if os.geteuid() == 0 else Path.home() / ".local/share/xinqiao"


def log_name(issuer: str) -> str:
    """Host and port of the issuer and the log's path; on loopback no port: it is another one at every start."""
    parts = urlsplit(issuer)
    return f"{parts.hostname if parts.hostname in LOOPBACK else parts.netloc}/log"


def _refuse_odd_issuer(issuer: str) -> None:
    parts = urlsplit(issuer)
    if not is_address(issuer, loopback=True):
        raise SettingUnusable("XINQIAO_ISSUER is an https URL (http only on loopback)")
    if parts.query or parts.fragment or not parts.netloc:
        raise SettingUnusable("XINQIAO_ISSUER has no query and no fragment (RFC 8414 section 2)")


def is_address(url: str, *, loopback: bool) -> bool:
    """Whether it is an https URL; `loopback`: http on this machine is one too."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (loopback and parts.scheme == "http" and parts.hostname in LOOPBACK)


def _database(environment: Mapping[str, str]) -> Database | None:
    url, owner = environment.get("XINQIAO_DATABASE_URL"), environment.get("XINQIAO_DATABASE_OWNER_URL")
    if not url and not owner:
        return None
    if not (url and owner):
        raise SettingUnusable("set both XINQIAO_DATABASE_URL and XINQIAO_DATABASE_OWNER_URL, or neither")
    return databases.external(url, owner)


def _offered(text: str | None) -> Categories:
    if text is None:
        return OFFERED
    try:
        return frozenset(Category(name.strip()) for name in text.split(","))
    except ValueError:
        raise SettingUnusable(f"XINQIAO_OFFERED is a list of: {', '.join(Category)}") from None


def _addresses(text: str) -> frozenset[str]:
    try:
        return frozenset(str(ip_address(part.strip())) for part in text.split(",")) if text else frozenset()
    except ValueError:
        raise SettingUnusable("XINQIAO_TRUSTED_PROXIES is a list of IP addresses") from None


def _authorities(text: str | None) -> Path | None:
    if not text:
        return None
    path = Path(text).resolve()
    try:
        x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        raise SettingUnusable("XINQIAO_CLIENT_CA is a file of certificates in PEM") from None
    return path


def _https_origin(text: str | None) -> str | None:
    if not text:
        return None
    if HTTPS_ORIGIN.fullmatch(text) is None:
        raise SettingUnusable("XINQIAO_MTLS_ORIGIN is an https URL of a host and no more")
    return text.rstrip("/")


def _provider(environment: Mapping[str, str], *, loopback: bool) -> Provider | None:
    issuer = environment.get("XINQIAO_PROVIDER_ISSUER", "")
    if not issuer:
        return None
    parts = urlsplit(issuer)
    if not is_address(issuer, loopback=loopback) or parts.query or parts.fragment or not parts.netloc:
        raise SettingUnusable(
            "XINQIAO_PROVIDER_ISSUER is an https URL without a query (http only on loopback)"
        )
    secret = environment.get("XINQIAO_PROVIDER_SECRET_FILE")
    if secret and not Path(secret).is_file():
        raise SettingUnusable("XINQIAO_PROVIDER_SECRET_FILE is a file whose first line is the secret")
    return Provider(
        issuer=issuer,
        client_id=_name(environment, "XINQIAO_PROVIDER_CLIENT_ID", "xinqiao"),
        secret_file=Path(secret).resolve() if secret else None,
        acr=tuple(environment.get("XINQIAO_PROVIDER_ACR", "").split()),
    )


def _name(environment: Mapping[str, str], name: str, usual: str) -> str:
    text = environment.get(name, usual).strip()
    if not 1 <= len(text) <= NAME_LENGTH_MAX or not text.isprintable():
        raise SettingUnusable(f"{name} is one line of 1 to {NAME_LENGTH_MAX} characters")
    return text


def _number(environment: Mapping[str, str], name: str, usual: int, *, low: int) -> int:
    text = environment.get(name, str(usual))
    if not text.isascii() or not text.isdigit() or int(text) < low:
        raise SettingUnusable(f"{name} is a whole number of at least {low}")
    return int(text)
