"""Each notification once: who may handle it, and what was handled already.

One row for each order, by its attempt_id. The row says which kind of notification has
been
handled last, and who is handling one at the moment. The rules are `claim_rejection`, a table;
a inbox only has to apply it atomically.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from datetime import timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, Protocol, final

import attrs

from .._clock import SystemClock
from ..errors import ClaimExpiredError, ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from .._clock import Clock

    #: In whose transaction a handler records what it did. Type checkers alone read it:
    #: this package, and a handler without a database, need no SQLAlchemy.
    CallerConnection = AsyncConnection | AsyncSession

#: What a notification is about, by the URL that the platform called.
Kind = Literal["paid", "timeout"]

#: What has become of an order's notifications. One that nobody could confirm is
#: remembered as told, and stands in the way of nothing better.
Handled = Literal[
    "paid",
    "timeout",
    "unconfirmed_paid",
    "unconfirmed_late_paid",
    "unconfirmed_timeout",
]

#: How long one handler may take before another process may take its place.
LEASE: Final = timedelta(minutes=1)

_FORGET_AT_ONCE: Final = 8

#: An invoice can be paid, and a platform may deliver, for about that long.
_MIN_REMEMBER: Final = timedelta(days=1)

#: How long an order is remembered: its invoice lives a day, platforms retry for days.
REMEMBER: Final = timedelta(days=14)


class Taken(Enum):
    """Why a notification may not be handled now.

    .. versionadded:: 0.1.0
    """

    #: It was handled already.
    REPEATED = "repeated"
    #: A timeout, and the order is paid.
    SUPERSEDED = "superseded"
    #: Somebody is handling one for this order at this moment.
    BUSY = "busy"


@attrs.frozen(kw_only=True)
class Claim:
    """The right to handle a notification, until the lease ends.

    .. versionadded:: 0.1.0
    """

    #: The order's attempt_id.
    key: str
    #: Tells this claim from a later one of the same order.
    token: str = attrs.field(repr=False)
    #: What was handled before for this order.
    previous: Handled | None


class InboxStore(Protocol):
    """Remembers what was handled, for one process or for many.

    .. versionadded:: 0.1.0
    """

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = LEASE
    ) -> Claim | Taken:
        """Ask for the right to handle `kind` for the order `key`; atomic.

        A claim whose lease has ended counts as given back.
        """
        ...

    async def release(self, claim: Claim) -> None:
        """Give it back unhandled, so that the next delivery counts.

        Does nothing if the claim is no longer held.
        """
        ...

    async def confirm(
        self, claim: Claim, handled: Handled, connection: CallerConnection | None = None
    ) -> None:
        """Record what was handled, and end the claim.

        Args:
            claim: What `claim` gave.
            handled: What it was: of a timeout, the platform may have said "paid".
            connection: A database connection of the caller, for stores that can
                record it in the caller's own transaction.

        Raises:
            ClaimExpiredError: if the claim is no longer held; whoever holds it
                now handles the notification, so this handler's work must be undone.
        """
        ...

    async def holds(self, claim: Claim) -> bool:
        """Whether the claim is neither confirmed nor given back, as others see it.

        What was confirmed in a transaction that was never committed is still held.
        """
        ...


def claim_rejection(handled: Handled | None, kind: Kind, *, busy: bool) -> Taken | None:
    """Whether `kind` may be handled: ``None``, or why not. Paid beats timeout."""
    if handled == kind:
        return Taken.REPEATED
    if handled == "paid":
        return Taken.SUPERSEDED
    return Taken.BUSY if busy else None


def new_token() -> str:
    """What tells one claim from another."""
    return os.urandom(16).hex()


def lease_expired(claim: Claim) -> ClaimExpiredError:
    """The error for a claim whose lease has ended."""
    return ClaimExpiredError(
        f"the lease of order {claim.key} ended before its handler did; another "
        "delivery takes its place",
        rule="lease",
    )


@attrs.define
class _Row:
    handled: Handled | None = None
    token: str | None = None
    lease_until: float = 0
    touched: float = 0


@final
class MemoryInbox:
    """Remembers in this process, for as long as it lives: for one process only.

    Bounded: it forgets what is older than `remember`, and the oldest of more than
    `max_orders` orders, but none that is being handled.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        *,
        max_orders: int = 100_000,
        remember: timedelta = REMEMBER,
        clock: Clock | None = None,
    ) -> None:
        """Start with nothing.

        Args:
            max_orders: How many orders to remember; each takes about 300 bytes.
            remember: How long.
            clock: What tells the time.
        """
        if max_orders < 1:
            raise ConfigurationError("max_orders must be 1 or more")
        if remember < _MIN_REMEMBER:
            raise ConfigurationError(f"remember must be {_MIN_REMEMBER} or more")
        self._max_orders = max_orders
        self._remember_s = remember.total_seconds()
        self._clock = SystemClock() if clock is None else clock
        #: The ones that were touched last are at the end.
        self._rows: OrderedDict[str, _Row] = OrderedDict()

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = LEASE
    ) -> Claim | Taken:
        """As `InboxStore.claim`."""
        now = self._clock.monotonic()
        row = self._rows.get(key)
        if row is None:
            self._forget(now)
            row = _Row()
        busy = row.token is not None and now < row.lease_until
        taken = claim_rejection(row.handled, kind, busy=busy)
        if taken is not None:
            return taken
        row.token = new_token()
        row.lease_until = now + lease.total_seconds()
        self._touch(key, row, now)
        return Claim(key=key, token=row.token, previous=row.handled)

    async def release(self, claim: Claim) -> None:
        """As `InboxStore.release`."""
        row = self._rows.get(claim.key)
        if row is None or row.token != claim.token:
            return
        row.token = None
        if row.handled is None:
            del self._rows[claim.key]

    async def confirm(
        self, claim: Claim, handled: Handled, connection: CallerConnection | None = None
    ) -> None:
        """As `InboxStore.confirm`; there is no connection to record it in."""
        if connection is not None:
            raise ConfigurationError("a MemoryInbox takes part in no transaction")
        row = self._rows.get(claim.key)
        if row is None or row.token != claim.token:
            raise lease_expired(claim)
        row.handled, row.token = handled, None
        self._touch(claim.key, row, self._clock.monotonic())

    async def holds(self, claim: Claim) -> bool:
        """As `InboxStore.holds`."""
        row = self._rows.get(claim.key)
        return row is not None and row.token == claim.token

    def __len__(self) -> int:
        """How many orders are remembered."""
        return len(self._rows)

    def _touch(self, key: str, row: _Row, now: float) -> None:
        row.touched = now
        self._rows[key] = row
        self._rows.move_to_end(key)

    def _forget(self, now: float) -> None:
        # A few at a time, from the oldest: more than come in, so it stays bounded.
        for key in list(islice(self._rows, _FORGET_AT_ONCE)):
            row = self._rows[key]
            old = now - row.touched >= self._remember_s
            busy = row.token is not None and now < row.lease_until
            if (old or len(self._rows) >= self._max_orders) and not busy:
                del self._rows[key]
