"""How often a client may call, and how often with one person's consent; counted where every process counts."""

from api.oauth.attempt import Attempt
from compliance.refusals import Refusal

WINDOW_SECONDS = 60


class RateLimited(Refusal):
    """More calls in this minute than are allowed (RFC 6585 section 4)."""

    status, code, title = 429, "rate_limited", "Too many calls"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_seconds)}


async def count(attempt: Attempt) -> None:
    """Refuse what is above the limit, and say in the answer how much is left (draft-ietf-httpapi-ratelimit-headers-10)."""
    settings, standing = attempt.settings, attempt.standing
    resets = WINDOW_SECONDS - int(attempt.now) % WINDOW_SECONDS
    limits = [("client", settings.client_calls_per_minute, standing.calls)]
    if standing.grant_calls is not None:
        limits.append(("grant", settings.grant_calls_per_minute, standing.grant_calls))
    left = [(name, max(most - calls, 0)) for name, most, calls in limits]
    attempt.request.scope["rate_limit"] = {  # type: ignore[typeddict-unknown-key]
        "RateLimit-Policy": ", ".join(f'"{name}";q={most};w={WINDOW_SECONDS}' for name, most, _ in limits),
        "RateLimit": ", ".join(f'"{name}";r={rest};t={resets}' for name, rest in left),
    }
    for name, most, calls in limits:
        if calls > most:
            raise RateLimited(f"wait for the next minute: {most} calls a minute per {name}", resets)
