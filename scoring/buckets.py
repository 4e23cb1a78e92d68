"""Which of 256 buckets a person's behaviour lies in: by a hash of their random id, so that buckets are alike in size."""

import hashlib

from compliance.vocabulary import UserId

BUCKETS = 256


def bucket_of(user: UserId) -> int:
    """The first byte of the SHA-256 of the id's 16 bytes."""
    return hashlib.sha256(user.bytes).digest()[0]
