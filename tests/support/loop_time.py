"""Time limits of the event loop that end without waiting.

A short limit would end an earlier step on a busy machine. So tests set long limits, and
advance the loop's clock when the step under test has begun.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def advance_loop(seconds: float) -> None:
    """Advance the clock of the running event loop, and so the limits that it keeps."""
    loop: Any = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds
    if hasattr(loop, "fire"):
        for handle in [*loop._scheduled]:
            loop.fire(handle)


def uvloop_policy() -> asyncio.AbstractEventLoopPolicy:
    """Return a policy of uvloop with timers that follow `advance_loop`."""
    import uvloop

    class Loop(uvloop.Loop):
        """uvloop compares its timers with its own clock; these, with `time`."""

        def __init__(self) -> None:
            super().__init__()
            self._timers: dict[int, asyncio.TimerHandle] = {}
            #: As in asyncio's loops: the handles that were not called yet.
            self._scheduled = self._timers.values()

        def call_later(  # type: ignore[override]
            self, delay: float, callback: Callable[..., Any], *args: Any, **kw: Any
        ) -> asyncio.TimerHandle:
            return self.call_at(self.time() + delay, callback, *args, **kw)

        def call_at(  # type: ignore[override]
            self,
            when: float,
            callback: Callable[..., Any],
            *args: Any,
            context: Any = None,
        ) -> asyncio.TimerHandle:
            handle = asyncio.TimerHandle(when, callback, args, self, context)
            handle._scheduled = True  # type: ignore[attr-defined]
            self._timers[id(handle)] = handle
            self.fire(handle)
            return handle

        def fire(self, handle: asyncio.TimerHandle) -> None:
            rest = max(0.0, handle.when() - self.time())
            super().call_later(rest, self._fire, handle)

        def _fire(self, handle: asyncio.TimerHandle) -> None:
            if id(handle) not in self._timers:
                return  # called or cancelled
            if handle.when() > self.time():
                self.fire(handle)
                return
            del self._timers[id(handle)]
            handle._run()

        def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
            self._timers.pop(id(handle), None)

    class Policy(asyncio.DefaultEventLoopPolicy):
        _loop_factory = Loop

    return Policy()
