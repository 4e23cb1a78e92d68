"""Who can come in, and with what: clients of the fictional institutions, names and passwords of fictional people."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from joserfc.jwk import ECKey

from api import passwords
from api.demo import bank
from api.demo.callers import BankSoftware
from api.oauth import clients
from api.oauth.scopes import OPERATORS, Scope
from api.settings import Settings
from compliance.act import open_act
from compliance.vocabulary import PartnerId, UserId, Worker

DEMO = Worker("demo")
METADATA_PATH = "/.well-known/oauth-authorization-server"


@dataclass(frozen=True, slots=True)
class SignIn:
    """A fictional person's name and password; `file` holds the password."""

    name: str
    password: str = field(repr=False)
    file: Path


def client_id(code: str, hosts: Mapping[str, str]) -> str:
    """A client's id; at another port it is another client, because people come back to another address."""
    return f"{_named(code, hosts)}-client"


def redirect_uri(code: str, hosts: Mapping[str, str]) -> str:
    """Where people come back to; empty for a client that sends nobody anywhere."""
    return f"http://{hosts[code]}{bank.BACK_PATH}" if code in hosts else ""


async def client(settings: Settings, code: str, partner: PartnerId, hosts: Mapping[str, str]) -> ECKey:
    """Register a client of the partner, once; its private key is the partner's, kept in the demo's own folder."""
    back, file = redirect_uri(code, hosts), settings.home / "demo" / f"{_named(code, hosts)}.jwk"
    if file.exists():
        return ECKey.import_key(json.loads(file.read_text()))
    key = ECKey.generate_key("P-256", auto_kid=True)
    async with open_act(DEMO, None) as act:
        await clients.register_client(
            act,
            loopback=True,
            client_id=client_id(code, hosts),
            partner=partner,
            jwks={"keys": [key.as_dict(private=False)]},
            scopes=[scope for scope in Scope if scope not in OPERATORS],
            redirect_uris=[back] if back else [],
        )
    _keep(file, json.dumps(key.as_dict(private=True)))
    return key


async def sign_in(settings: Settings, name: str, user: UserId) -> SignIn:
    """Give a person of the demo a name and a password, the same ones in every run."""
    file = settings.home / "demo" / f"{name}.password"
    if not file.exists():
        _keep(file, secrets.token_urlsafe(12))
    password = file.read_text()
    kept = await passwords.stretch(password)
    async with open_act(DEMO, None) as act:
        await passwords.keep(act, name, user, kept)
    return SignIn(name, password, file)


def write(folder: Path, outside: BankSoftware, *, pseudonym: str, categories: list[str]) -> None:
    """What an outside client needs to get a score: `client.json` (with its private key) and `score-request.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    purpose = "credit_assessment"
    client = {
        "issuer": outside.issuer,
        "metadata": outside.issuer + METADATA_PATH,
        "client_id": outside.client_id,
        "redirect_uri": outside.redirect_uri,
        "private_jwk": outside.key.as_dict(private=True),
        "pseudonym": pseudonym,
        "purpose": purpose,
        "categories": categories,
    }
    for name, content in (
        ("client.json", client),
        ("score-request.json", {"user": pseudonym, "purpose": purpose, "categories": categories}),
    ):
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(json.dumps(content, indent=1) + "\n")


def _named(code: str, hosts: Mapping[str, str]) -> str:
    return f"{code}-{hosts[code].rpartition(':')[2]}" if code in hosts else code


def _keep(file: Path, secret: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(secret)
