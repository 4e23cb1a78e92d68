"""The one family of expected failures: a refusal is a decision, explained and recorded."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: `pointer` is a JSON pointer (RFC 6901), `detail` says what to do."""

    pointer: str
    code: str
    detail: str


class Refusal(Exception):
    """The system declined, for a reason that the caller may be told.

    Subclasses stand beside the function that raises them and set `status` (HTTP), `code` (stable, unique)
    and `title` (en). `detail` is safe for the caller. Anything else that is raised is a bug and a 500.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *faults: Fault) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class NotFound(Refusal):
    """What does not exist and what the caller may not know of: the same words for both."""

    status, code, title = 404, "not_found", "There is no such thing"

    def __init__(self, detail: str = "nothing with this id is visible to you") -> None:
        super().__init__(detail)


class Unacceptable(Refusal):
    """Well formed, and not acceptable; `faults` name the fields."""

    status, code, title = 422, "unacceptable", "The request is well formed but cannot be accepted"


class SamePerson(Refusal):
    """Four eyes: who recorded it cannot approve it."""

    status, code, title = 409, "same_person", "Another person must approve this"
