"""Create the tables of the order store, and the inbox's table if it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Boolean, Column, ForeignKey, Text
from sqlalchemy import text as sql

from ..tables import UtcDateTime

if TYPE_CHECKING:
    from datetime import datetime

    from alembic.operations import Operations

revision = "0001"
down_revision = None

_UNIQUE = ("order_id", "payment_hash")
_INDEXED = (
    *_UNIQUE,
    "reference",
    "state",
    "next_poll_at",
    "last_polled_at",
    "created_at",
)


def upgrade(op: Operations) -> None:
    """Create missing tables: the merchant's own migrations may have created some."""
    op.create_table("aurpay_callbacks", *_callbacks(), if_not_exists=True)
    op.create_index(
        "aurpay_callbacks_updated_at",
        "aurpay_callbacks",
        ["updated_at"],
        if_not_exists=True,
    )
    op.create_table("aurpay_references", *_references(), if_not_exists=True)
    op.create_table("aurpay_attempts", *_attempts(), if_not_exists=True)
    for column in _INDEXED:
        op.create_index(
            f"aurpay_attempts_{column}",
            "aurpay_attempts",
            [column],
            unique=column in _UNIQUE,
            if_not_exists=True,
        )
    op.create_index(
        "aurpay_attempts_one_active",
        "aurpay_attempts",
        ["reference"],
        unique=True,
        sqlite_where=sql("state IN ('creating', 'payable')"),
        postgresql_where=sql("state IN ('creating', 'payable')"),
        if_not_exists=True,
    )


def _callbacks() -> list[Column[str] | Column[datetime]]:
    return [
        Column("key", Text, primary_key=True),
        Column("handled", Text),
        Column("token", Text),
        Column("lease_until", UtcDateTime, nullable=False),
        Column("updated_at", UtcDateTime, nullable=False),
    ]


def _references() -> list[Column[str] | Column[datetime]]:
    return [
        Column("reference", Text, primary_key=True),
        Column("price", Text, nullable=False),
        Column("currency", Text, nullable=False),
        Column("paid_attempt_id", Text),
        Column("created_at", UtcDateTime, nullable=False),
    ]


def _attempts() -> list[Column[str] | Column[datetime] | Column[bool]]:
    reference = ForeignKey(
        "aurpay_references.reference", name="aurpay_attempts_of_reference"
    )
    return [
        Column("attempt_id", Text, primary_key=True),
        Column("reference", Text, reference, nullable=False),
        Column("state", Text, nullable=False),
        Column("price", Text, nullable=False),
        Column("currency", Text, nullable=False),
        Column("created_here", Boolean, nullable=False),
        Column("order_id", Text),
        Column("payment_hash", Text),
        Column("failed_check", Text),
        Column("hinted_order_id", Text),
        Column("status", Text),
        Column("order_json", Text),
        Column("candidates", Text),
        Column("created_at", UtcDateTime, nullable=False),
        Column("deadline", UtcDateTime, nullable=False),
        Column("sent_at", UtcDateTime),
        Column("last_polled_at", UtcDateTime),
        Column("next_poll_at", UtcDateTime),
        Column("payable_until", UtcDateTime, nullable=False),
    ]
