"""A shop with jobs in PostgreSQL that create, poll and fulfil its orders.

Run it: ``python -m examples.worker`` (see README.md beside this file).
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from procrastinate import App, PsycopgConnector
from sqlalchemy import Column, Integer, MetaData, Table, Text, func, insert, select

from aurpay_async.contrib.procrastinate import OrderTasks
from aurpay_async.orders import AttemptState, OrderStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate.app import WorkerOptions
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient

JAR_OF_HONEY, CURRENCY = Decimal("4.50"), "USD"

metadata = MetaData()
carts = Table(
    "carts",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("jars", Integer, nullable=False),
)
shipments = Table(
    "shipments",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("reference", Text, nullable=False),
)

#: Each minute: reconcile orders, because this shop has no callbacks, and restart the
#: jobs of workers that were killed.
RECONCILE = RESTART = "* * * * *"

#: A worker sends a heartbeat every ten seconds; without one for this long, it counts as
#: crashed.
STALLED_AFTER = timedelta(seconds=30)
WORKER: WorkerOptions = {"concurrency": 4, "update_heartbeat_interval": 10}


class Shop:
    """Carts, orders and shipments in one database."""

    def __init__(self, aurpay: AurpayClient, database: str) -> None:
        """Prepare; `database` is such as ``postgresql+psycopg://user@host/name``."""
        self.store = OrderStore(aurpay, database)
        self.engine = self.store.engine
        conninfo = database.replace("+psycopg", "", 1)  # a name of SQLAlchemy alone
        self.app = App(connector=PsycopgConnector(conninfo=conninfo))
        self.tasks = OrderTasks(
            self.app,
            self.store,
            self.fulfil,
            reconcile=RECONCILE,
            restart=RESTART,
            stalled_after=STALLED_AFTER,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections to the database."""
        await self.store.aclose()

    async def set_up(self) -> None:
        """Create the tables of procrastinate, the store and the shop."""
        async with self.app.open_async():
            if not await self.app.check_connection_async():
                await self.app.schema_manager.apply_schema_async()
        await self.store.upgrade()
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def sell(self, number: int) -> None:
        """Add carts, each in one transaction with the job that creates its order."""
        for _ in range(number):
            async with self.engine.begin() as connection:
                fullest = await connection.scalar(select(func.max(carts.c.jars)))
                jars = (fullest or 0) + 1
                reference = f"cart-{jars}"
                await connection.execute(
                    insert(carts).values(reference=reference, jars=jars)
                )
                await self.tasks.defer_open(
                    connection, reference, jars * JAR_OF_HONEY, CURRENCY
                )

    async def work(self) -> None:
        """Run jobs until Ctrl-C."""
        async with self.app.open_async():
            await self.app.run_worker_async(**WORKER)

    async def fulfil(self, reference: str, connection: AsyncConnection) -> None:
        """Ship a paid cart; committed once for each."""
        await connection.execute(insert(shipments).values(reference=reference))

    async def orders(self) -> Sequence[tuple[str, str]]:
        """Return each cart with its checkout page or its status."""
        sent = await self.shipments()
        async with self.engine.connect() as connection:
            query = select(carts.c.reference).order_by(carts.c.jars)
            references = [*(await connection.execute(query)).scalars()]
        return [
            (name, "shipped" if name in sent else await self._order(name))
            for name in references
        ]

    async def shipments(self) -> Sequence[str]:
        """Return the references of the shipped carts."""
        async with self.engine.connect() as connection:
            return [
                *(await connection.execute(select(shipments.c.reference))).scalars()
            ]

    async def _order(self, reference: str) -> str:
        for attempt in await self.store.attempts(reference):
            if attempt.state is AttemptState.PAYABLE and attempt.order is not None:
                return attempt.order.pay_url
        return "no order yet"
