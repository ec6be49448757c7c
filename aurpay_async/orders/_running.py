"""Running reconciliation for the life of a process: supervised, and stopped cleanly.

A loop that ends, or that fails silently, leaves paid orders unfulfilled. So each
exception is logged with its traceback and followed by another run, and only a
cancellation of the caller or the closing of the order store ends the loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Final, final

from .._retry import RetryPolicy
from ..callbacks._failures import propagates

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._clock import Clock
    from ._records import Reconciliation

_log: Final = logging.getLogger("aurpay_async.orders")

#: Seconds between a run that raised and the next one; later ones wait longer.
_FIRST_PAUSE_S: Final = 1.0

#: So many more attempts of the same kind wait no longer.
_MAX_FAILURES: Final = 64


@final
class Runner:
    """Runs reconciliation again and again, until it is stopped."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: set[asyncio.Task[None]] = set()
        #: For each task that runs a loop: done when the loop has ended.
        self._active: dict[object, asyncio.Future[None]] = {}
        self._stopped = False

    async def run(
        self, reconcile: Callable[[], Awaitable[Reconciliation]], every: float
    ) -> None:
        """Call `reconcile` every so many seconds; at once, if there is more to do."""
        task = asyncio.current_task()
        ended = self._active[task] = asyncio.get_running_loop().create_future()
        try:
            await self._loop(reconcile, every)
        finally:
            del self._active[task]
            ended.set_result(None)

    async def stop(self) -> None:
        """End all loops; wait for the runs that are under way."""
        self._stopped = True
        for pause in self._pauses:
            pause.cancel()
        # A handler may be what stops it: that does not wait for itself.
        mine = asyncio.current_task()
        others = [ended for task, ended in self._active.items() if task is not mine]
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
                await self._rest(pause)
                continue
            failed = 0
            if not done.more:
                await self._rest(every)

    async def _rest(self, seconds: float) -> None:
        if self._stopped:
            return
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait({pause})
        finally:
            self._pauses.discard(pause)
            pause.cancel()
