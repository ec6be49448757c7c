"""Asking for an API key with the account's name and password.

Neither they nor the key may show in anything that can be printed, kept or sent on. So
the two are secrets from the first line on, and an error loses what may repeat them, in
whatever encoding: the raw answer, the frames that read it, and the platform's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._client import AurpayClient
from .errors import APIError, AurpayError, InvalidResponseError, TransportError

if TYPE_CHECKING:
    from ._auth import ApiKey
    from ._client import SendingOptions
    from ._secrets import Secret


async def obtain_key(
    username: Secret, password: Secret, options: SendingOptions
) -> ApiKey:
    """As `ApiKey.obtain`."""
    try:
        async with AurpayClient(**options) as client:
            # Here and not above: opening has loaded it off the loop.
            from ._protocol import build_obtain_key, parse_obtain_key

            # The request gets no name of its own: its body has both.
            return await client._call(  # noqa: SLF001
                build_obtain_key(username, password), parse_obtain_key
            )
    except AurpayError as error:
        failure = error
    try:
        # Out here, so that no other exception hangs on it.
        raise _discreet(failure)
    finally:
        del failure


def _discreet(error: AurpayError) -> AurpayError:
    """The same without all that may show what was sent, or a key."""
    error.__cause__ = error.__context__ = None
    if isinstance(error, APIError | InvalidResponseError | TransportError):
        error.body = b""
    if isinstance(error, APIError):
        error.platform_message = None
        said = f"HTTP {error.status}, code {error.platform_code}"
        error.args = (f"the platform said no ({said}) in words that are left out",)
    return error.with_traceback(None)
