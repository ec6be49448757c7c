"""With many rows, each statement of the order store finds its rows by an index."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from aurpay_async.callbacks._identity import Reference
from aurpay_async.errors import ConnectionLostError
from aurpay_async.orders import AttemptState, OrderStore

from ..db.silence import proxied
from .conftest import hurry, make_tables
from .plans import reads_a_table
from .platform import URLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aurpay_async import AurpayClient
    from aurpay_async.testing import FakeClock

    from .platform import Platform

READING = {"SELECT", "UPDATE", "DELETE"}
YEAR = timedelta(days=365)

#: The states of the rows: a few of each thousand are open or need a person.
STATE = """
CASE i % 1000
  WHEN 1 THEN 'duplicate' WHEN 2 THEN 'payment_reported' WHEN 3 THEN 'rejected'
  WHEN 4 THEN 'not_found' WHEN 5 THEN 'candidates_found' WHEN 6 THEN 'refunded'
  ELSE CASE WHEN i % 5 < 3 THEN 'paid' ELSE 'expired' END
END
"""

#: The ids sort in the order in which they are inserted, which is fastest.
FILL = (
    """
    INSERT INTO aurpay_references (reference, price, currency, created_at,
      paid_attempt_id)
    SELECT 'r-' || i, price, currency, created_at,
      CASE WHEN {STATE} IN ('paid', 'duplicate') THEN 'a-' || i END
    FROM n, (SELECT * FROM aurpay_references LIMIT 1) AS one
    """,
    """
    INSERT INTO aurpay_attempts (attempt_id, reference, state, price, currency,
      created_here, order_id, payment_hash, attention, created_at, deadline,
      last_polled_at, next_poll_at, payable_until)
    SELECT 'a-' || i, 'r-' || i, {STATE}, price, currency, created_here, 'o-' || i,
      'h-' || i,
      CASE i % 1000 WHEN 1 THEN 'refund' WHEN 2 THEN 'review' END,
      created_at, deadline, created_at,
      CASE WHEN i % 1000 IN (1, 2, 5) THEN {LATER} END,
      payable_until
    FROM n, (SELECT * FROM aurpay_attempts LIMIT 1) AS one
    """,
)

NUMBERS = """
WITH RECURSIVE n(i) AS (
  SELECT 1000001 UNION ALL SELECT i + 1 FROM n WHERE i < 1100000
)
"""

#: A time after those of the test, by dialect.
LATER = {
    "sqlite": "'2100-01-01 00:00:00.000000'",
    "postgresql": "TIMESTAMP '2100-01-01'",
}


async def fill(engine: AsyncEngine) -> None:
    """Copy the row of each table, and collect statistics of the planner."""
    async with engine.begin() as connection:
        for insert in FILL:
            values = insert.format(STATE=STATE, LATER=LATER[engine.dialect.name])
            # SQLite accepts the WITH in front only.
            await connection.execute(text(NUMBERS + values))
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE"))


def operations(
    store: OrderStore, platform: Platform, token: Reference
) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """Return all operations of the store, in the order of an order's life."""

    async def create() -> None:
        order = await store.get_or_create("cart-42", "20.00", "USD", **URLS)
        platform.set(order.order_id, "SUCCESS")

    async def record() -> None:
        [attempt] = await store.attempts("cart-42")
        assert (await store.record(order_id=attempt.order_id)).newly_paid

    async def lose() -> None:
        platform.faults = ["lost+created"]
        with pytest.raises(ConnectionLostError):
            await store.get_or_create("cart-43", "20.00", "USD", **URLS)
        await store.get_or_create("cart-43", "20.00", "USD", **URLS)  # searches first

    async def resolve() -> None:
        # The clock stands still, so the order of the two is by chance.
        attempts = await store.attempts("cart-43")
        [lost] = [attempt for attempt in attempts if attempt.order_id is None]
        await store.resolve(lost.attempt_id, None)

    async def list_all() -> None:
        await store.list_attempts()
        for state in AttemptState:
            await store.list_attempts(state=state)

    return {
        "get_or_create": create,
        "get_or_create of an existing order": lambda: store.get_or_create(
            "cart-42", "20.00", "USD"
        ),
        "lookup": lambda: store.lookup(token),
        "record": record,
        "record of a reference": lambda: store.record(reference="cart-42"),
        "lose": lose,
        "reconcile": store.reconcile,
        "resolve": resolve,
        "list_attempts": list_all,
        "duplicate_payments": store.duplicate_payments,
        "needs_review": store.needs_review,
        "gauges": store._repository.rows.count_open,
        "health": store.health,
        "prune": lambda: store.prune(timedelta(days=7), paid_older_than=YEAR),
    }


