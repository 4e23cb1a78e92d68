"""Cursors: opaque and signed, so that a page can only be asked for as we handed it out."""

import base64
import binascii
import hashlib
import hmac

from compliance.database import ground
from compliance.refusals import Fault, Refusal

TAG_BYTES = 16


class CursorUnusable(Refusal):
    """A cursor that we did not hand out."""

    status, code, title = 422, "cursor_unusable", "This cursor cannot be used"


def sign(place: str, *parts: str | int) -> str:
    """A cursor into one list (`place`) that holds `parts`."""
    content = "\x1f".join(str(part) for part in parts).encode()
    return base64.urlsafe_b64encode(_tag(place, content) + content).decode().rstrip("=")


def read(place: str, text: str) -> tuple[str, ...]:
    """The parts of a cursor of ours into this list, or a refusal: one of another list is none."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    tag, content = raw[:TAG_BYTES], raw[TAG_BYTES:]
    parts = tuple(content.decode(errors="replace").split("\x1f"))
    if not hmac.compare_digest(tag, _tag(place, content)):
        fault = Fault("/cursor", "cursor_unusable", "use `next` of the page before, unchanged")
        raise CursorUnusable("start again without a cursor", fault)
    return parts


def _tag(place: str, content: bytes) -> bytes:
    key = ground().keyring.derived(f"cursor {place}")
    return hmac.digest(key, content, hashlib.sha256)[:TAG_BYTES]
