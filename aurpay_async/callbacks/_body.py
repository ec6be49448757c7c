"""Verify a request: first its headers, and only then read its body.

So a request that Aurpay did not sign costs no more than one signature, however long,
slow or broken its body is.
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
    """Verify a request, and return the event, or why it is rejected.

    A body is read only if the request is a POST whose headers are verified.
    """
    try:
        event = verifier.verify_head(method=method, url=url, headers=headers, kind=kind)
        # Tracebacks show local names, and these are good for some minutes more.
        del url, headers
        if method != "POST":
            return event
        return event.with_body(await body() if callable(body) else body)
    except CallbackError as error:
        return without_traceback(error)
    except BaseException as error:
        if propagates(error):
            raise
        # What a framework's reader raises: no data in time, no gzip, no client.
        problem = f"the body could not be read: {type(error).__name__}"
        return CallbackError(problem, rule="body")
