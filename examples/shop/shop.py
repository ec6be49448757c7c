"""A small shop that sells one product for Lightning, and ships each paid cart once.

The order store has the orders, the shop its carts and shipments. Both are in one
database and change in one transaction (`Shop.apply_change`), after a callback as well
as after reconciliation. The pages are in `web`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import attrs
from sqlalchemy import Column, ForeignKey, MetaData, Table, Text, select, update
from sqlalchemy.exc import IntegrityError

from aurpay_async import AlreadyPaidError, PaymentNeedsReviewError
from aurpay_async.callbacks import CallbackProcessor
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.orders import AttemptState, OrderStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from sqlalchemy import ColumnElement, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.bolt11 import Network
    from aurpay_async.callbacks import CallbackVerifier, Notification
    from aurpay_async.orders import Attempt, Change

#: ``new``: there is no invoice yet; ``check``: a person has to review the payment.
State = Literal["new", "open", "shipped", "expired", "check"]

#: States of an order that a person has to review.
_NEEDS_PERSON: Final = frozenset({AttemptState.PAYMENT_REPORTED, AttemptState.REFUNDED})

#: Seconds between two runs of reconciliation, which finds payments without a callback.
RECONCILE_EVERY = 60

#: Seconds after which a page that follows a cart reads the database: another process
#: may have recorded the payment.
POLL_EVERY = 2

#: Reads for one request; after them the browser reconnects.
_MAX_POLLS: Final = 300

#: Orders that the list shows.
_LISTED: Final = 100

_log = logging.getLogger(__name__)

metadata: Final = MetaData()
carts: Final = Table(
    "carts",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("opened", Text, nullable=False),
)
shipments: Final = Table(
    "shipments",
    metadata,
    # The primary key prevents a second shipment for a cart.
    Column("reference", Text, ForeignKey(carts.c.reference), primary_key=True),
    Column("number", Text, nullable=False),
)


class Product(NamedTuple):
    """A product of the shop."""

    name: str
    about: str
    price: str
    currency: str


HONEY: Final = Product(
    name="A jar of honey",
    about="From the bees behind our office. 500 grams, and it keeps for years.",
    price="20.00",
    currency="USD",
)


@attrs.frozen(kw_only=True)
class Cart:
    """A cart of one customer."""

    reference: str
    state: State
    opened: datetime
    #: The number of its shipment, if it was shipped.
    shipment: str | None
    #: The payable order, if it is open.
    order: LightningOrder | None = None
    #: Attempts to refund: the cart was paid before.
    duplicate_payments: Sequence[Attempt] = ()
    #: Attempts that may be paid and could not be identified.
    needs_review: Sequence[Attempt] = ()


@attrs.frozen(kw_only=True)
class Orders:
    """The list of orders for the merchant."""

    carts: Sequence[Cart]
    #: As in a cart, for references that the list does not show: the shop has no such
    #: cart (a backup was restored, other code created the order), or it is older.
    duplicate_payments: Sequence[Attempt]
    needs_review: Sequence[Attempt]


class Shop:
    """Carts, their orders, and the handling of payments."""

    def __init__(
        self,
        aurpay: AurpayClient,
        verifier: CallbackVerifier,
        *,
        database: str,
        public_base_url: str,
        allow_http: bool = False,
        network: Network = "mainnet",
        password: str | None = None,
        simulate: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        """Set up a shop.

        Args:
            aurpay: A client with a `reference_key`.
            verifier: Verifies callbacks, with the same key.
            database: ``sqlite+aiosqlite:///...`` or ``postgresql+asyncpg://...``.
            public_base_url: The URL at which Aurpay and the payers reach the shop.
            allow_http: Accept ``http://`` for it beyond loopback, as in containers.
            network: The network of the client; with `allow_http`, not mainnet.
            password: Protects the list of orders; without one, there is no list.
            simulate: Pays an order of the sandbox.
        """
        self.public_base_url = public_base_url
        self.allow_http = allow_http
        self.network = network
        self.password = password
        self.simulate = simulate
        self.store = OrderStore(aurpay, database)
        self._engine = self.store.engine
        self.processor = CallbackProcessor(
            verifier,
            self.notified,
            reader=aurpay,
            lookup=self.store.lookup,
            inbox=SqlInbox(self._engine),
        )
        #: Set after a change, and then replaced by a new event.
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Create the tables, and reconcile orders for as long as the block runs.

        The order store is closed at the end of the block, and where the start fails.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        async with self.store as store:
            await store.upgrade()
            async with self._engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            async with store.running(
                every=RECONCILE_EVERY, on_change=self.apply_change
            ):
                yield

    async def buy(self, reference: str) -> None:
        """Create the order of a cart, if there is none.

        A double click, two tabs or a crash in between lead to one order.

        Raises:
            AurpayError: there is no order to show; `outcome` says whether one may
                exist.
        """
        now = datetime.now(UTC).isoformat()
        new = carts.insert().values(reference=reference, state="new", opened=now)
        with suppress(IntegrityError):  # the cart exists
            async with self._engine.begin() as connection:
                await connection.execute(new)
        callback = f"{self.public_base_url}/aurpay/callback"
        with suppress(AlreadyPaidError, PaymentNeedsReviewError):  # its page says so
            await self.store.get_or_create(
                reference,
                HONEY.price,
                HONEY.currency,
                callback_url=callback,
                timeout_callback=callback,
            )
            async with self._engine.begin() as connection:
                await self._move(connection, reference, "open", "new", "expired")

    async def notified(self, notification: Notification) -> None:
        """Record a notification in store, shop and inbox, in one transaction."""
        async with self._engine.begin() as connection:
            change = await self.store.record(notification, connection=connection)
            await self.apply_change(change, connection)
            await notification.ack(connection)
        self._notify_pages()

    async def apply_change(self, change: Change, connection: AsyncConnection) -> None:
        """Update the cart of an order, in the transaction that records the change."""
        if change.newly_paid:
            # The fulfilment: a row for the warehouse.
            number = secrets.token_hex(4)
            row = shipments.insert().values(reference=change.reference, number=number)
            await connection.execute(row)
            await self._move(connection, change.reference, "shipped")
        elif change.duplicate_payment:
            order_id = change.attempt.order_id
            _log.warning(
                "refund the duplicate payment of order_id=%s reference=%s",
                order_id,
                change.reference,
            )
        elif change.changed and change.attempt.state in _NEEDS_PERSON:
            await self._move(connection, change.reference, "check", "new", "open")
        elif change.changed and change.before is AttemptState.PAYABLE:
            await self._move(connection, change.reference, "expired", "open")

    async def cart(self, reference: str) -> Cart | None:
        """Return a cart, with its payable order."""
        found = await self._carts(carts.c.reference == reference)
        if not found:
            return None
        attempts = await self.store.attempts(reference)
        live = (a.order for a in attempts if a.state is AttemptState.PAYABLE)
        return attrs.evolve(found[0], order=next(live, None))

    async def orders(self) -> Orders:
        """Return the newest carts, and every payment that a person has to review."""
        duplicate_payments = await self.store.duplicate_payments()
        needs_review = await self.store.needs_review()
        listed = [
            attrs.evolve(
                cart,
                duplicate_payments=[
                    a for a in duplicate_payments if a.reference == cart.reference
                ],
                needs_review=[a for a in needs_review if a.reference == cart.reference],
            )
            for cart in await self._carts()
        ]
        shown = {cart.reference for cart in listed}
        return Orders(
            carts=listed,
            duplicate_payments=[
                a for a in duplicate_payments if a.reference not in shown
            ],
            needs_review=[a for a in needs_review if a.reference not in shown],
        )

    async def follow(self, reference: str) -> AsyncIterator[State]:
        """Yield the state of a cart after each change and every few seconds."""
        for _ in range(_MAX_POLLS):
            changed = self._changed  # before the query, so that no change is missed
            (cart,) = await self._carts(carts.c.reference == reference)
            yield cart.state
            if cart.state == "shipped":
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_EVERY):
                    await changed.wait()

    def _notify_pages(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _move(
        self, connection: AsyncConnection, reference: str, to: State, *since: State
    ) -> None:
        """Change the state of a cart if it is in one of `since`, by default in any."""
        query = update(carts).where(carts.c.reference == reference)
        if since:
            query = query.where(carts.c.state.in_(since))
        await connection.execute(query.values(state=to))

    async def _carts(self, *which: ColumnElement[bool]) -> list[Cart]:
        query = select(carts, shipments.c.number).outerjoin(shipments).where(*which)
        newest = query.order_by(carts.c.opened.desc()).limit(_LISTED)
        async with self._engine.connect() as connection:
            return [_cart(row) for row in await connection.execute(newest)]


def _cart(row: Row[Any]) -> Cart:
    return Cart(
        reference=row.reference,
        state=row.state,
        opened=datetime.fromisoformat(row.opened),
        shipment=row.number,
    )
