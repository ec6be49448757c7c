"""``aurpay tx list``: list payments, refunds and withdrawals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._client import AurpayClient
from .._models._transactions import Transaction
from ._arguments import (  # noqa: TC001 - read by cyclopts
    LIST_DEFAULTS,
    ListOptions,
    OutputOption,
)
from ._list import Listing, show_list
from ._screen import Output

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from decimal import Decimal


async def list_transactions(
    *, options: ListOptions = LIST_DEFAULTS, output_format: OutputOption = "text"
) -> int:
    """Show a page of transactions, or all transactions."""
    return await show_list(Output(output_format), TRANSACTIONS, options)


def _transaction_cells(row: Transaction) -> tuple[str, ...]:
    return (
        row.tx_id,
        row.tx_type,
        row.status,
        f"{_fixed_point(row.amount) or '-'} {row.coin}",
        _fixed_point(row.fee) or "-",
    )


def _transaction_members(row: Transaction) -> dict[str, object]:
    return {
        "tx_id": row.tx_id,
        "tx_type": row.tx_type,
        "status": row.status,
        "chain": row.chain,
        "coin": row.coin,
        "amount": _fixed_point(row.amount),
        "obtained": _fixed_point(row.obtained),
        "fee": _fixed_point(row.fee),
    }


def _fixed_point(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _iterate_transactions(
    aurpay: AurpayClient, page: int, size: int
) -> AsyncGenerator[Transaction, None]:
    return aurpay.iter_transactions(page=page, size=size)


TRANSACTIONS: Final = Listing[Transaction](
    noun="transactions",
    kind="transaction",
    # The widths fit a terminal of 100 columns, so `obtained` is in the JSON alone.
    columns={
        "tx_id": 36,
        "type": 8,
        "status": 8,
        "amount": 20,
        "fee": 0,
    },
    cells=_transaction_cells,
    members=_transaction_members,
    fetch=AurpayClient.list_transactions,
    iterate=_iterate_transactions,
)
