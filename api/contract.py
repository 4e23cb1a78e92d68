"""The published contract: openapi/v1.yaml is made from the code, committed, and compared."""

import sys
from pathlib import Path
from typing import Any

import yaml

from api.app import create_app
from api.settings import Settings
from compliance.database import Database
from compliance.vocabulary import OFFERED

FILE = Path(__file__).parent.parent / "openapi" / "v1.yaml"
HEAD = "# Made from the code by `make openapi`; do not edit.\n"


def generated() -> str:
    """The OpenAPI 3.1 description of the application as it is."""
    settings = Settings(Path("/"), "demo", "https://xinqiao.example", None, OFFERED)
    nowhere = Database("", 0, "", "", None, "", None, "")
    schema: dict[str, Any] = create_app(settings, nowhere).openapi_schema.to_schema()
    told: str = yaml.safe_dump(schema, sort_keys=True, allow_unicode=True, width=120)
    return HEAD + told


def write() -> int:
    """Write the file."""
    FILE.write_text(generated(), encoding="utf-8")
    return 0


def check() -> int:
    """0 if the file is what the code says, else 1 and what to do."""
    if FILE.exists() and FILE.read_text(encoding="utf-8") == generated():
        return 0
    sys.stderr.write("openapi/v1.yaml is not what the code says; run `make openapi` and read the diff\n")
    return 1
