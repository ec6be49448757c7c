"""Who asks: the headers that authenticate a request.

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

#: The exact spellings of the documentation.
Algorithm = Literal["HMAC-SHA256", "HMAC-SHA3_256"]

#: RFC 9110, 5.5: visible ASCII, with blanks inside.
HEADER_VALUE: Final = re.compile(r"[!-~](?:[ !-~]*[!-~])?")

_DIGESTS: Final[dict[Algorithm, str]] = {
    "HMAC-SHA256": "sha256",
    "HMAC-SHA3_256": "sha3_256",
}


class Auth(Protocol):
    """Something that authenticates requests.

    .. versionadded:: 0.1.0
    """

    def headers(self, request: Request, now: datetime) -> dict[str, str]:
        """The headers to add to one attempt at `request`, made at `now`."""
        ...


def _hide(value: str | Secret) -> tuple[Secret, str | None]:
    """`value` as a secret, and what is wrong with it.

    It does not raise: a traceback that shows local names would show a mistyped secret.
    """
    secret = value if isinstance(value, Secret) else Secret(value)
    return secret, _problem(secret)


def _problem(secret: Secret) -> str | None:
    if type(secret.reveal()) is not str:
        return f"must be a text, not {type(secret.reveal()).__name__}"
    if not secret.reveal():
        return "is empty"
    if not HEADER_VALUE.fullmatch(secret.reveal()):
        return "holds a line break, a blank at an end or a character that is not ASCII"
    return None


def _require(name: str, problem: str | None) -> None:
    if problem is not None:
        raise ConfigurationError(f"{name} {problem}")


@final
class ApiKey:
    """The simple mode: one key, sent as it is. Aurpay advises it for testing only.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("_key",)

    def __init__(self, key: str | Secret) -> None:
        """Take a key.

        Raises:
            ConfigurationError: if it cannot be a header.
        """
        self._key, problem = _hide(key)
        del key
        _require("the API key", problem)

    @classmethod
    async def obtain(
        cls,
        username: str | Secret,
        password: str | Secret,
        **options: Unpack[SendingOptions],
    ) -> ApiKey:
        """A key for the account of that name.

        The platform gives an ``access_token``. That it is what goes into ``API-Key``
        is not documented: shops paste the dashboard's "Public Key" there. Nor is how
        long it lives. (Source: "Get API Key"; of two spellings of the path, the one of
        that page.)

        Neither of the two is kept, and no error, event or log shows them.

        Args:
            username: The account's e-mail address.
            password: The account's.
            options: `base_url`, `timeouts`, `retry`, `session`, `transport`, `clock`,
                `on_event` and `trust_env`, as for `AurpayClient`.

        Raises:
            InvalidRequestError: one of the two is no text, or empty; nothing was sent.
            ConfigurationError: an option cannot be used.
            TransportError: no usable answer, after some attempts.
            APIError: the platform said no.
            InvalidResponseError: there is no such key in the answer. Errors of this
                call keep nothing of the answer but its status and code.
        """
        # Hidden before anything can raise.
        (name, _), (secret, _) = _hide(username), _hide(password)
        del username, password
        # The one look upwards of this room: a key is what it gives, so it is asked
        # for here, and asking takes all that a client is made of.
        from ._obtain import obtain_key

        return await obtain_key(name, secret, options)

    def __repr__(self) -> str:
        return f"ApiKey({self._key!r})"

    def headers(self, request: Request, now: datetime) -> dict[str, str]:  # noqa: ARG002
        """``API-Key``."""
        return {"API-Key": self._key.reveal()}


@final
class ApiToken:
    """The signing mode, for production: a token, and a secret that never travels.

    .. versionadded:: 0.1.0
    """

    __slots__ = ("_algorithm", "_secret", "_token")

    def __init__(
        self,
        token: str | Secret,
        secret: str | Secret,
        algorithm: Algorithm = "HMAC-SHA256",
    ) -> None:
        """Take the pair of the dashboard's API management page.

        Args:
            token: "API Token".
            secret: "API Secret"; its text is the key of the HMAC, not decoded.
            algorithm: ``HMAC-SHA256`` or ``HMAC-SHA3_256``.

        Raises:
            ConfigurationError: if one of them cannot be used.
        """
        self._token, token_problem = _hide(token)
        self._secret, secret_problem = _hide(secret)
        # Not quoted: arguments get swapped, and then this is a secret.
        known = str(algorithm) in _DIGESTS
        self._algorithm: Algorithm = algorithm if known else "HMAC-SHA256"
        del token, secret, algorithm
        _require("the API token", token_problem)
        _require("the API secret", secret_problem)
        _require("algorithm", None if known else f"must be {' or '.join(_DIGESTS)}")

    def __repr__(self) -> str:
        return f"ApiToken({self._token!r}, {self._secret!r}, {self._algorithm!r})"

    def headers(self, request: Request, now: datetime) -> dict[str, str]:
        """The documented five, fresh for each attempt."""
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
        # The documentation: MD5 of the body of a non-GET request, empty without one.
        if request.method != "GET":
            headers["Body-MD5"] = body_md5
        return headers


def signature_origin(
    algorithm: str, date: str, method: str, path: str, body_md5: str
) -> str:
    """The text that is signed; without a body its last part is left out."""
    parts = [algorithm, date, f"{method} {path}"]
    if body_md5:
        parts.append(body_md5)
    return " | ".join(parts)


def sign(algorithm: Algorithm, secret: Secret, origin: str) -> str:
    """Base64 of the HMAC; the key is the secret's text as it stands."""
    # Here and not above: only signing needs OpenSSL, and it is slow to load.
    import hmac

    name = _DIGESTS[algorithm]
    digest = hmac.digest(secret.reveal().encode(), origin.encode(), name)
    return b2a_base64(digest, newline=False).decode("ascii")


def _body_md5(body: bytes) -> str:
    from hashlib import md5

    return md5(body, usedforsecurity=False).hexdigest() if body else ""
