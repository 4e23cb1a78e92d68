"""What developers call their models: a name stands for the digest that it was given last."""

import os
import re

from compliance.database import ground
from compliance.refusals import Fault, NotFound, Unacceptable

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
DIGEST = re.compile(r"[0-9a-f]{64}")


def refuse_unusable(name: str) -> None:
    """Refuse what cannot be a name."""
    if not NAME.fullmatch(name):
        raise Unacceptable(
            "a model's name has up to 64 small letters, digits and . _ -, and starts with a letter or digit",
            Fault("/name", "name_unusable", "choose another name"),
        )


def give(name: str, digest: str) -> None:
    """Let a name stand for a model, in one step."""
    path = ground().home / "models" / "names" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{name}.{os.getpid()}")
    half.write_text(digest + "\n")
    half.replace(path)


def find(name: str) -> str:
    """The digest that a name stands for, or 404."""
    refuse_unusable(name)
    try:
        digest = (ground().home / "models" / "names" / name).read_text().strip()
    except FileNotFoundError:
        digest = ""
    if not DIGEST.fullmatch(digest):
        raise NotFound(f"no model is called {name}: train one with xinqiao models train --name {name}")
    return digest
