"""What is signed when a person is handed over: the one-hop address they follow, and the referral the lender gets."""

from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit, urlunsplit

from compliance import ids
from compliance.database import ground
from compliance.refusals import Refusal
from partners.tables import ReferralRow

ADDRESS_TYPE = "handover+jwt"
REFERRAL_TYPE = "referral+jwt"
PARAMETER = "handover"
ADDRESS_LIVES = timedelta(minutes=10)
REFERRAL_LIVES = timedelta(minutes=15)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class HostNotOwned(Refusal):
    """A person is handed over to the lender's own pages and nowhere else (金融产品网络营销管理办法)."""

    status, code, title = 409, "host_not_owned", "The lender's landing page is not on a host of its own"


def refuse_foreign_host(landing: str, owned_hosts: list[str]) -> None:
    """Refuse a landing page that is not, host and port, one of the lender's own, or not HTTPS off loopback."""
    parts = urlsplit(landing)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not secure or parts.netloc.lower() not in owned_hosts:
        raise HostNotOwned("the lender must register the host of its landing page")


def address(referral: ReferralRow, landing: str, now: datetime) -> str:
    """The lender's landing page with a statement that is good once, for ten minutes.

    Compact JWS, ES256, `typ` handover+jwt: `aud` the lender, `sub` its pseudonym of the person, `ref` the referral.
    Each call signs a fresh one; no address is kept.
    """
    claims = _claims(referral, now, ADDRESS_LIVES) | {"jti": ids.public("hov", ids.random_id())}
    parts = urlsplit(landing)
    query = "&".join(
        filter(None, [parts.query, urlencode({PARAMETER: ground().keyring.sign(ADDRESS_TYPE, claims)})])
    )
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def submission(referral: ReferralRow, now: datetime) -> str:
    """The referral as the lender gets it, from server to server: the wish and a pseudonym, no name.

    Compact JWS, ES256, `typ` referral+jwt; `jti` is the reference, so that it counts once.
    """
    claims = _claims(referral, now, REFERRAL_LIVES)
    return ground().keyring.sign(REFERRAL_TYPE, claims | {"jti": claims["ref"], "wish": referral.wish})


def _claims(referral: ReferralRow, now: datetime, lives: timedelta) -> dict[str, object]:
    return {
        "iss": ground().origin,
        "aud": ids.public("ptn", referral.partner),
        "sub": ids.public("usr", referral.pseudonym),
        "ref": ids.public("ref", referral.id),
        "terms": referral.wish["terms_digest"],
        "iat": int(now.timestamp()),
        "exp": int((now + lives).timestamp()),
    }
