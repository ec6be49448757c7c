"""Asking for an API key with the account's name and password.

Neither they nor the key may show in anything that can be printed, kept or sent on. So
the two are secrets from the first line on, and an error loses what may repeat them:
the raw answer, the frames that read it, and the platform's words if they quote one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._client import AurpayClient
from .errors import APIError, AurpayError, InvalidResponseError, TransportError

if TYPE_CHECKING:
    from ._auth import ApiKey
    from ._client import SendingOptions
    from ._secrets import Secret

#: Longer texts of the platform's are not shown: messages cut them, and who looks for a
#: password in them would not find the beginning of one.
_MAX_SHOWN: Final = 200


async def obtain_key(
    username: Secret, password: Secret, options: SendingOptions
) -> ApiKey:
    """As `ApiKey.obtain`."""
    try:
        async with AurpayClient(**options) as client:
            # Here and not above: opening has loaded it off the loop.
            from ._protocol import build_obtain_key, parse_obtain_key

            request = build_obtain_key(username, password)
            return await client._call(request, parse_obtain_key)  # noqa: SLF001
    except AurpayError as error:
        failure = error
    try:
        # Out here, so that no other exception hangs on it.
        raise _discreet(failure, username, password)
    finally:
        del failure


def _discreet(error: AurpayError, *secrets: Secret) -> AurpayError:
    """The same without all that may show one of these, or a key."""
    error.__cause__ = error.__context__ = None
    if isinstance(error, APIError | InvalidResponseError | TransportError):
        error.body = b""
    if isinstance(error, APIError) and _may_quote(error.platform_message, secrets):
        error.platform_message = None
        said = f"HTTP {error.status}, code {error.platform_code}"
        error.args = (f"the platform said no ({said}) in words that are left out",)
    return error.with_traceback(None)


def _may_quote(text: str | None, secrets: tuple[Secret, ...]) -> bool:
    if text is None:
        return False
    said = text.casefold()
    quoted = any(secret.reveal().casefold() in said for secret in secrets)
    return quoted or len(text) > _MAX_SHOWN
