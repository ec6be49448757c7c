"""Tells pages what has changed, as server-sent events.

A page that is open has its own look at the sandbox, ten times a second, and is told
what is not as it was, and what time it is if the clock has not gone on as clocks do.
Nobody else has anything to do with it: what happens while no page is open costs
nothing, and a thousand orders at once are one event.
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

    #: What there is to see, by name.
    Look = Callable[[], Mapping[str, object]]

_TICK_S: Final = 0.1
#: How far the sandbox's clock is from where a page believes it.
_MAX_DRIFT_S: Final = 0.5
#: After so many silent ones something is said, lest one end takes the other for gone.
_TICKS_PER_BEAT: Final = 150
_BEAT: Final = b":\n\n"
#: How soon a browser is to come back when the stream ends.
_RETRY: Final = b"retry: 500\n\n"


class Live:
    """All open streams; they end together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._streams: set[asyncio.Task[object]] = set()

    async def stream(self, request: web.Request, look: Look) -> web.StreamResponse:
        """Answer with what `look` sees now, and with all that it sees change."""
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        # A server answers in tasks.
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._streams.add(task)
        try:
            # Whoever closes the page says no goodbye.
            with suppress(ConnectionError):
                await response.prepare(request)
                await response.write(_RETRY)
                await self._tell(request, response, look)
        finally:
            self._streams.discard(task)
        return response

    def close(self) -> None:
        """End all streams, also those whose reader has stopped to read."""
        for task in self._streams:
            task.cancel()

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, look: Look
    ) -> None:
        told: Mapping[str, object] = {}
        silences = count(1)
        offset = self._offset()
        while request.transport is not None:
            seen = look()
            news = {name: seen[name] for name in seen if told.get(name) != seen[name]}
            told = seen
            if news or abs(self._offset() - offset) > _MAX_DRIFT_S:
                offset = self._offset()
                await response.write(self._event(news))
            elif next(silences) % _TICKS_PER_BEAT == 0:
                await response.write(_BEAT)
            await asyncio.sleep(_TICK_S)

    def _offset(self) -> float:
        """What does not change as long as the clock goes as fast as others do."""
        return self._clock.now().timestamp() - asyncio.get_running_loop().time()

    def _event(self, news: Mapping[str, object]) -> bytes:
        # The time is no news in itself: it says what the deadlines in it are to be held
        # against, as the sandbox may have a clock of its own.
        told = {"now": self._clock.now().timestamp(), **news}
        # JSON as it is written here has no line breaks, which would end the data.
        return f"data: {json.dumps(told)}\n\n".encode()
