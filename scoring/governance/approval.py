"""An approval of a model that nobody can write by hand: a seal over its files and the three people, under the installation's key."""

import hmac

from compliance.canonical import canonical
from compliance.database import ground


def seal(digest: str, *hands: str | None) -> bytes:
    """HMAC-SHA256 over the model's digest and who registered, validated and approved it."""
    said = canonical({"digest": digest, "hands": list(hands)})
    return hmac.digest(ground().keyring.derived("model-approval"), said, "sha256")


def holds(approval: bytes | None, digest: str, *hands: str | None) -> bool:
    """Whether an approval is one that we made, of these files and by these people."""
    return hmac.compare_digest(approval or b"", seal(digest, *hands))
