"""Authenticate requests: API key, or API token with a signature.

Source: Aurpay's "Signature Authentication Method" and "Get API Key" pages.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import TYPE_CHECKING, Final, Literal, Protocol, final

from ._secrets import Secret
from .errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Unpack

    from ._client import SendingOptions
    from ._http import Request

#: As the documentation spells them.
Algorithm = Literal["HMAC-SHA256", "HMAC-SHA3_256"]

#: RFC 9110, 5.5: visible ASCII, with spaces inside.
HEADER_VALUE: Final = re.compile(r"[!-~](?:[ !-~]*[!-~])?")

_DIGESTS: Final[dict[Algorithm, str]] = {
    "HMAC-SHA256": "sha256",
    "HMAC-SHA3_256": "sha3_256",
}


class Auth(Protocol):
    """Interface of an object that authenticates requests."""

    def headers(self, request: Request, now: datetime) -> dict[str, str]:
        """Return the headers to add to one attempt of `request`, made at `now`."""
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


def _raise_if(name: str, problem: str | None) -> None:
    if problem is not None:
        raise ConfigurationError(f"{name} {problem}")


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
        _raise_if("the API key", problem)

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
        from ._obtain import obtain_key

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
            secret: "API Secret"; it is the key of the HMAC as it stands, not decoded.
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
        _raise_if("the API token", token_problem)
        _raise_if("the API secret", secret_problem)
        _raise_if("algorithm", None if known else f"must be {' or '.join(_DIGESTS)}")

    def __repr__(self) -> str:
        return f"ApiToken({self._token!r}, {self._secret!r}, {self._algorithm!r})"

    def headers(self, request: Request, now: datetime) -> dict[str, str]:
        """Return the five documented headers, signed for this attempt."""
        date = f"{now:%Y-%m-%dT%H:%M:%SZ}"
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
    # Imported here: only signing needs OpenSSL, which is slow to load.
    import hmac

    name = _DIGESTS[algorithm]
    digest = hmac.digest(secret.reveal().encode(), origin.encode(), name)
    return b2a_base64(digest, newline=False).decode("ascii")


def _body_md5(body: bytes) -> str:
    from hashlib import md5

    return md5(body, usedforsecurity=False).hexdigest() if body else ""
