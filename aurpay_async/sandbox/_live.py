"""Send changes to open pages as server-sent events.

Each open page polls the state ten times a second and receives what has changed, and the
time if the clock was advanced. A sandbox without open pages does no work for them, and
a thousand orders at once are one event.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._clock import Clock

    #: Return the visible state by name.
    ReadState = Callable[[], Mapping[str, object]]

_POLL_INTERVAL_S: Final = 0.1
#: The deviation of the clock at which a page is sent the time.
_MAX_DRIFT_S: Final = 0.5
#: A heartbeat follows this many polls without a change, so that no timeout ends the
#: stream.
_POLLS_PER_HEARTBEAT: Final = 150
_HEARTBEAT: Final = b":\n\n"
#: The time after which a browser reconnects, in milliseconds.
_RETRY: Final = b"retry: 500\n\n"


class EventStreams:
    """All open streams, which are closed together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: set[asyncio.Task[object]] = set()

    async def stream(
        self, request: web.Request, read_state: ReadState
    ) -> web.StreamResponse:
        """Send the result of `read_state`, and then each change of it."""
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        # aiohttp runs each handler in a task.
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._streams.add(task)
        try:
            # A browser that closes the page closes the connection.
            with suppress(ConnectionError):
                await response.prepare(request)
                await response.write(_RETRY)
                await self._send_changes(request, response, read_state)
        finally:
            self._streams.discard(task)
        return response

    def close(self) -> None:
        """Close all streams, also if a client no longer reads."""
        for task in self._streams:
            task.cancel()

    async def _send_changes(
        self, request: web.Request, response: web.StreamResponse, read_state: ReadState
    ) -> None:
        sent: Mapping[str, object] = {}
        quiet_polls = count(1)
        offset = self._offset()
        while request.transport is not None:
            state = read_state()
            changes = {
                name: value for name, value in state.items() if sent.get(name) != value
            }
            sent = state
            if changes or abs(self._offset() - offset) > _MAX_DRIFT_S:
                offset = self._offset()
                await response.write(self._event(changes))
            elif next(quiet_polls) % _POLLS_PER_HEARTBEAT == 0:
                await response.write(_HEARTBEAT)
            await asyncio.sleep(_POLL_INTERVAL_S)

    def _offset(self) -> float:
        """Return the clock's offset, which is constant unless the clock is advanced."""
        return self._clock.now().timestamp() - asyncio.get_running_loop().time()

    def _event(self, changes: Mapping[str, object]) -> bytes:
        # Deadlines are relative to the sandbox's clock, so each event carries its time.
        event = {"now": self._clock.now().timestamp(), **changes}
        # The JSON has no line break, which would end the data.
        return f"data: {json.dumps(event)}\n\n".encode()
