"""What a folder of behaviour data says of itself: money, time zone, and what each profile column may be used for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from compliance.vocabulary import Category
from scoring.behaviour_cells import Column, Kind
from scoring.behaviour_files import refused

SCHEMA_BYTES_MAX = 2**20
PROFILE_COLUMNS_MAX = 2_000
COLUMN_NAME = re.compile(r"[^\W\d_]\w{0,99}")
CURRENCY = re.compile(r"[A-Z]{3}")
BUSINESS_ZONE = "Asia/Shanghai"
PROFILE_KEYS = (Column("user", Kind.TEXT, required=True), Column("known_at", Kind.TIME))
PROFILE_KINDS = {"float": Kind.NUMBER, "category": Kind.TEXT, "date": Kind.DATE, "bool": Kind.BOOLEAN}


class Role(StrEnum):
    """What a profile column may be used for; a model sees only features."""

    FEATURE = "feature"
    ELIGIBILITY = "eligibility"
    FAIRNESS = "fairness"


@dataclass(frozen=True, slots=True)
class ProfileColumn:
    """A profile column as schema.json declares it; `type` is float, category, date or bool."""

    name: str
    type: str
    category: Category
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a folder says of itself: currency (ISO 4217), business time zone (IANA), its profile columns."""

    currency: str | None
    timezone: str
    profiles: tuple[ProfileColumn, ...]
    synthetic: bool


def read(path: Path) -> Schema:
    """Read schema.json.

    Raises:
        BehaviourRefused: it is missing, too large, not JSON, or declares something we do not know.

    """
    try:
        text = path.read_bytes() if path.stat().st_size <= SCHEMA_BYTES_MAX else b""
        declared = json.loads(text)
    except (OSError, ValueError, RecursionError):
        raise refused("/schema.json", "unreadable", "schema.json is missing, too large or not JSON") from None
    if not isinstance(declared, dict):
        raise refused("/schema.json", "not_an_object", "schema.json must be a JSON object")
    profiles = declared.get("profiles", {})
    if not isinstance(profiles, dict) or len(profiles) > PROFILE_COLUMNS_MAX:
        detail = f"profiles must map at most {PROFILE_COLUMNS_MAX} columns to their type, category and roles"
        raise refused("/schema.json/profiles", "not_an_object", detail)
    return Schema(
        currency=_currency(declared.get("currency")),
        timezone=_timezone(declared.get("timezone", BUSINESS_ZONE)),
        profiles=tuple(_profile_column(name, about) for name, about in profiles.items()),
        synthetic=declared.get("synthetic") is True,
    )


def _currency(code: object) -> str | None:
    if code is None or (isinstance(code, str) and CURRENCY.fullmatch(code)):
        return code
    raise refused("/schema.json/currency", "unknown_currency", "currency must be an ISO 4217 code")


def _timezone(name: object) -> str:
    try:
        return ZoneInfo(str(name)).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refused("/schema.json/timezone", "unknown_timezone", "timezone must be an IANA name") from None


def _profile_column(name: str, about: Any) -> ProfileColumn:
    pointer = f"/schema.json/profiles/{name}"
    if not COLUMN_NAME.fullmatch(name) or name in {c.name for c in PROFILE_KEYS}:
        raise refused(
            pointer, "column_name", "a column is named by letters, digits and _, and not user or known_at"
        )
    if not isinstance(about, Mapping) or about.get("type") not in PROFILE_KINDS:
        raise refused(pointer, "column_type", f"type must be one of {', '.join(PROFILE_KINDS)}")
    try:
        category = Category(str(about.get("category")))
        roles = frozenset(Role(role) for role in about.get("roles", ()))
    except (ValueError, TypeError):
        raise refused(pointer, "column_use", "category or roles are not among the known ones") from None
    if not roles:
        raise refused(pointer, "column_use", "a column needs at least one role")
    return ProfileColumn(name, about["type"], category, roles)
