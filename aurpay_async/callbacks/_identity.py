"""The order of a callback: its signed reference, and the inbox that deduplicates it.

Aurpay's GET callback does not identify the order, and its signature covers the URL
alone. So the URL contains a token that the merchant's key signs: without the key, an
attacker cannot build such a URL for another order, price or kind, and cannot get one by
registering a URL with Aurpay.

The inbox has one row for each order, with its attempt id as the key. The row has the
kind that was handled last, and the claim that is being processed. `claim_rejection` has
the rules; an inbox only has to apply them atomically.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from hashlib import sha256
from itertools import islice
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast, final

import attrs
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from .._core.clock import SystemClock
from .._core.secrets import hide_keys, require_keys
from ..errors import (
    CallbackReferenceError,
    ClaimExpiredError,
    ConfigurationError,
    InvalidRequestError,
    shown,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

    from .._core.clock import Clock
    from .._core.secrets import Keys

    #: The connection of the handler's transaction. Only type checkers read it, so that
    #: this package does not require SQLAlchemy.
    CallerConnection = AsyncConnection | AsyncSession


#: The kind of a callback, by the URL that Aurpay called.
Kind = Literal["paid", "timeout"]
#: The name of the token in the query of a URL.
PARAMETER: Final = "aurpay_ref"
#: Changes with the format of a token, so that no token is read as another format.
_SALT: Final = b"aurpay_async.reference.1"
#: A token in the query of a URL. A second `?` results from appending without checking
#: for a query.
_TOKEN = re.compile(rf"[?&]{PARAMETER}(?:=([^?&]*))?(?![^?&])")
_PRICE = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_ATTEMPT_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)


@attrs.frozen(kw_only=True)
class Reference:
    """The data of a reference token."""

    #: The merchant's own id of the sale, such as a cart's id.
    reference: str
    #: Fiat, in units of `currency`.
    price: Decimal
    #: Fiat: three letters.
    currency: str
    #: The kind of callback.
    kind: Kind
    #: The id of the call that created the order; each call has another.
    attempt_id: str


#: Return a random id that distinguishes orders of one reference; 96 bits.
new_attempt_id: Final = partial(token_hex, 12)


def is_attempt_id(text: str) -> bool:
    """Return whether `text` has the format of an attempt id."""
    return _ATTEMPT_ID.fullmatch(text) is not None


@final
class ReferenceSigner:
    """Adds reference tokens to URLs, and reads them."""

    def __init__(self, keys: Keys) -> None:
        """Accept the keys: the first signs, all of them verify."""
        hidden = hide_keys(keys) or ()
        del keys
        require_keys(hidden)
        self._keys = hidden

    def _signer(self) -> Signer:
        """Return a signer for one use: itsdangerous stores keys as plain bytes."""
        return Signer(
            # itsdangerous signs with the last one.
            [key.reveal() for key in reversed(self._keys)],
            salt=_SALT,
            key_derivation="hmac",
            digest_method=sha256,
        )

    def attach(self, url: str, reference: Reference, *, field: str = "url") -> str:
        """Return `url` with a token appended."""
        if _tokens(url):
            raise InvalidRequestError(
                f"has a parameter {PARAMETER} already, which is added here", field=field
            )
        parts = attrs.astuple(reference)
        text = json.dumps(parts, separators=(",", ":"), default="{:f}".format)
        token = self._signer().sign(base64_encode(text)).decode("ascii")
        return f"{url}{'&' if '?' in url else '?'}{PARAMETER}={token}"

    def read(self, url: str, kind: Kind | None = None) -> Reference:
        """Return the reference in a URL."""
        tokens = _tokens(url)
        if len(tokens) != 1:
            found = "no" if not tokens else "more than one"
            raise CallbackReferenceError(
                f"the URL has {found} parameter {PARAMETER}: was this order created "
                "with reference=...?",
                rule="reference",
            )
        reference = self._open(tokens[0])
        if kind is not None and reference.kind != kind:
            raise CallbackReferenceError(
                f"the URL was registered for {shown(reference.kind)}, and called as "
                f"{shown(kind)}",
                rule="kind",
            )
        return reference

    def _open(self, token: str) -> Reference:
        payload: object = None
        with suppress(BadData, ValueError, RecursionError):
            payload = json.loads(base64_decode(self._signer().unsign(token)))
        match payload:
            case [str(name), str(price), str(currency), str(kind), str(attempt_id)] if (
                _PRICE.fullmatch(price)
                and kind in {"paid", "timeout"}
                and _ATTEMPT_ID.fullmatch(attempt_id)
            ):
                return Reference(
                    reference=name,
                    price=Decimal(price),
                    currency=currency,
                    kind=cast("Kind", kind),
                    attempt_id=attempt_id,
                )
            case _:
                raise CallbackReferenceError(
                    f"{PARAMETER} is damaged, or signed with another reference_key",
                    rule="reference",
                )


def _tokens(url: str) -> list[str]:
    tokens: list[str] = _TOKEN.findall("?" + url.partition("?")[2])
    return tokens


#: The last notification of an order that was handled. An unconfirmed one is recorded,
#: but a later confirmed one is still delivered to the handler.
Handled = Literal[
    "paid",
    "timeout",
    "unconfirmed_paid",
    "unconfirmed_late_paid",
    "unconfirmed_timeout",
]
#: The time for one handler, after which another process may take over.
LEASE: Final = timedelta(minutes=1)
#: Rows checked for age when an order is added, so that cleaning up is not one pause.
_FORGET_AT_ONCE: Final = 8
#: The lifetime of an invoice, during which callbacks are expected.
_MIN_REMEMBER: Final = timedelta(days=1)
#: An invoice expires after a day; payment platforms retry callbacks for days.
REMEMBER: Final = timedelta(days=14)


class Taken(Enum):
    """The reason why a notification may not be handled now."""

    #: It was handled already.
    REPEATED = "repeated"
    #: It is a timeout, and a payment was handled.
    SUPERSEDED = "superseded"
    #: Another handler is processing a notification of this order.
    BUSY = "busy"


@attrs.frozen(kw_only=True)
class Claim:
    """The right to handle a notification, until the lease ends."""

    #: The order's attempt id.
    key: str
    #: A random id: another claim of the same order has another token.
    token: str = attrs.field(repr=False)
    #: The last notification of this order that was handled.
    previous: Handled | None


class InboxStore(Protocol):
    """Records which notifications were handled, for one process or for many."""

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = LEASE
    ) -> Claim | Taken:
        """Claim the right to handle `kind` for the order `key`, atomically.

        A claim counts as released when its lease has ended.
        """
        ...

    async def release(self, claim: Claim) -> None:
        """Release the claim unhandled, so that the next delivery is handled.

        Does nothing if the claim is not held.
        """
        ...

    async def confirm(
        self, claim: Claim, handled: Handled, connection: CallerConnection | None = None
    ) -> None:
        """Record which notification was handled, and end the claim.

        Args:
            claim: The result of `claim`.
            handled: The record; its kind may differ from the claimed one: Aurpay can
                report a payment when a timeout callback is read back.
            connection: A database connection of the caller, for inboxes that can
                record it in the caller's own transaction.

        Raises:
            ClaimExpiredError: if the claim is not held any more; another handler
                processes the notification, so roll back the work of this one.
        """
        ...

    async def holds(self, claim: Claim) -> bool:
        """Return whether the claim is neither confirmed nor released, as committed.

        A claim that was confirmed in a transaction without a commit is still held.
        """
        ...


def claim_rejection(handled: Handled | None, kind: Kind, *, busy: bool) -> Taken | None:
    """Return why `kind` may not be handled; ``None`` if it may. Paid beats timeout."""
    if handled == kind:
        return Taken.REPEATED
    if handled == "paid":
        return Taken.SUPERSEDED
    return Taken.BUSY if busy else None


def lease_expired(claim: Claim) -> ClaimExpiredError:
    return ClaimExpiredError(
        f"the lease of attempt_id={claim.key} ended before its handler did; another "
        "delivery handles it",
        rule="lease",
    )


@attrs.define
class _MemoryRow:
    handled: Handled | None = None
    token: str | None = None
    lease_until: float = 0
    updated_at: float = 0


@final
class MemoryInbox:
    """An inbox in memory: for one process, until that process ends.

    It is bounded: it forgets orders older than `remember`, and the oldest of more than
    `max_orders` orders, but never one that is being handled.
    """

    def __init__(
        self,
        *,
        max_orders: int = 100_000,
        remember: timedelta = REMEMBER,
        clock: Clock | None = None,
    ) -> None:
        """Create an empty inbox.

        Args:
            max_orders: The largest number of orders; each takes about 300 bytes.
            remember: The time after which an order is forgotten; a day at least.
            clock: The clock for leases and ages.
        """
        if max_orders < 1:
            raise ConfigurationError("max_orders must be 1 or more")
        if remember < _MIN_REMEMBER:
            raise ConfigurationError(f"remember must be {_MIN_REMEMBER} or more")
        self._max_orders = max_orders
        self._remember_s = remember.total_seconds()
        self._clock = clock or SystemClock()
        #: Ordered by the time of the last update.
        self._rows: OrderedDict[str, _MemoryRow] = OrderedDict()

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = LEASE
    ) -> Claim | Taken:
        """Implement `InboxStore.claim`."""
        now = self._clock.monotonic()
        row = self._rows.get(key)
        if row is None:
            self._forget(now)
            row = _MemoryRow()
        busy = row.token is not None and now < row.lease_until
        if rejection := claim_rejection(row.handled, kind, busy=busy):
            return rejection
        row.token = token_hex(16)
        row.lease_until = now + lease.total_seconds()
        row.updated_at, self._rows[key] = now, row
        self._rows.move_to_end(key)
        return Claim(key=key, token=row.token, previous=row.handled)

    async def release(self, claim: Claim) -> None:
        """Implement `InboxStore.release`."""
        row = self._rows.get(claim.key)
        if row is None or row.token != claim.token:
            return
        row.token = None
        if row.handled is None:
            del self._rows[claim.key]

    async def confirm(
        self, claim: Claim, handled: Handled, connection: CallerConnection | None = None
    ) -> None:
        """Implement `InboxStore.confirm`, without a connection."""
        if connection is not None:
            raise ConfigurationError(
                "a MemoryInbox cannot record in a database transaction; use a SqlInbox"
            )
        row = self._rows.get(claim.key)
        if row is None or row.token != claim.token:
            raise lease_expired(claim)
        row.handled, row.token = handled, None
        row.updated_at = self._clock.monotonic()
        self._rows.move_to_end(claim.key)

    async def holds(self, claim: Claim) -> bool:
        """Implement `InboxStore.holds`."""
        row = self._rows.get(claim.key)
        return row is not None and row.token == claim.token

    def __len__(self) -> int:
        """Return the number of orders that have a row."""
        return len(self._rows)

    def _forget(self, now: float) -> None:
        # A few at a time, from the oldest, and more than are added: it stays bounded.
        for key in list(islice(self._rows, _FORGET_AT_ONCE)):
            row = self._rows[key]
            old = now - row.updated_at >= self._remember_s
            busy = row.token is not None and now < row.lease_until
            if (old or len(self._rows) >= self._max_orders) and not busy:
                del self._rows[key]
