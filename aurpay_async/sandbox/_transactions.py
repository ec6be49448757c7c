"""The transactions of the account: payments, refunds and withdrawals.

Pure. They are derived from orders and withdrawals and not stored, so they cannot
contradict them.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final, Literal
from uuid import NAMESPACE_URL, uuid5

import attrs

from ._coins import LIGHTNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from ._orders import SandboxOrder

#: The fee in the documented example, as a fraction of its amount.
_FEE: Final = Decimal("0.008")
#: Independent of the decimal context of the program.
EXACT: Final = Context(prec=50)


@attrs.frozen(kw_only=True)
class SandboxWithdrawal:
    """A foreign invoice that the account has paid."""

    #: BOLT #11, regtest.
    invoice: str
    payment_hash: str
    #: BTC.
    amount: Decimal
    #: Aware, UTC, whole seconds.
    paid_at: datetime


@attrs.frozen(kw_only=True)
class SandboxTransaction:
    """A transaction of the account."""

    tx_id: str
    #: Aurpay documents ``ORDER``; the names of the other two are the sandbox's.
    tx_type: Literal["ORDER", "REFUND", "WITHDRAW"]
    chain: str
    coin: str
    #: In units of `coin`.
    amount: Decimal
    #: `amount` less `fee` for a payment, else ``None``.
    obtained: Decimal | None
    fee: Decimal
    #: Aware, UTC, whole seconds.
    at: datetime


def list_transactions(
    orders: Iterable[SandboxOrder], withdrawals: Iterable[SandboxWithdrawal]
) -> list[SandboxTransaction]:
    """Return all transactions, the newest first."""
    rows = [row for order in orders for row in _of_order(order)]
    rows += [_of_withdrawal(withdrawal) for withdrawal in withdrawals]
    # The sort is stable: of those of one second, the later one comes first.
    rows.sort(key=lambda row: row.at)
    return rows[::-1]


def balance_of(
    orders: Iterable[SandboxOrder], withdrawals: Iterable[SandboxWithdrawal]
) -> Decimal:
    """Return the BTC that can be withdrawn over Lightning."""
    total = Decimal(0)
    for row in list_transactions(orders, withdrawals):
        if row.coin == LIGHTNING.name:
            moved = -row.amount if row.obtained is None else row.obtained
            total = EXACT.add(total, moved)
    return total


def tx_id_of(order: SandboxOrder) -> str:
    """Return the transaction id of an order's payment."""
    return str(uuid5(NAMESPACE_URL, order.order_id))


def fee_of(order: SandboxOrder) -> Decimal:
    """Return the platform's fee for an order."""
    return EXACT.multiply(order.amount, _FEE)


def _of_order(order: SandboxOrder) -> Iterator[SandboxTransaction]:
    if order.paid_at is None:
        return
    fee = fee_of(order)
    paid = SandboxTransaction(
        tx_id=tx_id_of(order),
        tx_type="ORDER",
        chain=order.chain,
        coin=order.coin,
        amount=order.amount,
        obtained=EXACT.subtract(order.amount, fee),
        fee=fee,
        at=order.paid_at,
    )
    yield paid
    if order.status == "REFUNDED":
        yield attrs.evolve(
            paid,
            tx_id=str(uuid5(NAMESPACE_URL, f"{order.order_id}/refund")),
            tx_type="REFUND",
            obtained=None,
            fee=Decimal(0),
            at=order.updated_at,
        )


def _of_withdrawal(withdrawal: SandboxWithdrawal) -> SandboxTransaction:
    return SandboxTransaction(
        tx_id=str(uuid5(NAMESPACE_URL, withdrawal.payment_hash)),
        tx_type="WITHDRAW",
        chain=LIGHTNING.chain,
        coin=LIGHTNING.name,
        amount=withdrawal.amount,
        obtained=None,
        fee=Decimal(0),
        at=withdrawal.paid_at,
    )
