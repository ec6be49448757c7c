"""Credentials, the signatures of requests, and the diagnosis of a wrong clock.

Source: Aurpay's "Signature Authentication Method" and "Get API Key" pages.

Signatures and invoices contain a time. If one is rejected and the local clock differs
from the ``Date`` of the response by minutes, the clock is the likely cause.
"""

from __future__ import annotations

from binascii import b2a_base64
from datetime import timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, Literal, Protocol, final

from .._core.http import parse_http_date
from .._core.secrets import HEADER_VALUE, Secret, raise_problem
from ..errors import (
    APIError,
    NotFoundError,
    RateLimitedError,
    RequestOutcome,
    UntrustedOrderError,
)

if TYPE_CHECKING:
    import hashlib
    import hmac
    from datetime import datetime
    from typing import Unpack

    from .._core.http import Request, Response
    from ..errors import AurpayError
    from . import SendingOptions


#: As the documentation spells them.
Algorithm = Literal["HMAC-SHA256", "HMAC-SHA3_256"]

_DIGESTS: Final[dict[Algorithm, str]] = {
    "HMAC-SHA256": "sha256",
    "HMAC-SHA3_256": "sha3_256",
}


class Auth(Protocol):
    """Interface of an object that authenticates requests."""

    def headers(self, request: Request, now: datetime) -> dict[str, str]:
        """Return the headers to add to one attempt of `request`, sent at `now`."""
        ...


def _as_secret(value: str | Secret) -> tuple[Secret, str | None]:
    """Return `value` as a secret, and what is wrong with it.

    It does not raise: a traceback that shows locals would show a mistyped secret.
    """
    secret = value if isinstance(value, Secret) else Secret(value)
    return secret, _header_problem(secret)


def _header_problem(secret: Secret) -> str | None:
    if type(secret.reveal()) is not str:
        return f"must be a str, not {type(secret.reveal()).__name__}"
    if not secret.reveal():
        return "is empty"
    if not HEADER_VALUE.fullmatch(secret.reveal()):
        return "contains a line break, an outer space or a character that is not ASCII"
    return None


@final
class ApiKey:
    """Authenticate with one API key. Aurpay recommends it for testing only."""

    __slots__ = ("_key",)

    def __init__(self, key: str | Secret) -> None:
        """Store the key as a secret.

        Raises:
            ConfigurationError: if it cannot be the value of a header.
        """
        self._key, problem = _as_secret(key)
        del key
        raise_problem("the API key", problem)

    @classmethod
    async def obtain(
        cls,
        username: str | Secret,
        password: str | Secret,
        **options: Unpack[SendingOptions],
    ) -> ApiKey:
        """Request an API key with the user name and password of an account.

        Aurpay answers with an ``access_token``. It is not documented that this is the
        value of ``API-Key`` (shops paste the dashboard's "Public Key" there), nor how
        long it is valid. (Source: "Get API Key"; of two spellings of the path, the one
        of that page.)

        User name and password are not stored; no error, event or log shows them.

        Args:
            username: The account's e-mail address.
            password: The account's password.
            options: `base_url`, `timeouts`, `retry`, `session`, `transport`, `clock`,
                `on_event` and `trust_env`, as for `AurpayClient`.

        Raises:
            InvalidRequestError: either is not a str, or empty; nothing was sent.
            ConfigurationError: an option cannot be used.
            TransportError: no complete response, after all attempts.
            APIError: Aurpay rejected the request.
            InvalidResponseError: the response contains no key. Errors of this call
                keep only the status and the code of the response.
        """
        # Hidden before anything can raise.
        (name, _), (secret, _) = _as_secret(username), _as_secret(password)
        del username, password
        # Imported here because the client imports this module.
        from . import obtain_key

        return await obtain_key(name, secret, options)

    def __repr__(self) -> str:
        return f"ApiKey({self._key!r})"

    def headers(self, request: Request, now: datetime) -> dict[str, str]:  # noqa: ARG002
        """Return ``API-Key``."""
        return {"API-Key": self._key.reveal()}


