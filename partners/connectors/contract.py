"""What every way of reaching a lender must offer: a landing page, a hand-over, and a question how it stands."""

from enum import StrEnum
from typing import Protocol


class Standing(StrEnum):
    """What a lender says of a reference of ours."""

    NOT_RECEIVED = "not_received"
    RECEIVED = "received"
    ACKNOWLEDGED = "acknowledged"


class Unclear(Exception):
    """It cannot be told whether the lender has it: no answer in time, or none that can be read."""


class Rejected(Exception):
    """The lender refuses it for good; sending it again would change nothing."""


class Connector(Protocol):
    """One lender's door. The message of what it raises is a stable code without personal data."""

    @property
    def landing(self) -> str:
        """The lender's own page where a person goes on."""
        ...

    async def submit(self, reference: str, signed: str) -> Standing:
        """Hand a signed referral over, once; the same `reference` twice changes nothing at the lender.

        Raises `Unclear`, after which only `status` may be asked, and `Rejected`.
        """
        ...

    async def status(self, reference: str) -> Standing:
        """Ask whether a reference has arrived. Raises `Unclear`."""
        ...
