"""The common door: signed statements to a lender's own address, one hop, in bounded time."""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx2
import msgspec

from partners.connectors.contract import Rejected, Standing, Unclear

DEADLINE_SECONDS = 12.0
"""For the whole call: the client's own limits are per read and per write, and add up."""
BODY_BYTES_MAX = 65_536
MEDIA_TYPE = "application/jwt"
PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Answers to a submission that a repeat would only get again; all others leave it unclear."""


class Told(msgspec.Struct, frozen=True):
    """What a lender answers; more members are ignored."""

    reference: str
    status: Standing


@dataclass(frozen=True, slots=True)
class SignedHttp:
    """A lender that offers the endpoints of `openapi/bank.yaml` below `address`."""

    address: str
    landing: str
    deadline_seconds: float = DEADLINE_SECONDS
    transport: httpx2.AsyncBaseTransport | None = field(default=None, compare=False)

    async def submit(self, reference: str, signed: str) -> Standing:
        """POST the compact JWS; the reference is the idempotency key."""
        headers = {"Content-Type": MEDIA_TYPE, "Idempotency-Key": reference}
        status, body = await self._call("POST", "/referrals", headers, signed.encode())
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return _standing(reference, body)
        if status in PERMANENT:
            raise Rejected(f"http_{status}")
        if 300 <= status < 400:
            raise Rejected("redirected")  # one hop, to the address that was agreed on
        raise Unclear(f"http_{status}")

    async def status(self, reference: str) -> Standing:
        """GET how a reference stands; 404 is a clear answer."""
        status, body = await self._call("GET", f"/referrals/{reference}", {}, b"")
        if status == HTTPStatus.NOT_FOUND:
            return Standing.NOT_RECEIVED
        if status != HTTPStatus.OK:
            raise Unclear(f"http_{status}")
        return _standing(reference, body)

    async def _call(
        self, method: str, path: str, headers: dict[str, str], content: bytes
    ) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(self.deadline_seconds),
                httpx2.AsyncClient(
                    transport=self.transport, timeout=self.deadline_seconds, trust_env=False
                ) as client,
                client.stream(method, self.address + path, headers=headers, content=content) as answer,
            ):
                return answer.status_code, await _bounded(answer)
        except TimeoutError as error:
            raise Unclear("deadline_passed") from error
        except httpx2.RequestError as error:
            raise Unclear("connection_failed") from error


async def _bounded(answer: httpx2.Response) -> bytes:
    body = b""
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise Unclear("answer_too_long")
    return body


def _standing(reference: str, body: bytes) -> Standing:
    try:
        told = msgspec.json.decode(body, type=Told)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Unclear("answer_unreadable") from error
    if told.reference != reference:
        raise Unclear("answer_about_another")
    return told.status
