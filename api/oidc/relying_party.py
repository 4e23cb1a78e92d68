"""Signing people in at the operator's provider: the code flow with PKCE, `state` and `nonce` (OpenID Connect Core 1.0)."""

import secrets
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus, urlencode

import msgspec

from api import outgoing
from api.oauth.checks.client_assertion import ASSERTION_TYPE
from api.oidc import id_token
from api.oidc.attempt import Attempt
from api.oidc.discovery import Discovery, Metadata, SignInUnavailable
from api.oidc.id_token import Expected, NotBelieved
from api.outgoing import NotFetched
from api.sessions import Proof
from api.settings import Provider, Settings
from api.telemetry import log
from compliance.database import ground
from compliance.refusals import Refusal
from compliance.vocabulary import Language

RETURN_PATH, SIGNED_OUT_PATH = "/sign-in/return", "/signed-out"
PROVEN_WITHIN_SECONDS = 43_200
"""An ordinary sign-in may rest on one at the provider that is half a day old; one step up, on none before it."""
ASSERTION_SECONDS = 60
SECRET_LENGTH_MAX = 1_024
CODE_REFUSED = 400
"""RFC 6749 section 5.2: `invalid_grant` among others; who we are is another answer, 401."""
NOT_SIGNED_IN = (
    "access_denied",
    "login_required",
    "interaction_required",
    "account_selection_required",
    "consent_required",
)
"""What a provider says where the person did not go through with it (OpenID Connect Core 1.0 section 3.1.2.6)."""


class SignInCancelled(Refusal):
    """The person did not sign in, or the provider did not let them."""

    status, code, title = 403, "sign_in_cancelled", "You are not signed in"


class SignInNotProven(Refusal):
    """What came from the provider does not prove who somebody is."""

    status, code, title = 403, "sign_in_not_proven", "The sign-in could not be verified"


class Tokens(msgspec.Struct, frozen=True):
    """What counts of the provider's answer: we call nothing with its access token."""

    id_token: str


