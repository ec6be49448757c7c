"""A shop whose orders are opened, watched and delivered by jobs in PostgreSQL.

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

#: Each minute: look for what is paid, as there are no callbacks here, and for the jobs
#: of workers that were killed.
RECONCILE = RESTART = "* * * * *"

#: Workers say every ten seconds that they live. Who has not for so long is dead.
DEAD_AFTER = timedelta(seconds=30)
WORKER: WorkerOptions = {"concurrency": 4, "update_heartbeat_interval": 10}


class Shop:
    """Its carts, its orders and its shipments, in one database."""

    def __init__(self, aurpay: AurpayClient, database: str) -> None:
        """Prepare; `database` is such as ``postgresql://user@host/name``."""
        url = database.replace("postgresql:", "postgresql+psycopg:", 1)
        self.store = OrderStore(aurpay, url)
        self.engine = self.store.engine
        self.app = App(connector=PsycopgConnector(conninfo=database))
        self.tasks = OrderTasks(
            self.app,
            self.store,
            self.deliver,
            reconcile=RECONCILE,
            restart=RESTART,
            stalled_after=DEAD_AFTER,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections to the database."""
        await self.store.aclose()

    async def set_up(self) -> None:
        """Make the tables: procrastinate's, the store's, the shop's."""
        async with self.app.open_async():
            if not await self.app.check_connection_async():
                await self.app.schema_manager.apply_schema_async()
        await self.store.upgrade()
        async with self.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def sell(self, number: int) -> None:
        """Fill so many carts: a cart and the job that opens its order, or neither."""
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
        """Do the jobs, until Ctrl-C."""
        async with self.app.open_async():
            await self.app.run_worker_async(**WORKER)

    async def deliver(self, reference: str, connection: AsyncConnection) -> None:
        """Once for each cart that is paid: what leaves the house, or tells it to."""
        await connection.execute(insert(shipments).values(reference=reference))

    async def orders(self) -> Sequence[tuple[str, str]]:
        """Each cart, and what to say of it."""
        sent = await self.shipments()
        async with self.engine.connect() as connection:
            query = select(carts.c.reference).order_by(carts.c.jars)
            references = [*(await connection.execute(query)).scalars()]
        return [
            (name, "delivered" if name in sent else await self._order(name))
            for name in references
        ]

    async def shipments(self) -> Sequence[str]:
        """What was sent out."""
        async with self.engine.connect() as connection:
            return [
                *(await connection.execute(select(shipments.c.reference))).scalars()
            ]

    async def _order(self, reference: str) -> str:
        for attempt in await self.store.attempts(reference):
            if attempt.state is AttemptState.PAYABLE and attempt.order is not None:
                return attempt.order.pay_url
        return "no order yet"
