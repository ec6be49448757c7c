"""The rows of the account: what came in, went back and went out.

Pure. They follow from the orders and the withdrawals and are kept nowhere, so they
cannot disagree with them.
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

#: What the documented example's fee is of its amount; exact, with eleven decimals.
_FEE: Final = Decimal("0.008")
#: Of its own, whatever the process has set.
_EXACT: Final = Context(prec=50)


@attrs.frozen(kw_only=True)
class SandboxWithdrawal:
    """An invoice of somebody else's that the account has paid.

    .. versionadded:: 0.1.0
    """

    #: BOLT #11, regtest.
    invoice: str
    payment_hash: str
    #: BTC.
    amount: Decimal
    #: Aware, UTC, whole seconds.
    paid_at: datetime


@attrs.frozen(kw_only=True)
class SandboxTransaction:
    """A row of the account.

    .. versionadded:: 0.1.0
    """

    tx_id: str
    #: ``ORDER`` as seen at Aurpay; the other two are spelt so here alone.
    tx_type: Literal["ORDER", "REFUND", "WITHDRAW"]
    chain: str
    coin: str
    #: In units of `coin`.
    amount: Decimal
    #: The same, less the fee; ``None`` of what did not come in.
    obtained: Decimal | None
    fee: Decimal
    #: Aware, UTC, whole seconds.
    at: datetime


def list_transactions(
    orders: Iterable[SandboxOrder], withdrawals: Iterable[SandboxWithdrawal]
) -> list[SandboxTransaction]:
    """All of them, the newest first."""
    rows = [row for order in orders for row in _of_order(order)]
    rows += [_of_withdrawal(withdrawal) for withdrawal in withdrawals]
    # Of those of the same second the later one comes first.
    rows.sort(key=lambda row: row.at)
    return rows[::-1]


def balance_of(
    orders: Iterable[SandboxOrder], withdrawals: Iterable[SandboxWithdrawal]
) -> Decimal:
    """What can be withdrawn over Lightning, in BTC."""
    total = Decimal(0)
    for row in list_transactions(orders, withdrawals):
        if row.coin == LIGHTNING.name:
            moved = -row.amount if row.obtained is None else row.obtained
            total = _EXACT.add(total, moved)
    return total


def tx_id_of(order: SandboxOrder) -> str:
    """The name of its payment."""
    return str(uuid5(NAMESPACE_URL, order.order_id))


def fee_of(order: SandboxOrder) -> Decimal:
    """What the platform keeps of it."""
    return _EXACT.multiply(order.amount, _FEE)


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
        obtained=_EXACT.subtract(order.amount, fee),
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
