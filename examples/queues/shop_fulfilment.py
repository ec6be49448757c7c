"""Turn each payment into a shipment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, Table, Text, insert

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async.orders import Change

metadata = MetaData()
shipments = Table("shipments", metadata, Column("reference", Text, primary_key=True))


async def changed(change: Change, connection: AsyncConnection) -> None:
    """Ship what was paid, in the transaction that records the payment."""
    if change.newly_paid:
        await connection.execute(insert(shipments).values(reference=change.reference))
