"""Server-sent events of an order, which the adapters stream to a browser.

HTML Standard, 9.2 "Server-sent events": after the end of a stream a browser connects
again, so the last event tells the page to close it. "Legacy proxy servers are known to,
in certain cases, drop HTTP connections after a short timeout": for them, "authors can
include a comment line (one starting with a ':' character) every 15 seconds or so". A
write that fails also shows that the browser has disconnected.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from .._api.models import Order

CONTENT_TYPE: Final = "text/event-stream"

#: Neither caches nor nginx (its proxy_buffering) keep events back.
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

#: Seconds without an event after which a comment is sent.
HEARTBEAT_S: Final = 15.0

_COMMENT: Final = b":\n\n"


async def stream_events(
    orders: AsyncGenerator[Order, None],
) -> AsyncGenerator[bytes, None]:
    """Yield an event with the public form of each order, and ``end`` with the last one.

    `orders` is closed at the end, and when this generator is closed.
    """
    data = "{}"
    step: asyncio.Task[Order | None] | None = None
    try:
        yield _COMMENT  # proxies pass a response on with its first bytes
        while True:
            # A task, because a timeout of the generator itself would end it.
            step = step or asyncio.create_task(_next(orders))
            await asyncio.wait({step}, timeout=HEARTBEAT_S)
            if not step.done():
                yield _COMMENT
                continue
            order, step = step.result(), None
            if order is None:
                break
            data = json.dumps(order.to_public_dict())
            yield f"data: {data}\n\n".encode()
        yield f"event: end\ndata: {data}\n\n".encode()
    finally:
        if step is not None:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        await orders.aclose()


async def _next(orders: AsyncGenerator[Order, None]) -> Order | None:
    return await anext(orders, None)
