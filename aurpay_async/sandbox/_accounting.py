"""Rates, transactions and withdrawals of the sandbox, without I/O.

Transactions are derived from orders and withdrawals and not stored in the file, so they
cannot contradict them after a restart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from datetime import datetime  # noqa: TC003 - read by cattrs
from decimal import Context, Decimal
from math import inf
from typing import TYPE_CHECKING, Final, Literal, cast, final
from uuid import NAMESPACE_URL, uuid5

import attrs

from .. import bolt11
from .._core.money import parse_price
from ..errors import InvalidRequestError, InvoiceError, shown
from ._ledger import MSAT_PER_BTC, NETWORK, NODE_ID, RATES
from ._models import CURRENCY, LIGHTNING, ApiRejection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._ledger import SandboxOrder
    from ._storage import Storage


@final
class Rates(Mapping[str, Decimal]):
    """The price of one bitcoin in each currency. A change applies to later orders.

    Example:
        >>> sandbox.rates["USD"] = "65000"
    """

    def __init__(self, rates: Mapping[str, Decimal | int | str] | None = None) -> None:
        """Start with `RATES`, updated with `rates`."""
        self._set: dict[str, Decimal] = {}
        self._rates = dict(RATES)
        self._storage: Storage | None = None
        self.update(rates or {})

    def __getitem__(self, currency: str) -> Decimal:
        return self._rates[currency]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rates)

    def __len__(self) -> int:
        return len(self._rates)

    def __repr__(self) -> str:
        rates = (f"{currency}: {rate:f}" for currency, rate in self.items())
        return f"<Rates {', '.join(rates)}>"

    def __setitem__(self, currency: str, rate: Decimal | int | str) -> None:
        self.update({currency: rate})

    def update(self, rates: Mapping[str, Decimal | int | str]) -> None:
        """Set some rates and keep the others. An invalid one changes nothing.

        Args:
            rates: Prices as `Decimal`, `int` or decimal `str`, by currency code.

        Raises:
            InvalidRequestError: if a currency or a rate is invalid.
        """
        read = {_currency(name): _rate(name, rate) for name, rate in rates.items()}
        if self._storage is not None:
            for currency, rate in read.items():
                self._storage.put("rate", currency, rate)
        self._set |= read
        self._rates |= read

    def attach(self, storage: Storage) -> None:
        """Restore the stored rates, except those that were set in this process."""
        stored = cast("list[tuple[str, str]]", storage.read("rate"))
        self._storage = storage
        self.update({**dict(stored), **self._set})


def _currency(currency: object) -> str:
    if not isinstance(currency, str) or not CURRENCY.fullmatch(currency):
        raise InvalidRequestError(
            f"a currency is three capital letters, not {shown(currency)}",
            field="rates",
        )
    return currency


def _rate(currency: str, rate: Decimal | int | str) -> Decimal:
    try:
        return parse_price(rate)
    except InvalidRequestError as error:
        problem = str(error).removeprefix(f"{error.field}: ")
        raise InvalidRequestError(problem, field=f"rates[{currency!r}]") from None


#: The fee in the documented example, as a fraction of its amount.
_FEE: Final = Decimal("0.008")

#: The digits of the time in an order id; the order's number follows.
_TIME_DIGITS: Final = 14

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


def tx_id_of(order: SandboxOrder) -> str:
    """Return the transaction id of an order's payment."""
    return str(uuid5(NAMESPACE_URL, order.order_id))


def fee_of(order: SandboxOrder) -> Decimal:
    """Return Aurpay's fee for an order."""
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


class Account:
    """Transactions, withdrawals and the balance of one sandbox.

    Each change adds its transactions, so that a list or a balance takes the same time
    with any number of orders.
    """

    def __init__(
        self,
        orders: Mapping[str, SandboxOrder],
        withdrawals: dict[str, SandboxWithdrawal],
    ) -> None:
        self._orders = orders
        self._withdrawals = withdrawals
        #: All transactions, the oldest first. Of those of one second, payments and
        #: refunds are in the order of their orders, and withdrawals follow.
        self.transactions: list[SandboxTransaction] = []
        #: Their sort keys: time, number of the order or withdrawal, and position in it.
        self._keys: list[tuple[datetime, float, int]] = []
        #: The BTC that can be withdrawn over Lightning.
        self.balance = Decimal(0)

    def open(self) -> None:
        """Add the transactions of the restored orders and withdrawals."""
        for order in self._orders.values():
            self.add(order)
        for withdrawal in self._withdrawals.values():
            self._add_withdrawal(withdrawal)

    def add(self, order: SandboxOrder) -> None:
        """Add the transactions of an order that are not in the list yet."""
        number = int(order.order_id[_TIME_DIGITS:])
        for position, row in enumerate(_of_order(order)):
            self._insert((row.at, number, position), row)

    def _add_withdrawal(self, withdrawal: SandboxWithdrawal) -> None:
        row = _of_withdrawal(withdrawal)
        self._insert((row.at, inf, len(self._keys)), row)

    def _insert(
        self, key: tuple[datetime, float, int], row: SandboxTransaction
    ) -> None:
        index = bisect_left(self._keys, key)
        if self._keys[index : index + 1] == [key]:
            return
        self._keys.insert(index, key)
        self.transactions.insert(index, row)
        if row.coin == LIGHTNING.name:
            moved = -row.amount if row.obtained is None else row.obtained
            self.balance = EXACT.add(self.balance, moved)

    def withdraw(self, fields: Mapping[str, object], now: datetime) -> None:
        """Pay the invoice in the fields of a request; each invoice is paid once.

        Raises:
            ApiRejection: if it cannot be paid.
        """
        invoice, amount = _payable(fields, now)
        if invoice.payment_hash in self._withdrawals:
            raise ApiRejection(400, "the invoice was paid already")
        if invoice.payee == NODE_ID and any(
            order.invoice == invoice.text for order in self._orders.values()
        ):
            raise ApiRejection(400, "the invoice belongs to an order of this account")
        if amount > self.balance:
            raise ApiRejection(400, f"the balance is {self.balance:f} BTC")
        withdrawal = SandboxWithdrawal(
            invoice=invoice.text,
            payment_hash=invoice.payment_hash,
            amount=amount,
            paid_at=now.replace(microsecond=0),
        )
        self._withdrawals[invoice.payment_hash] = withdrawal
        self._add_withdrawal(withdrawal)


def _payable(
    fields: Mapping[str, object], now: datetime
) -> tuple[bolt11.Invoice, Decimal]:
    text = fields.get("ln_invoices")
    if not isinstance(text, str):
        raise ApiRejection(400, "ln_invoices must be a string")
    try:
        invoice = bolt11.decode(text)
    except InvoiceError as error:
        raise ApiRejection(400, f"ln_invoices: {error}") from None
    if invoice.network != NETWORK:
        raise ApiRejection(
            400, f"the invoice is for {invoice.network}, not for {NETWORK}"
        )
    if now >= invoice.expires_at:
        raise ApiRejection(400, "the invoice has expired")
    if not invoice.amount_msat:
        # The unit of the amount field of Aurpay's call is not documented.
        raise ApiRejection(
            400,
            "the invoice has no amount, and the sandbox does not let you choose one",
        )
    return invoice, EXACT.divide(Decimal(invoice.amount_msat), Decimal(MSAT_PER_BTC))
