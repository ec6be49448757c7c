"""The order store, beside the inbox that may be there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Text
from sqlalchemy import text as sql

if TYPE_CHECKING:
    from alembic.operations import Operations

revision = "0001"
down_revision = None

_UNIQUE = ("order_id", "payment_hash")
_INDEXED = (*_UNIQUE, "reference", "state", "next_look", "looked", "opened")


def upgrade(op: Operations) -> None:
    """Make what is missing: a shop's own migrations may have been here."""
    op.create_table("aurpay_callbacks", *_callbacks(), if_not_exists=True)
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
        "aurpay_attempts_one_at_a_time",
        "aurpay_attempts",
        ["reference"],
        unique=True,
        sqlite_where=sql("state IN ('creating', 'payable')"),
        postgresql_where=sql("state IN ('creating', 'payable')"),
        if_not_exists=True,
    )


def _callbacks() -> list[Column[str] | Column[int]]:
    return [
        Column("key", Text, primary_key=True),
        Column("handled", Text),
        Column("token", Text),
        Column("lease_until", BigInteger, nullable=False),
        Column("touched", BigInteger, nullable=False),
    ]


def _references() -> list[Column[str] | Column[int]]:
    return [
        Column("reference", Text, primary_key=True),
        Column("price", Text, nullable=False),
        Column("currency", Text, nullable=False),
        Column("settled_by", Text),
        Column("opened", BigInteger, nullable=False),
    ]


def _attempts() -> list[Column[str] | Column[int] | Column[bool]]:
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
        Column("hinted", Text),
        Column("status", Text),
        Column("kept", Text),
        Column("candidates", Text),
        Column("opened", BigInteger, nullable=False),
        Column("deadline", BigInteger, nullable=False),
        Column("sent", BigInteger),
        Column("looked", BigInteger),
        Column("next_look", BigInteger),
        Column("ends", BigInteger, nullable=False),
    ]