class Pushed(msgspec.Struct, frozen=True):
    """What a provider calls a request that was pushed to it."""

    request_uri: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser comes back with (RFC 6749 section 4.1.2, RFC 9207)."""

    state: str
    code: str
    error: str
    iss: str


class RelyingParty:
    """We, at the operator's provider; one for each process."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self._settings, self._provider = settings, provider
        self._allow_private = not settings.in_production
        self._discovery = Discovery(provider.issuer, allow_private=self._allow_private)

    async def leave(self, attempt: Attempt, language: Language) -> str:
        """The address at the provider to send the browser to; raises `SignInUnavailable`."""
        metadata = await self._discovery.metadata()
        there = metadata.authorization_endpoint
        asked: dict[str, str] = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._settings.issuer + RETURN_PATH,
            "scope": "openid",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
            "ui_locales": language,
            "max_age": str(0 if attempt.fresh else PROVEN_WITHIN_SECONDS),
        }
        if attempt.fresh:
            asked["prompt"] = "login"
        if self._provider.acr:
            asked["acr_values"] = " ".join(self._provider.acr)
        if metadata.require_pushed_authorization_requests:
            asked = await self._push(metadata, asked)
        return f"{there}{'&' if '?' in there else '?'}{urlencode(asked)}"

    async def _push(self, metadata: Metadata, asked: Mapping[str, str]) -> dict[str, str]:
        """What goes into the address instead, at a provider that wants requests pushed (RFC 9126, FAPI 2.0)."""
        try:
            said = await self._call(metadata.pushed_authorization_request_endpoint or "", asked)
            pushed = msgspec.convert(said, Pushed)
        except (NotFetched, msgspec.ValidationError) as error:
            log.warning("request_not_pushed", reason=str(error) if isinstance(error, NotFetched) else "")
            raise SignInUnavailable("try again in a few minutes") from error
        return {"client_id": self._provider.client_id, "request_uri": pushed.request_uri}

    async def come_back(self, attempt: Attempt, answer: Answer) -> Proof:
        """Who signed in. Raises `SignInCancelled`, `SignInNotProven` or `SignInUnavailable`."""
        metadata = await self._discovery.metadata()
        # RFC 9207 section 2.4: before anything else in the answer is looked at, an error too.
        if answer.iss != metadata.issuer and (
            answer.iss or metadata.authorization_response_iss_parameter_supported
        ):
            raise SignInNotProven("the answer came from another provider")
        if answer.error in NOT_SIGNED_IN:
            raise SignInCancelled("sign in again when you want to")
        if answer.error:
            log.warning("provider_refused_request")
            raise SignInUnavailable("try again in a few minutes")
        if not answer.code:
            raise SignInNotProven("the answer holds neither a code nor an error")
        tokens = await self._redeem(metadata, answer.code, attempt.verifier)
        expected = Expected(
            issuer=metadata.issuer,
            client_id=self._provider.client_id,
            nonce=attempt.nonce,
            algorithms=frozenset(metadata.id_token_signing_alg_values_supported),
            acr=self._provider.acr,
            proven_since=attempt.begun_at - (0 if attempt.fresh else PROVEN_WITHIN_SECONDS),
        )
        try:
            return await id_token.believe(tokens.id_token, expected, self._discovery.keys, time.time())
        except NotBelieved as error:
            log.warning("id_token_not_believed", reason=str(error))
            raise SignInNotProven("sign in again; if it happens again, tell us") from error

    async def sign_out_address(self) -> str | None:
        """Where to sign out at the provider as well (OpenID Connect RP-Initiated Logout 1.0), if it has such a place."""
        try:
            there = (await self._discovery.metadata()).end_session_endpoint
        except SignInUnavailable:
            return None
        if there is None:
            return None
        said = {
            "client_id": self._provider.client_id,
            "post_logout_redirect_uri": self._settings.issuer + SIGNED_OUT_PATH,
        }
        return f"{there}{'&' if '?' in there else '?'}{urlencode(said)}"

    async def _redeem(self, metadata: Metadata, code: str, verifier: str) -> Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._settings.issuer + RETURN_PATH,
            "code_verifier": verifier,
        }
        try:
            return msgspec.convert(await self._call(metadata.token_endpoint, form), Tokens)
        except msgspec.ValidationError as error:
            raise SignInNotProven("the provider's answer holds no ID token") from error
        except NotFetched as error:
            log.warning("code_not_redeemed", reason=str(error))
            if error.status == CODE_REFUSED:
                raise SignInNotProven("the provider does not know this answer, or knew it once") from error
            raise SignInUnavailable("try again in a few minutes") from error

    async def _call(self, address: str, form: Mapping[str, str]) -> object:
        """Send the provider a form, as the client that we are there."""
        secret = self._secret()
        headers = {"Authorization": f"Basic {secret}"} if secret else {}
        form = {**form, **({} if secret else self._assertion())}
        return await outgoing.ask_trusted(
            address, allow_private=self._allow_private, form=form, headers=headers
        )

    def _secret(self) -> str | None:
        """Id and secret as RFC 6749 section 2.3.1 wants them, if the provider takes a secret; the file is read anew each time."""
        if self._provider.secret_file is None:
            return None
        try:
            with self._provider.secret_file.open(encoding="utf-8") as lines:
                secret = lines.readline(SECRET_LENGTH_MAX).rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            log.error("provider_secret_unreadable", error_type=type(error).__name__)
            raise SignInUnavailable("try again in a few minutes") from error
        return b64encode(f"{quote_plus(self._provider.client_id)}:{quote_plus(secret)}".encode()).decode()

    def _assertion(self) -> Mapping[str, str]:
        """private_key_jwt: we sign with the key that we publish (RFC 7523 section 2.2)."""
        now, client_id = int(time.time()), self._provider.client_id
        claims = {
            "iss": client_id,
            "sub": client_id,
            # FAPI 2.0 Security Profile section 5.3.3.1: the issuer alone, so that no other server can use it.
            "aud": self._provider.issuer,
            "jti": secrets.token_urlsafe(),
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        }
        signed = ground().keyring.sign("client-authentication+jwt", claims)
        return {
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": signed,
        }
