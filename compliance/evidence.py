"""A fact's place in the log, verified at the moment it is looked at, as an outsider would verify it."""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from compliance import facts, log, proofs
from compliance.act import Act, View
from compliance.database import ground
from compliance.log import Checkpoint, LogKey, NoteRefused, Proof
from compliance.refusals import NotFound


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the check of one fact gave; a pending fact has no proof yet, a failed one no checkpoint."""

    state: Literal["verified", "pending", "failed"]
    proof: Proof | None = None
    checkpoint: Checkpoint | None = None

    @property
    def leaf(self) -> bytes:
        """The entry that the proof is about."""
        return self.proof.extra or b"" if self.proof else b""

    @property
    def leaf_hash(self) -> bytes:
        """RFC 6962 section 2.1."""
        return log.leaf_hash(self.leaf)


async def of_fact(at: Act | View, fact: UUID) -> Evidence:
    """Check a fact that the caller may see against the newest checkpoint, with the log's public key."""
    found = await of_facts(at, [fact])
    if fact not in found:
        raise NotFound
    return found[fact]


async def of_facts(at: Act | View, facts: Sequence[UUID]) -> dict[UUID, Evidence]:
    """The same for all of those facts that the caller may see, at once."""
    key = LogKey(ground().origin, ground().keyring.log_public_bytes())
    return {fact: _checked(proof, key) for fact, proof in (await proofs.of_facts(at, facts)).items()}


def _checked(proof: Proof | None, key: LogKey) -> Evidence:
    if proof is None:
        return Evidence("pending")
    try:
        return Evidence("verified", proof, log.check_proof(str(proof), proof.extra or b"", key))
    except NoteRefused:
        return Evidence("failed", proof)


def commits_to(evidence: Evidence, payload: bytes, salt: bytes) -> bool:
    """Whether the leaf in the log is the leaf of this content."""
    said = json.loads(evidence.leaf)["commitment"] if evidence.leaf else ""
    return hmac.compare_digest(said, facts.commit_to(payload, salt).hex())
