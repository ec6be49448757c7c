"""The parts of the sandbox, put together, and its activity feed.

A report contains no secret: headers, bodies and queries are left out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Literal, final

import attrs

from .._core.urls import without_query
from ..errors import ConfigurationError
from ._accounting import Account, SandboxWithdrawal
from ._callbacks import CallbackFaults, CallbackSender, SentCallback, change_status
from ._clock import Deadlines, SandboxClock
from ._fault_responses import Faults
from ._ledger import Checkout, Checkouts, Ledger, SandboxOrder, random_source
from ._settings import Authenticator, ReceivedRequest
from ._storage import PersistentDict, PersistentList, SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .._core.clock import Clock
    from ._accounting import Rates
    from ._responses import Amounts
    from ._settings import Settings
    from ._storage import Persistent


class State:
    """Orders, requests, callbacks, faults and rates of one sandbox."""

    def __init__(self, rates: Rates) -> None:
        self.orders = PersistentDict("order", SandboxOrder)
        self.checkouts = PersistentDict("checkout", Checkout)
        self.withdrawals = PersistentDict("withdrawal", SandboxWithdrawal)
        self.requests = PersistentList("request", ReceivedRequest)
        #: The attempts to deliver callbacks, in the order in which they ended.
        self.callbacks = PersistentList("callback", SentCallback)
        self.faults = Faults()
        self.callback_faults = CallbackFaults()
        self.rates = rates
        self._storage: SqliteStorage | None = None

    def open(self, path: str, *others: Persistent) -> None:
        """Load the state from a file, and store each change there from now on.

        Args:
            path: The file.
            others: Further state to load and store.

        Raises:
            ConfigurationError: if the file is in use, or cannot be read.
        """
        if self._storage is not None:
            raise ConfigurationError(
                "a sandbox with a file opens once; create another Sandbox for the file"
            )
        parts: tuple[Persistent, ...] = (
            *(self.orders, self.checkouts, self.withdrawals),
            *(self.requests, self.callbacks),
            *(self.faults, self.callback_faults, self.rates),
        )
        self._storage = SqliteStorage.open(path)
        try:
            for part in (*parts, *others):
                part.attach(self._storage)
        except ValueError as error:
            self.close()
            raise ConfigurationError(
                f"the file contains a value that this version cannot read: {error}"
            ) from None

    def close(self) -> None:
        """Close the file. The state stays readable."""
        if self._storage is not None:
            self._storage.close()


_OK_STATUS: Final = 200


@attrs.frozen(kw_only=True)
class Activity:
    """A request that was answered, or a callback that was sent."""

    #: Aware, UTC.
    at: datetime
    kind: Literal["request", "callback"]
    method: str
    #: The path of a request, or the URL of a callback; without a query.
    target: str
    #: The order of a callback.
    order_id: str | None = None
    #: The outcome in a few words.
    result: str
    is_ok: bool


@final
class ActivityFeed:
    """Pass reports on to a subscriber, if there is one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._subscriber: Callable[[Activity], None] | None = None

    def subscribe(self, subscriber: Callable[[Activity], None]) -> None:
        """Report to `subscriber` from now on; it must not raise."""
        self._subscriber = subscriber

    def report_request(self, method: str, path: str, problem: str | None) -> None:
        """Report a request.

        Args:
            method: The HTTP method.
            path: The path with its query, which is left out of the report.
            problem: The fault, or why it was rejected; ``None`` if it was served.
        """
        if self._subscriber is not None:
            self._subscriber(
                Activity(
                    at=self._clock.now(),
                    kind="request",
                    method=method,
                    target=path.partition("?")[0],
                    result=problem or "ok",
                    is_ok=problem is None,
                )
            )

    def report_callback(self, sent: SentCallback) -> None:
        """Report an attempt to deliver a callback."""
        if self._subscriber is not None:
            self._subscriber(
                Activity(
                    at=sent.sent_at,
                    kind="callback",
                    method=sent.method,
                    target=without_query(sent.url),
                    order_id=sent.order_id,
                    result=sent.error or f"{sent.kind}: {sent.status}",
                    is_ok=sent.status == _OK_STATUS,
                )
            )


@final
class Simulator:
    """Ledger, clock, faults, callbacks and storage of one sandbox."""

    def __init__(self, settings: Settings) -> None:
        clock, random_bytes = settings.clock, random_source(settings.seed)
        self.clock = clock
        self.amounts: Amounts = settings.amounts
        self.api_key_in_callbacks = settings.api_key_in_callbacks
        self.host_policy = settings.host_policy
        self.state = State(settings.rates)
        self.authenticator = Authenticator(
            api_key=settings.api_key,
            api_token=settings.api_token,
            api_secret=settings.api_secret,
        )
        self.ledger = Ledger(
            settings.rates,
            orders=self.state.orders,
            random_bytes=random_bytes,
            time_to_pay=settings.time_to_pay,
        )
        self.checkouts = Checkouts(
            self.ledger, settings.rates, self.state.checkouts, random_bytes
        )
        self.account = Account(self.state.orders, self.state.withdrawals)
        self.activity = ActivityFeed(clock)
        self.callback_sender = CallbackSender(
            settings, self.state.callbacks, self.activity.report_callback
        )
        self.deadlines = Deadlines(
            self.state.orders,
            partial(change_status, self, change="expire"),
            clock,
            is_enabled=settings.speed > 0,
        )
        self._db = settings.db

    def open(self, own_port: int) -> None:
        """Load the stored state, if there is a file, and start callbacks and timeouts.

        Args:
            own_port: The port of the sandbox itself, to which no callback is sent.

        Raises:
            ConfigurationError: if the file cannot be used.
        """
        if self._db is not None:
            own = (self.clock,) if isinstance(self.clock, SandboxClock) else ()
            self.state.open(self._db, *own)
            self.account.open()
        self.callback_sender.open(own_port)
        self.deadlines.open()

    async def stop(self) -> None:
        """Stop sending callbacks and timing out orders."""
        await self.callback_sender.close()
        await self.deadlines.close()

    def close(self) -> None:
        """Close the file."""
        self.state.close()
