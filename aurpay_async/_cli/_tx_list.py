"""``aurpay tx list``: what came in, went back and went out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._client import AurpayClient
from .._models._transactions import Transaction
from ._list import Listing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from decimal import Decimal


def _cells(row: Transaction) -> tuple[str, ...]:
    return (
        row.tx_id,
        row.tx_type,
        row.status,
        f"{_plain(row.amount) or '-'} {row.coin}",
        _plain(row.fee) or "-",
    )


def _members(row: Transaction) -> dict[str, object]:
    return {
        "tx_id": row.tx_id,
        "tx_type": row.tx_type,
        "status": row.status,
        "chain": row.chain,
        "coin": row.coin,
        "amount": _plain(row.amount),
        "obtained": _plain(row.obtained),
        "fee": _plain(row.fee),
    }


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _iterate(
    aurpay: AurpayClient, page: int, size: int
) -> AsyncGenerator[Transaction, None]:
    return aurpay.iter_transactions(page=page, size=size)


TRANSACTIONS: Final = Listing[Transaction](
    noun="transactions",
    kind="transaction",
    # For a terminal of 100 columns; programs get what was obtained as well.
    columns={
        "tx_id": 36,
        "type": 8,
        "status": 8,
        "amount": 20,
        "fee": 0,
    },
    cells=_cells,
    members=_members,
    fetch=AurpayClient.list_transactions,
    iterate=_iterate,
)
