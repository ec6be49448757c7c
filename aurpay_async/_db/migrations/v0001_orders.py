"""Create the tables of the order store, and the inbox's table if it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, Column, ForeignKey, Text
from sqlalchemy import text as sql

from ..engine import UtcDateTime

if TYPE_CHECKING:
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
    references = ForeignKey(
        "aurpay_references.reference", name="aurpay_attempts_of_reference"
    )
    tables: dict[str, list[Column[Any]]] = {
        "aurpay_callbacks": [
            Column("key", Text, primary_key=True),
            *_optional(Text, "handled", "token"),
            *_required(UtcDateTime, "lease_until", "updated_at"),
        ],
        "aurpay_references": [
            Column("reference", Text, primary_key=True),
            *_required(Text, "price", "currency"),
            *_optional(Text, "paid_attempt_id"),
            *_required(UtcDateTime, "created_at"),
        ],
        "aurpay_attempts": [
            Column("attempt_id", Text, primary_key=True),
            Column("reference", Text, references, nullable=False),
            *_required(Text, "state", "price", "currency"),
            *_required(Boolean, "created_here"),
            *_optional(Text, "order_id", "payment_hash", "failed_check"),
            *_optional(Text, "hinted_order_id", "status", "order_json", "candidates"),
            *_optional(Text, "attention"),
            *_required(UtcDateTime, "created_at", "deadline", "payable_until"),
            *_optional(UtcDateTime, "sent_at", "last_polled_at", "next_poll_at"),
        ],
    }
    for name, columns in tables.items():
        op.create_table(name, *columns, if_not_exists=True)
    for name, indexed in _INDEXES.items():
        where = sql(_WHERE[name]) if name in _WHERE else None
        op.create_index(
            name,
            name[: name.index("_", len("aurpay_"))],
            indexed,
            unique=name in _UNIQUE,
            sqlite_where=where,
            postgresql_where=where,
            if_not_exists=True,
        )


def _required(kind: Any, *names: str) -> list[Column[Any]]:  # noqa: ANN401
    return [Column(name, kind, nullable=False) for name in names]


def _optional(kind: Any, *names: str) -> list[Column[Any]]:  # noqa: ANN401
    return [Column(name, kind) for name in names]
