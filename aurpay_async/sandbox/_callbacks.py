"""Deliver a callback into an ASGI application of this process, without a server.

Source: the ASGI specification, "HTTP & WebSocket ASGI Message Format" 2.4.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, final
from urllib.parse import unquote

if TYPE_CHECKING:
    from .._urls import Origin
    from ._callbacks import CallbackRequest

Message = MutableMapping[str, Any]

#: An application of Starlette, FastAPI, Litestar, Quart or Django.
AsgiApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

#: The same timeout as for callbacks over the network.
_APP_TIMEOUT_S: Final = 10

_PATH_AND_QUERY = re.compile(r"https?://[^/?#]*([^?#]*)\??([^#]*)", re.IGNORECASE)


@final
class _Exchange:
    """One request to an application, and the status of its response."""

    def __init__(self, body: bytes) -> None:
        self._requests: list[Message] = [
            {"type": "http.request", "body": body, "more_body": False}
        ]
        self._is_answered = asyncio.Event()
        self.status: int | None = None

    async def receive(self) -> Message:
        if self._requests:
            return self._requests.pop()
        await self._is_answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self._is_answered.set()


async def call_app(
    app: AsgiApp, origin: Origin, callback: CallbackRequest
) -> tuple[int | None, str | None]:
    """Return the status of the response, and the exception of the application."""
    exchange = _Exchange(callback.body)
    try:
        async with asyncio.timeout(_APP_TIMEOUT_S):
            await app(_scope(origin, callback), exchange.receive, exchange.send)
    except Exception as error:  # noqa: BLE001 - recorded
        return exchange.status, f"{type(error).__name__}: {error}"
    return exchange.status, None


def _scope(origin: Origin, callback: CallbackRequest) -> Message:
    scheme, host, port = origin
    match = _PATH_AND_QUERY.match(callback.url)
    path, query = match.groups() if match else ("", "")
    headers = [("Host", host), *callback.headers]
    if callback.body:
        headers.append(("Content-Length", str(len(callback.body))))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": callback.method,
        "scheme": scheme,
        "path": unquote(path) or "/",
        "raw_path": path.encode() or b"/",
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(n.lower().encode(), v.encode()) for n, v in headers],
        "client": ("127.0.0.1", 0),
        "server": (host, port),
    }
