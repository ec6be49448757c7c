"""A small shop that sells one thing for Lightning, and delivers it once.

The store has the orders, the shop has its carts and shipments. Both are in one database
and change in one transaction (`Shop.learn`), whatever brings the news: a callback, or
the platform when it is asked because none came. The pages are in `web`.
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
    from aurpay_async.callbacks import CallbackVerifier, Notification
    from aurpay_async.orders import Attempt, Change

#: ``new``: there is nothing to pay yet; ``check``: a human must look.
State = Literal["new", "open", "delivered", "expired", "check"]

#: States of an order that a human must look at.
_HUMAN: Final = frozenset({AttemptState.PAYMENT_REPORTED, AttemptState.REFUNDED})

#: Seconds between two runs of `OrderStore.run`, which finds payments without a
#: callback.
RECONCILE_EVERY = 60

#: Seconds after which a page that follows a cart looks by itself: another process may
#: have heard of the payment.
LOOK_EVERY = 2

#: How often it looks, before the browser has to ask again.
_LOOKS: Final = 300

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
    # As the key: there is no second shipment for a cart.
    Column("reference", Text, ForeignKey(carts.c.reference), primary_key=True),
    Column("number", Text, nullable=False),
)


class Product(NamedTuple):
    """What is sold."""

    name: str
    about: str
    price: str
    currency: str


HONEY: Final = Product(
    name="A jar of honey",
    about="From the bees behind the server room. 500 grams, and it keeps for years.",
    price="20.00",
    currency="USD",
)


@attrs.frozen(kw_only=True)
class Cart:
    """What somebody buys."""

    reference: str
    state: State
    opened: datetime
    #: The number of its shipment, once it was sent.
    shipment: str | None
    #: What is to be paid now, if it is open.
    order: LightningOrder | None = None
    #: What was paid after something else had paid for it: to be refunded.
    duplicate_payment: Sequence[Attempt] = ()
    #: What may be paid, and nobody knows: to be looked at.
    needs_review: Sequence[Attempt] = ()


@attrs.frozen(kw_only=True)
class Orders:
    """The list for the person who runs the shop."""

    carts: Sequence[Cart]
    #: As those of a cart, where the shop has no such cart (a backup was restored, other
    #: code created the order), or an older one than those of the list.
    duplicate_payment: Sequence[Attempt]
    needs_review: Sequence[Attempt]


class Shop:
    """What it holds, and what it does when there is news of an order."""

    def __init__(
        self,
        aurpay: AurpayClient,
        verifier: CallbackVerifier,
        *,
        database: str,
        public_base_url: str,
        allow_http: bool = False,
        password: str | None = None,
        simulate: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        """Set up a shop.

        Args:
            aurpay: Needs a `reference_key`.
            verifier: Believes callbacks; with the same key.
            database: ``sqlite+aiosqlite:///...`` or ``postgresql+asyncpg://...``.
            public_base_url: Where the platform and the payers find it.
            allow_http: Take ``http://`` for it beyond loopback, as in containers.
            password: Of the list of orders; without one, there is no list.
            simulate: Pays an order of the sandbox.
        """
        self.public_base_url = public_base_url
        self.allow_http = allow_http
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
        #: Is set when something has changed, and replaced by the next one.
        self._news = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Create the tables, and reconcile orders for as long as the block runs.

        The order store is closed at the end of the block, and where the start fails;
        closing it ends `OrderStore.run` after the run that is under way.

        Raises:
            StoreUnavailableError: the database cannot be reached.
        """
        async with self.store as store:
            await store.upgrade()
            async with self._engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            reconciling = asyncio.create_task(
                store.run(every=RECONCILE_EVERY, on_change=self.learn)
            )
            yield
        await reconciling

    async def buy(self, reference: str) -> None:
        """See that there is an order for a cart.

        Twice the same button, two tabs, a crash in between: one order.

        Raises:
            AurpayError: there is none; `outcome` says whether it may exist.
        """
        now = datetime.now(UTC).isoformat()
        new = carts.insert().values(reference=reference, state="new", opened=now)
        with suppress(IntegrityError):  # it is there already
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
        """For the processor: the store, the shop and the guard, in one transaction."""
        async with self._engine.begin() as connection:
            change = await self.store.record(notification, connection=connection)
            await self.learn(change, connection)
            await notification.ack(connection)
        self._ring()

    async def learn(self, change: Change, connection: AsyncConnection) -> None:
        """Do what the shop has to do about a change, in its transaction."""
        if change.newly_paid:
            # What leaves the house, or what tells the house to.
            number = secrets.token_hex(4)
            row = shipments.insert().values(reference=change.reference, number=number)
            await connection.execute(row)
            await self._move(connection, change.reference, "delivered")
        elif change.duplicate_payment:
            order_id = change.attempt.order_id
            _log.warning("pay back %s: %s was paid before", order_id, change.reference)
        elif change.changed and change.attempt.state in _HUMAN:
            await self._move(connection, change.reference, "check", "new", "open")
        elif change.changed and change.before is AttemptState.PAYABLE:
            await self._move(connection, change.reference, "expired", "open")

    async def cart(self, reference: str) -> Cart | None:
        """A cart, with the order that is to be paid now."""
        found = await self._carts(carts.c.reference == reference)
        if not found:
            return None
        attempts = await self.store.attempts(reference)
        live = (a.order for a in attempts if a.state is AttemptState.PAYABLE)
        return attrs.evolve(found[0], order=next(live, None))

    async def orders(self) -> Orders:
        """The newest carts, and every payment that a person has to look at."""
        duplicate_payment, needs_review = (
            await self.store.duplicate_payments(),
            await self.store.needs_review(),
        )
        listed = [
            attrs.evolve(
                cart,
                duplicate_payment=[
                    a for a in duplicate_payment if a.reference == cart.reference
                ],
                needs_review=[a for a in needs_review if a.reference == cart.reference],
            )
            for cart in await self._carts()
        ]
        shown = {cart.reference for cart in listed}
        return Orders(
            carts=listed,
            duplicate_payment=[
                a for a in duplicate_payment if a.reference not in shown
            ],
            needs_review=[a for a in needs_review if a.reference not in shown],
        )

    async def follow(self, reference: str) -> AsyncIterator[State]:
        """The state of a cart, whenever there is news and every few seconds."""
        for _ in range(_LOOKS):
            news = self._news  # before the look: nothing is missed in between
            (cart,) = await self._carts(carts.c.reference == reference)
            yield cart.state
            if cart.state == "delivered":
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await news.wait()

    def _ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _move(
        self, connection: AsyncConnection, reference: str, to: State, *since: State
    ) -> None:
        """Put a cart into a state, if it is in one of these; none given: in any."""
        one = update(carts).where(carts.c.reference == reference)
        if since:
            one = one.where(carts.c.state.in_(since))
        await connection.execute(one.values(state=to))

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
