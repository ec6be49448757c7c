"""The reconciliation loop: it runs until it is cancelled or the order store is closed.

A loop that ends, or that fails silently, leaves paid orders unfulfilled. So each
exception is logged with its traceback and followed by another run, and only a
cancellation of the caller or the closing of the order store ends the loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final, final

from .._client.retry import RetryPolicy
from ..callbacks._notifications import propagates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.clock import Clock
    from ._models import Reconciliation


_log: Final = logging.getLogger("aurpay_async.orders")

#: Seconds between a failed run and the next one; the backoff grows with each failure.
_FIRST_PAUSE_S: Final = 1.0

#: Failures in a row after which the backoff does not grow any more.
_MAX_FAILURES: Final = 64


@final
class Runner:
    """Runs reconciliation periodically until it is stopped."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: set[asyncio.Task[None]] = set()
        #: For each task that runs a loop: done when the loop has ended.
        self._active: dict[object, asyncio.Future[None]] = {}
        self._stopped = False

    async def run(
        self, reconcile: Callable[[], Awaitable[Reconciliation]], every: float
    ) -> None:
        """Call `reconcile` every `every` seconds, and at once if more is due."""
        task = asyncio.current_task()
        ended = self._active[task] = asyncio.get_running_loop().create_future()
        try:
            await self._loop(reconcile, every)
        finally:
            del self._active[task]
            ended.set_result(None)

    async def stop(self) -> None:
        """End all loops; wait for the current runs."""
        self._stopped = True
        for pause in self._pauses:
            pause.cancel()
        # `on_change` may close the store: its own task must not wait for itself.
        current = asyncio.current_task()
        others = [ended for task, ended in self._active.items() if task is not current]
        if others:
            await asyncio.wait(others)

    async def _loop(
        self, reconcile: Callable[[], Awaitable[Reconciliation]], every: float
    ) -> None:
        backoff = RetryPolicy(base=_FIRST_PAUSE_S, cap=every)
        failed = 0
        while not self._stopped:
            try:
                done = await reconcile()
            except BaseException as error:
                if propagates(error):
                    raise
                failed = min(failed + 1, _MAX_FAILURES)
                pause = backoff.backoff(failed, 1 - random.random() / 2)  # noqa: S311
                _log.exception("reconciliation failed, again in %.1f s", pause)
                await self._sleep(pause)
                continue
            failed = 0
            if not done.more:
                await self._sleep(every)

    async def _sleep(self, seconds: float) -> None:
        if self._stopped:
            return
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait({pause})
        finally:
            self._pauses.discard(pause)
            pause.cancel()
