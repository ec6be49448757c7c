"""Request an API key with the account's user name and password.

None of the three may appear in a log, an error or an event. So they are secrets from
the first line on, and an error loses each part that may repeat them, in any encoding:
the response body, the frames that parsed it, and Aurpay's message.
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
    """Request a key as `ApiKey.obtain` does."""
    try:
        async with AurpayClient(**options) as client:
            # Imported here: opening the client has loaded it off the event loop.
            from ._protocol import build_obtain_key, parse_obtain_key

            # Do not bind the request to a variable: its body contains both secrets,
            # and tracebacks can show locals.
            return await client._send(  # noqa: SLF001
                build_obtain_key(username, password), parse_obtain_key
            )
    except AurpayError as error:
        failure = error
    try:
        # Outside of `except`, so that the error has no context.
        raise _without_secrets(failure)
    finally:
        del failure


def _without_secrets(error: AurpayError) -> AurpayError:
    """Return the error without the parts that may show a credential."""
    error.__cause__ = error.__context__ = None
    if isinstance(error, APIError | InvalidResponseError | TransportError):
        error.body = b""
    if isinstance(error, APIError):
        error.platform_message = None
        status = f"HTTP {error.status}, code {error.platform_code}"
        error.args = (
            f"Aurpay rejected it with {status} (message omitted: it may show a secret)",
        )
    return error.with_traceback(None)
