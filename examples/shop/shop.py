"""A small web shop that sells one thing for Lightning, and delivers it once.

Run it: ``python -m examples.shop`` (see README.md beside this file).
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from datetime import UTC
from html import escape
from typing import TYPE_CHECKING

import segno
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Column, MetaData, Table, Text, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from aurpay_async import AurpayError, LightningOrder
from aurpay_async.callbacks import Dispatcher
from aurpay_async.callbacks.sql import SqlReplayStore
from aurpay_async.contrib.starlette import callback_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aurpay_async import AurpayClient
    from aurpay_async.callbacks import CallbackVerifier, Notice, Reference

PRODUCT, PRICE, CURRENCY = "A jar of honey", "20.00", "USD"

metadata = MetaData()
carts = Table(
    "carts",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("order", Text),  # LightningOrder.to_json()
    Column("state", Text, nullable=False),  # new, open, delivered, expired, check
)


parcels = Table(
    "parcels",
    metadata,
    Column("reference", Text, primary_key=True),
)

#: Seconds between two looks for orders whose callback never came.
CHECK_EVERY = 60


class Shop:
    """What it holds, and what it does when the platform calls."""

    def __init__(
        self,
        aurpay: AurpayClient,
        verifier: CallbackVerifier,
        *,
        database: str,
        public_base_url: str,
    ) -> None:
        self.aurpay = aurpay
        self.public_base_url = public_base_url
        self.engine: AsyncEngine = create_async_engine(database)
        self.store = SqlReplayStore(self.engine)
        self.dispatcher = Dispatcher(
            verifier, self.notified, reader=aurpay, lookup=self.order, store=self.store
        )

    async def open(self) -> None:
        """Make the tables."""
        await self.store.create_tables()
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def buy(self) -> str:
        """A new cart with its order; returns the cart's reference."""
        reference = f"cart-{secrets.token_hex(8)}"
        callback = f"{self.public_base_url}/aurpay/callback"
        await self._write(carts.insert().values(reference=reference, state="new"))
        order = await self.aurpay.create_order(
            PRICE,
            CURRENCY,
            reference=reference,
            callback_url=callback,
            timeout_callback=callback,
        )
        await self._write(
            update(carts)
            .where(carts.c.reference == reference, carts.c.state == "new")
            .values(order=order.to_json(), state="open")
        )
        return reference

    async def _write(self, statement: Executable) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(statement)

    async def cart(self, reference: str) -> tuple[LightningOrder, str] | None:
        """The order and the state of a cart."""
        query = select(carts.c.order, carts.c.state).where(
            carts.c.reference == reference
        )
        async with self.engine.connect() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None or row[0] is None:
            return None
        return LightningOrder.from_json(row[0]), row[1]

    async def order(self, reference: Reference) -> LightningOrder | None:
        """For the dispatcher: the order that the shop holds."""
        found = await self.cart(reference.reference)
        return None if found is None else found[0]

    async def notified(self, notice: Notice) -> None:
        """For the dispatcher: deliver, once, in one transaction."""
        if notice.known is None:
            # Faster than the answer to create_order: the next delivery counts.
            message = f"{notice.reference} has no order yet"
            raise LookupError(message)
        state = "check"  # by hand: not confirmed, or paid back
        if notice.outcome in {"paid", "late_paid"}:
            state = "delivered"
        elif notice.outcome == "timed_out":
            state = "expired"
        async with self.engine.begin() as connection:
            await connection.execute(
                update(carts)
                .where(carts.c.reference == notice.reference)
                .values(state=state)
            )
            if state == "delivered":  # what leaves the house, or what tells it to
                await connection.execute(
                    parcels.insert().values(reference=notice.reference)
                )
            await notice.settle(connection)

    async def check(self) -> None:
        """Ask about every order whose callback may have been lost."""
        query = select(carts.c.order).where(
            carts.c.state.in_(["open", "expired"]), carts.c.order.is_not(None)
        )
        async with self.engine.connect() as connection:
            orders = (await connection.execute(query)).scalars().all()
        for order in orders:
            await self.dispatcher.check(LightningOrder.from_json(order))

    async def check_for_ever(self) -> None:
        """As `check`, again and again."""
        while True:
            await asyncio.sleep(CHECK_EVERY)
            await self.check()

    async def parcels(self) -> list[str]:
        """What was sent out."""
        async with self.engine.connect() as connection:
            return [*(await connection.execute(select(parcels.c.reference))).scalars()]


def create_app(shop: Shop) -> FastAPI:
    """The web side."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await shop.open()
        checking = asyncio.create_task(shop.check_for_ever())
        yield
        checking.cancel()
        await shop.engine.dispose()

    app = FastAPI(lifespan=lifespan)
    app.include_router(
        callback_router(shop.dispatcher, public_base_url=shop.public_base_url)
    )

    @app.get("/", response_class=HTMLResponse)
    async def product() -> str:
        return page(
            f"<h1>{PRODUCT}</h1><p>{PRICE} {CURRENCY}</p>"
            '<form method="post" action="/buy"><button>Buy</button></form>'
        )

    @app.post("/buy")
    async def buy() -> RedirectResponse:
        try:
            reference = await shop.buy()
        except AurpayError as error:
            # `delivery` tells the shop whether an order may exist; the payer has seen
            # no invoice, so nothing can be paid by mistake.
            raise HTTPException(503, "Payments are not available") from error
        return RedirectResponse(f"/carts/{reference}", status_code=303)

    @app.get("/carts/{reference}", response_class=HTMLResponse)
    async def cart(reference: str) -> str:
        found = await shop.cart(reference)
        if found is None:
            raise HTTPException(404)
        return page(checkout(*found), refresh=found[1] == "open")

    @app.get("/carts/{reference}/state")
    async def state(reference: str) -> dict[str, str]:
        found = await shop.cart(reference)
        if found is None:
            raise HTTPException(404)
        return {"state": found[1]}

    return app


def checkout(order: LightningOrder, state: str) -> str:
    """The part of the page that shows how to pay, or that it is done."""
    if state != "open":
        return f"<h1>{PRODUCT}</h1><p>{escape(state)}</p>"
    uri = f"lightning:{order.payment_request}"
    code = segno.make(uri.upper(), error="l").svg_inline(scale=4)
    until = order.overdue_at.astimezone(UTC)
    return (
        f"<h1>{order.amount:f} BTC</h1>{code}"
        f'<p><a href="{escape(uri)}">Open in a wallet</a></p>'
        f'<p><a href="{escape(order.pay_url)}">Checkout page</a></p>'
        f"<p>Please pay until {until:%H:%M} UTC.</p>"
    )


def page(content: str, *, refresh: bool = False) -> str:
    """A whole page; while it waits, it looks again every other second."""
    again = '<meta http-equiv="refresh" content="2">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"{again}<title>Honey</title><main>{content}</main></html>"
    )