def explain_all(engine: AsyncEngine) -> dict[str, str]:
    """Explain each statement before it is executed; return the plans."""
    plans: dict[str, str] = {}
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
    prefix = explain[engine.dialect.name]

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def keep(
        connection: Connection, _: Any, statement: str, parameters: Any, *__: Any
    ) -> None:
        verb = statement.split(maxsplit=1)[0]
        if verb not in READING or " aurpay_" not in statement or statement in plans:
            return
        # This executes the statement, so that PostgreSQL counts the rows.
        counts = prefix == "EXPLAIN" and verb == "SELECT"
        analyze = " (ANALYZE, TIMING OFF)" if counts else ""
        rows = connection.exec_driver_sql(
            f"{prefix}{analyze} {statement}", tuple(parameters)
        )
        plans[statement] = "\n".join(str(row[-1]) for row in rows)

    return plans


async def test_postgresql_is_asked_eleven_times_for_a_new_order_and_six_for_a_payment(
    client: AurpayClient, platform: Platform, postgresql_url: str
) -> None:
    """Measured when the connection has prepared all statements."""
    make_tables(postgresql_url)
    counts: dict[str, int] = {}
    async with (
        proxied(postgresql_url) as proxy,
        OrderStore(client, proxy.url) as store,
    ):

        async def count(name: str, call: Awaitable[Any]) -> Any:
            proxy.round_trips = 0
            result = await call
            counts[name] = proxy.round_trips
            return result

        for cart in range(8):
            arguments = (f"cart-{cart}", "20.00", "USD")
            new = await count("create", store.get_or_create(*arguments, **URLS))
            await count("get", store.get_or_create(*arguments))
            platform.set(new.order_id, "SUCCESS")
            await count("record", store.record(order_id=new.order_id))
            await count("repeated", store.record(order_id=new.order_id))
            await count("list", store.list_attempts())
        assert proxy.connections == 1
    assert counts == {"create": 11, "get": 1, "record": 6, "repeated": 4, "list": 1}


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("ORDER BY created_at DESC, attempt_id DESC LIMIT 9 OFFSET 0", False),
        ("WHERE state = 'paid' ORDER BY created_at, attempt_id LIMIT 9", False),
        ("ORDER BY created_at DESC, attempt_id DESC", True),
        ("WHERE price = '1' ORDER BY created_at, attempt_id LIMIT 9", True),
        ("ORDER BY state, attempt_id LIMIT 9", True),
        ("ORDER BY price LIMIT 9", True),
    ],
)
def test_walk_through_an_index_to_a_limit_is_told_from_a_scan_of_the_table(
    template: Path, rest: str, *, expected: bool
) -> None:
    statement = f"SELECT * FROM aurpay_attempts {rest}"  # noqa: S608
    with closing(sqlite3.connect(template)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    plan = "\n".join(row[-1] for row in rows)
    assert reads_a_table(statement, plan) is expected, plan


@pytest.mark.slow
async def test_no_statement_reads_a_whole_table_of_a_hundred_thousand_rows(
    client: AurpayClient, platform: Platform, clock: FakeClock, url: str
) -> None:
    """The planner has statistics, by which it may prefer a scan to an index."""
    async with hurry(OrderStore(client, url)) as first:
        order = await first.get_or_create("first", "20.00", "USD", **URLS)
        await fill(first.engine)
    clock.advance(YEAR.total_seconds() / 2)
    token = Reference(
        reference="first",
        price=order.price,
        currency=order.currency,
        kind="paid",
        attempt_id=order.attempt_id or "",
    )
    async with OrderStore(client, url) as store:
        plans = explain_all(store.engine)
        for operation in operations(store, platform, token).values():
            await operation()
    assert len(plans) > 20
    assert [f"{s}\n{plan}" for s, plan in plans.items() if reads_a_table(s, plan)] == []