@final
class ApiToken:
    """Authenticate with signed requests, for production; the secret is never sent."""

    __slots__ = ("_algorithm", "_secret", "_token")

    def __init__(
        self,
        token: str | Secret,
        secret: str | Secret,
        algorithm: Algorithm = "HMAC-SHA256",
    ) -> None:
        """Store token and secret from the dashboard's API management page.

        Args:
            token: "API Token".
            secret: "API Secret"; it is the key of the HMAC, and is not decoded.
            algorithm: ``HMAC-SHA256`` or ``HMAC-SHA3_256``.

        Raises:
            ConfigurationError: if one of them cannot be used.
        """
        self._token, token_problem = _as_secret(token)
        self._secret, secret_problem = _as_secret(secret)
        # Not quoted in the message: if arguments are swapped, this is a secret.
        known = str(algorithm) in _DIGESTS
        self._algorithm: Algorithm = algorithm if known else "HMAC-SHA256"
        del token, secret, algorithm
        raise_problem("the API token", token_problem)
        raise_problem("the API secret", secret_problem)
        raise_problem(
            "algorithm", None if known else f"must be {' or '.join(_DIGESTS)}"
        )

    def __repr__(self) -> str:
        return f"ApiToken({self._token!r}, {self._secret!r}, {self._algorithm!r})"

    def headers(self, request: Request, now: datetime) -> dict[str, str]:
        """Return the five documented headers, signed for this attempt."""
        date = now.isoformat()[:19] + "Z"  # strftime() takes six times as long
        body_md5 = _body_md5(request.body)
        origin = signature_origin(
            self._algorithm, date, request.method, request.path, body_md5
        )
        headers = {
            "API-Token": self._token.reveal(),
            "Algorithm": self._algorithm,
            "Date": date,
            "Signature": sign(self._algorithm, self._secret, origin),
        }
        # Documented: MD5 of the body of a non-GET request, empty without one.
        if request.method != "GET":
            headers["Body-MD5"] = body_md5
        return headers


def signature_origin(
    algorithm: str, date: str, method: str, path: str, body_md5: str
) -> str:
    """Return the string to sign; without a body its last part is left out."""
    parts = [algorithm, date, f"{method} {path}"]
    if body_md5:
        parts.append(body_md5)
    return " | ".join(parts)


def sign(algorithm: Algorithm, secret: Secret, origin: str) -> str:
    """Return the HMAC in Base64; the secret is its key, not decoded."""
    mac = _keyed_hmac(algorithm, secret).copy()
    mac.update(origin.encode())
    return b2a_base64(mac.digest(), newline=False).decode("ascii")


# Copying a hash is faster than creating it. Only signing needs OpenSSL, which is slow
# to load, so it is imported here.
@lru_cache(maxsize=8)
def _keyed_hmac(algorithm: Algorithm, secret: Secret) -> hmac.HMAC:
    import hmac

    return hmac.new(secret.reveal().encode(), digestmod=_DIGESTS[algorithm])


@cache
def _empty_md5() -> hashlib._Hash:
    import hashlib

    return hashlib.md5(usedforsecurity=False)


def _body_md5(body: bytes) -> str:
    if not body:
        return ""
    digest = _empty_md5().copy()
    digest.update(body)
    return digest.hexdigest()


#: A smaller difference can be due to latency and caches.
_MIN_SKEW: Final = timedelta(minutes=2)

#: Checks that compare times of an invoice with the local clock.
_TIME_CHECKS: Final = frozenset({"timestamp", "expiry"})


def diagnose_clock(
    error: AurpayError, request: Request, response: Response, now: datetime
) -> None:
    """Set `error.diagnosis` if the local clock may be the cause of the error."""
    if not _may_be_due_to_clock(error, request):
        return
    date = parse_http_date(response.headers.get("date", ""))
    if date is None or abs(now - date) < _MIN_SKEW:
        return
    skew = timedelta(seconds=round(abs(now - date).total_seconds()))
    direction = "ahead of" if now > date else "behind"
    error.diagnosis = (
        f"the local clock is {skew} {direction} the Date of the response, and "
        "signatures and invoices depend on it: synchronize it, for example with NTP"
    )


def _may_be_due_to_clock(error: AurpayError, request: Request) -> bool:
    if isinstance(error, UntrustedOrderError):
        return error.check in _TIME_CHECKS
    if not isinstance(error, APIError) or not request.progress.signed:
        return False
    explained = isinstance(error, NotFoundError | RateLimitedError)
    return error.outcome is RequestOutcome.REJECTED and not explained
