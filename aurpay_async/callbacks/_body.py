"""Verify the headers of a request before reading its body.

A request that Aurpay did not sign costs one signature, however long, slow or broken its
body is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..errors import CallbackError
from ._failures import propagates, without_traceback

if TYPE_CHECKING:
    from ._event import CallbackEvent
    from ._headers import Headers
    from ._replay import Kind
    from ._verify import CallbackVerifier

#: The body as received, or an ``async def`` that reads it.
Body = bytes | Callable[[], Awaitable[bytes]]


async def verify_request(
    verifier: CallbackVerifier,
    *,
    method: str,
    url: str,
    headers: Headers,
    body: Body,
    kind: Kind | None,
) -> CallbackEvent | CallbackError:
    """Verify a request; return the event, or the error if it is rejected.

    The body is read only for a POST with verified headers.
    """
    try:
        event = verifier.verify_head(method=method, url=url, headers=headers, kind=kind)
        # Tracebacks can show locals, and this signature is still valid.
        del url, headers
        if method != "POST":
            return event
        return event.with_body(await body() if callable(body) else body)
    except CallbackError as error:
        return without_traceback(error)
    except BaseException as error:
        if propagates(error):
            raise
        # A framework's reader raises on a timeout, broken gzip or a disconnect.
        problem = f"the body could not be read: {type(error).__name__}"
        return CallbackError(problem, rule="body")
