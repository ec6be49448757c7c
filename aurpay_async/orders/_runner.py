"""The reconciliation loop: it runs until it is cancelled or the order store is closed.

A loop that ends, or that fails silently, leaves paid orders unfulfilled. So each
exception is logged and followed by another run, and only a cancellation of the caller
or the closing of the order store ends the loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, final

from .._client.retry import RetryPolicy
from ..callbacks._notifications import propagates
from ..errors import AurpayError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from datetime import datetime

    from .._core.clock import Clock
    from ._models import Reconciliation

    Reconcile = Callable[[], Awaitable[Reconciliation]]


_log: Final = logging.getLogger("aurpay_async.orders")

#: Seconds between a failed run and the next one; the backoff grows with each failure.
_FIRST_PAUSE_S: Final = 1.0

#: Failures in a row after which the backoff does not grow any more.
_MAX_FAILURES: Final = 64

#: Seconds for the current run to end when the block of `running` ends; then the run is
#: cancelled, and its transaction is rolled back. gunicorn and Kubernetes allow 30 s.
STOP_LIMIT_S: Final = 10.0


@final
class _Loop:
    """One loop, its pause, and its end."""

    def __init__(self, clock: Clock) -> None:
        self.is_stopping = False
        #: The task that runs it; `on_change` may stop its own loop.
        self.task = asyncio.current_task()
        self.event_loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self._clock = clock
        self._pause: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End the pause; the current run continues to its end."""
        self.is_stopping = True
        if self._pause is not None:
            self._pause.cancel()

    async def sleep(self, seconds: float) -> None:
        """Sleep until the time is over, or until `stop` is called."""
        if self.is_stopping:
            return
        self._pause = asyncio.create_task(self._wait(seconds))
        try:
            await asyncio.wait({self._pause})
        finally:
            self._pause.cancel()

    async def _wait(self, seconds: float) -> None:
        # A fake clock that its sleeps move would let this loop run without a pause.
        pause = getattr(self._clock, "pause", self._clock.sleep)
        try:
            await pause(seconds)
        except BaseException as error:
            if propagates(error):
                raise
            # A loop without a pause would use a whole processor.
            _log.exception("the clock cannot wait: asyncio waits %.1f s", seconds)
            await asyncio.sleep(seconds)


@final
class Runner:
    """Runs reconciliation periodically until it is stopped."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loops: set[_Loop] = set()
        self._stopped = False
        #: When a run last succeeded.
        self.last_run_at: datetime | None = None
        #: The failed runs since then, and the code of the last failure.
        self.failures = 0
        self.last_error: str | None = None

    @property
    def is_running(self) -> bool:
        """True if a loop runs in this process."""
        return bool(self._active())

    async def run(self, reconcile: Reconcile, every: float) -> None:
        """Call `reconcile` every `every` seconds, and at once if more is due."""
        loop = self._add_loop()
        try:
            await self._repeat(loop, reconcile, every)
        finally:
            self._remove(loop)

    @asynccontextmanager
    async def running(
        self, reconcile: Reconcile, every: float
    ) -> AsyncGenerator[None, None]:
        """Do the same in a task of its own until the block ends."""
        loop = self._add_loop()
        repeating = self._repeat(loop, reconcile, every)
        task = loop.task = asyncio.create_task(repeating, name="aurpay reconciliation")
        task.add_done_callback(lambda _: self._remove(loop))
        try:
            yield
        finally:
            loop.stop()
            try:
                await asyncio.wait({task}, timeout=STOP_LIMIT_S)
            finally:
                if task.cancel():
                    _log.warning("reconciliation was cancelled, its run took too long")
                    await asyncio.wait({task})

    async def stop(self) -> None:
        """End all loops; wait for the current runs."""
        self._stopped = True
        loops = self._active()
        for loop in loops:
            loop.stop()
        for loop in loops:
            if loop.task is not asyncio.current_task():  # it would wait for itself
                await loop.ended.wait()

    def _active(self) -> list[_Loop]:
        """Return the loops of this event loop: a forked process inherits others."""
        current = asyncio.get_running_loop()
        return [loop for loop in self._loops if loop.event_loop is current]

    def _add_loop(self) -> _Loop:
        loop = _Loop(self._clock)
        loop.is_stopping = self._stopped
        self._loops.add(loop)
        return loop

    def _remove(self, loop: _Loop) -> None:
        self._loops.discard(loop)
        loop.ended.set()

    async def _repeat(self, loop: _Loop, reconcile: Reconcile, every: float) -> None:
        backoff = RetryPolicy(base=_FIRST_PAUSE_S, cap=every)
        failed = 0
        while not loop.is_stopping:
            try:
                done = await reconcile()
            except BaseException as error:
                if propagates(error):
                    raise
                self._record(error)
                failed = min(failed + 1, _MAX_FAILURES)
                pause = backoff.backoff(failed, 1 - random.random() / 2)  # noqa: S311
                self._log_failure(error, pause)
                await loop.sleep(pause)
                continue
            failed = 0
            has_failed = 0 < done.polled == len(done.failures)
            self._record(done.failures[-1].error if has_failed else None)
            if not done.more:
                await loop.sleep(every)

    def _log_failure(self, error: BaseException, pause: float) -> None:
        """Log an outage in one line: its traceback, each minute, tells nothing new."""
        outage = isinstance(error, AurpayError) and error.retryable
        _log.log(
            logging.WARNING if outage else logging.ERROR,
            "reconciliation failed, again in %.1f s: %s",
            pause,
            f"{self.last_error}: {error}" if outage else self.last_error,
            exc_info=not outage or _log.isEnabledFor(logging.DEBUG),
        )

    def _record(self, error: BaseException | None) -> None:
        """Record a run for `OrderStore.health`; a failure without texts of others."""
        if error is None:
            if self.failures:
                _log.warning(
                    "reconciliation works again after %d failed runs", self.failures
                )
            self.last_run_at, self.failures = self._clock.now(), 0
            self.last_error = None
            return
        self.failures += 1
        self.last_error = (
            error.code if isinstance(error, AurpayError) else type(error).__name__
        )
