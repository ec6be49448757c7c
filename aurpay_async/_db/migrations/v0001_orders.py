"""Create the tables of the order store, and the inbox's table if it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Boolean, Column, ForeignKey, Text
from sqlalchemy import text as sql

from ..engine import UtcDateTime

if TYPE_CHECKING:
    from datetime import datetime

    from alembic.operations import Operations

revision = "0001"
down_revision = None

_INDEXES = {
    "aurpay_callbacks_updated_at": ["updated_at"],
    "aurpay_references_unpaid": ["created_at"],
    "aurpay_references_paid": ["created_at"],
    "aurpay_attempts_order_id": ["order_id"],
    "aurpay_attempts_payment_hash": ["payment_hash"],
    "aurpay_attempts_reference": ["reference"],
    "aurpay_attempts_state": ["state", "created_at", "attempt_id"],
    "aurpay_attempts_next_poll_at": ["next_poll_at"],
    "aurpay_attempts_last_polled_at": ["last_polled_at"],
    "aurpay_attempts_created_at": ["created_at", "attempt_id"],
    "aurpay_attempts_attention": ["attention", "created_at", "attempt_id"],
    "aurpay_attempts_one_active": ["reference"],
}

_UNIQUE = {
    "aurpay_attempts_order_id",
    "aurpay_attempts_payment_hash",
    "aurpay_attempts_one_active",
}

#: The conditions of partial indexes.
_WHERE = {
    "aurpay_references_unpaid": "paid_attempt_id IS NULL",
    "aurpay_references_paid": "paid_attempt_id IS NOT NULL",
    "aurpay_attempts_attention": "attention IS NOT NULL",
    "aurpay_attempts_one_active": "state IN ('creating', 'payable')",
}


def upgrade(op: Operations) -> None:
    """Create missing tables: the merchant's own migrations may have created some."""
    op.create_table("aurpay_callbacks", *_callbacks(), if_not_exists=True)
    op.create_table("aurpay_references", *_references(), if_not_exists=True)
    op.create_table("aurpay_attempts", *_attempts(), if_not_exists=True)
    for name, columns in _INDEXES.items():
        where = sql(_WHERE[name]) if name in _WHERE else None
        op.create_index(
            name,
            name[: name.index("_", len("aurpay_"))],
            columns,
            unique=name in _UNIQUE,
            sqlite_where=where,
            postgresql_where=where,
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
        Column("attention", Text),
        Column("created_at", UtcDateTime, nullable=False),
        Column("deadline", UtcDateTime, nullable=False),
        Column("sent_at", UtcDateTime),
        Column("last_polled_at", UtcDateTime),
        Column("next_poll_at", UtcDateTime),
        Column("payable_until", UtcDateTime, nullable=False),
    ]
