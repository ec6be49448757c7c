"""Orders, checkouts, transactions and withdrawals, and the source of random values.

It shares only the invoice code with the client, so the two cannot make the same mistake
and agree. Methods get the fields of a request and the time, and perform no I/O.

Seeded bytes depend on the seed and their purpose alone, not on earlier draws: order
number 7 has the same secrets in every run, also in one that begins with order number 7.

Transactions are derived from orders and withdrawals and not stored in the file, so they
cannot contradict them after a restart.
"""

from __future__ import annotations

import hmac
import os
from bisect import bisect_left
from datetime import timedelta
from decimal import ROUND_UP, Context, Decimal
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import NAMESPACE_URL, uuid5

import attrs

from .. import bolt11
from ..errors import InvalidRequestError, InvoiceError, shown
from ._models import (
    COINS,
    LIGHTNING,
    PER_DOLLAR,
    RATES,
    ApiRejection,
    Checkout,
    OrderRequest,
    SandboxOrder,
    SandboxTransaction,
    SandboxWithdrawal,
    find_coin,
    parse_order_request,
    request_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from ._models import Coin, Fields

    #: Time, number of the order or withdrawal, and position in it.
    _Key = tuple[datetime, float, int]
    #: Return 32 bytes for a purpose.
    RandomSource = Callable[..., bytes]


def random_source(seed: int | None = None) -> RandomSource:
    """Return a source of bytes: reproducible with `seed`, unpredictable without."""
    if seed is None:
        return lambda *_: os.urandom(32)
    key = str(seed).encode()
    return lambda *use: hmac.digest(key, "/".join(map(str, use)).encode(), "sha256")


#: The private key of BOLT #11's examples: published, so worthless.
NODE_KEY: Final = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"

#: Its public key: the payee of the sandbox's invoices.
NODE_ID: Final = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"

#: No wallet with real money can pay a regtest invoice.
NETWORK: Final = "regtest"

#: As the documented example invoices: a day, 80 blocks, and these feature bits.
_EXPIRY: Final = timedelta(days=1)
_MIN_FINAL_CLTV_EXPIRY: Final = 80
_FEATURES: Final = (9, 14, 17)
MSAT_PER_BTC: Final = 10**11
_ALL_BITCOINS: Final = 21_000_000

#: Independent of the decimal context of the program.
_ROUND_UP: Final = Context(prec=50, rounding=ROUND_UP)
EXACT: Final = Context(prec=50)

#: "Orders" of Aurpay's dashboard: overdue after 30 minutes.
TIME_TO_PAY: Final = timedelta(minutes=30)

#: The price in USD of an order of another merchant.
_FOREIGN_PRICE: Final = Decimal("4.20")

#: The changes that payer, merchant or time make to the status of an order.
StatusChange = Literal["pay", "expire", "underpay", "refund"]

#: Each change as a participle, and the new status by the old one; a status that is
#: missing forbids the change.
_TRANSITIONS: Final[Mapping[StatusChange, tuple[str, Mapping[str, str]]]] = {
    # Overdue is not final: a late payment is accepted.
    "pay": ("paid", {"PENDING": "SUCCESS", "OVERDUE": "SUCCESS"}),
    "expire": ("expired", {"PENDING": "OVERDUE"}),
    # As documented: an underpaid order is overdue until the merchant decides.
    "underpay": ("underpaid", {"PENDING": "OVERDUE"}),
    "refund": ("refunded", {"SUCCESS": "REFUNDED"}),
}


#: The documented statuses of an order, and those of them that count as paid.
_STATUSES: Final = (
    *("PENDING", "OVERDUE", "SUCCESS", "RESOLVED"),
    *("PARTIAL", "TERMINATED", "REFUNDED"),
)
_PAID: Final = frozenset({"SUCCESS", "RESOLVED"})


@attrs.define(kw_only=True, eq=False)
class Ledger:
    """Orders and checkout pages; restored ones are given, and completed by `open`."""

    rates: Mapping[str, Decimal] = RATES
    orders: dict[str, SandboxOrder] = attrs.field(factory=dict[str, SandboxOrder])
    checkouts: dict[str, Checkout] = attrs.field(factory=dict[str, Checkout])
    #: The order ids of checkout pages, by token.
    _by_checkout: dict[str, str] = attrs.field(factory=dict[str, str])
    random_bytes: RandomSource = attrs.field(factory=random_source)
    time_to_pay: timedelta = TIME_TO_PAY

    def open(self) -> None:
        """Index the restored orders."""
        for order in self.orders.values():
            if order.checkout is not None:
                self._by_checkout[order.checkout] = order.order_id

    def create_checkout(self, fields: Fields, api_key: str | None) -> Checkout:
        request = parse_order_request(fields, self.rates, api_key)
        number = len(self.checkouts) + 1
        token = self.random_bytes("checkout", number, "token").hex()[:32]
        checkout = Checkout(token=f"sandbox-{token}", **request_fields(request))
        self.checkouts[checkout.token] = checkout
        return checkout

    def find_checkout(self, token: str) -> Checkout:
        checkout = self.checkouts.get(token)
        if checkout is None:
            raise ApiRejection(404, "there is no such checkout")
        return checkout

    def chosen(self, checkout: Checkout) -> SandboxOrder | None:
        """Return the order of a checkout page, if the payer has chosen a coin."""
        return self.orders.get(self._by_checkout.get(checkout.token, ""))

    def choose(self, token: str, coin: str, now: datetime) -> SandboxOrder:
        """Create the order of a checkout page; a repeated choice returns the same."""
        checkout = self.find_checkout(token)
        if coin not in COINS:
            problem, known = f"there is no coin {shown(coin)}", ", ".join(COINS)
            raise InvalidRequestError(problem, field="coin", hint=f"use one of {known}")
        order = self.chosen(checkout)
        if order is None:
            order = self._add(checkout, COINS[coin], now, checkout=token)
            self._by_checkout[token] = order.order_id
        if order.coin != coin:
            raise InvalidRequestError(f"{order.coin} was chosen already", field="coin")
        return order

    def create(
        self, fields: Fields, now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        request = parse_order_request(fields, self.rates, api_key, has_options=False)
        return self._add(request, LIGHTNING, now)

    def create_payment(
        self, fields: Fields, now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        coin = find_coin(fields)
        request = parse_order_request(fields, self.rates, api_key, prefix="vs_")
        return self._add(request, coin, now)

    def _add(
        self,
        request: OrderRequest,
        coin: Coin,
        now: datetime,
        checkout: str | None = None,
    ) -> SandboxOrder:
        number = len(self.orders) + 1
        order = self._new_order(request, coin, number, now, checkout)
        self.orders[order.order_id] = order
        return order

    def create_foreign(self, now: datetime) -> SandboxOrder:
        """Create a Lightning order of another merchant, outside this ledger.

        It is as valid as any other order: only its price, 4.20 USD, differs.
        """
        request = OrderRequest(price=_FOREIGN_PRICE, currency="USD", urls={})
        return self._new_order(request, LIGHTNING, 999_999, now)

    def _new_order(
        self,
        request: OrderRequest,
        coin: Coin,
        number: int,
        now: datetime,
        checkout: str | None = None,
    ) -> SandboxOrder:
        created_at = now.replace(microsecond=0)
        amount = self._amount(request, coin)
        paid_to: dict[str, Any]
        if coin is LIGHTNING:
            paid_to = self._invoice(amount, number, created_at)
        else:
            address = self.random_bytes("order", number, "address").hex()[:20]
            paid_to = {
                "address": f"sandbox-{coin.chain}-{address}",
                # Only a stablecoin has one.
                "contract": "" if coin.per_bitcoin else f"sandbox-contract-{coin.name}",
            }
        return SandboxOrder(
            order_id=f"{created_at:%Y%m%d%H%M%S}{number:06d}",
            status="PENDING",
            **request_fields(request),
            amount=amount,
            created_at=created_at,
            updated_at=created_at,
            expires_at=now + self.time_to_pay,
            coin=coin.name,
            chain=coin.chain,
            chain_name=coin.chain_name,
            checkout=checkout,
            **paid_to,
        )

    def _amount(self, request: OrderRequest, coin: Coin) -> Decimal:
        """Convert the price, rounded up to the coin's smallest unit."""
        rate = self.rates[request.currency]
        if _ROUND_UP.divide(request.price, rate) > _ALL_BITCOINS:
            raise ApiRejection(400, "price is more than all bitcoins at this rate")
        dollars = self.rates["USD"]
        stablecoins = dollars if request.at_par else dollars * PER_DOLLAR
        per_bitcoin = coin.per_bitcoin or stablecoins
        # Multiply first, so that an amount at par equals its price exactly.
        exact = _ROUND_UP.divide(_ROUND_UP.multiply(request.price, per_bitcoin), rate)
        return _ROUND_UP.quantize(exact, coin.unit)

    def _invoice(
        self, amount: Decimal, number: int, created_at: datetime
    ) -> dict[str, Any]:
        uses = ("preimage", "payment secret", "description")
        drawn = [self.random_bytes("order", number, use) for use in uses]
        preimage, secret, description = drawn
        invoice = bolt11.sign(
            NODE_KEY,
            payment_hash=sha256(preimage).hexdigest(),
            payment_secret=secret.hex(),
            timestamp=int(created_at.timestamp()),
            amount_msat=int(_ROUND_UP.multiply(amount, Decimal(MSAT_PER_BTC))),
            network=NETWORK,
            # The documented examples have 32 hex digits, of unknown meaning.
            description=description[:16].hex(),
            expiry=_EXPIRY // timedelta(seconds=1),
            min_final_cltv_expiry=_MIN_FINAL_CLTV_EXPIRY,
            features=_FEATURES,
        )
        secrets = {"payment_secret": secret.hex(), "preimage": preimage.hex()}
        return {"invoice": invoice, **secrets}

    def find(self, order_id: str) -> SandboxOrder:
        order = self.orders.get(order_id)
        if order is None:
            raise ApiRejection(404, "there is no such order")
        return order

    def change_status(
        self, order_id: str, change: StatusChange, now: datetime
    ) -> SandboxOrder:
        order = self._require(order_id)
        participle, statuses = _TRANSITIONS[change]
        status = statuses.get(order.status)
        if status is None:
            problem = f"{order_id} is {order.status} and cannot be {participle}"
            raise InvalidRequestError(problem, field="order_id")
        expiry = order.created_at + _EXPIRY
        if change in {"pay", "underpay"} and order.is_lightning and now >= expiry:
            problem = f"the invoice of {order_id} expired at {expiry.isoformat()}"
            problem += ", so no wallet can pay it"
            raise InvalidRequestError(problem, field="order_id")
        return self._update(order, status, now)

    def set_status(self, order_id: str, status: str, now: datetime) -> SandboxOrder:
        """Set any documented status of an order, after any other."""
        if status not in _STATUSES:
            problem = f"must be one of {', '.join(_STATUSES)}; got {shown(status)}"
            raise InvalidRequestError(problem, field="status")
        return self._update(self._require(order_id), status, now)

    def _require(self, order_id: str) -> SandboxOrder:
        order = self.orders.get(order_id)
        if order is None:
            problem = f"there is no order {shown(order_id)}"
            raise InvalidRequestError(problem, field="order_id")
        return order

    def _update(self, order: SandboxOrder, status: str, now: datetime) -> SandboxOrder:
        at = now.replace(microsecond=0)
        changed = attrs.evolve(
            order,
            status=status,
            updated_at=at,
            was_overdue=order.was_overdue or status == "OVERDUE",
            paid_at=at if status in _PAID else order.paid_at,
        )
        self.orders[order.order_id] = changed
        return changed


#: The fee in the documented example, as a fraction of its amount.
_FEE: Final = Decimal("0.008")

#: The digits of the time in an order id; the order's number follows.
_TIME_DIGITS: Final = 14


def tx_id_of(order: SandboxOrder, part: str = "") -> str:
    return str(uuid5(NAMESPACE_URL, order.order_id + part))


def fee_of(order: SandboxOrder) -> Decimal:
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
        tx_id, none = tx_id_of(order, "/refund"), Decimal(0)
        refund = attrs.evolve(paid, tx_id=tx_id, tx_type="REFUND", at=order.updated_at)
        yield attrs.evolve(refund, obtained=None, fee=none)


@attrs.define(eq=False)
class Account:
    """Transactions, withdrawals and the balance of one sandbox.

    Each change adds its transactions, so that a list or a balance takes the same time
    with any number of orders.
    """

    _orders: Mapping[str, SandboxOrder]
    _withdrawals: dict[str, SandboxWithdrawal]
    #: All transactions, the oldest first. Of those of one second, payments and refunds
    #: are in the order of their orders, and withdrawals follow.
    transactions: list[SandboxTransaction] = attrs.field(
        factory=list[SandboxTransaction]
    )
    #: Their sort keys.
    _keys: list[_Key] = attrs.field(factory=list["_Key"])
    #: The BTC that can be withdrawn over Lightning.
    balance: Decimal = Decimal(0)

    def open(self) -> None:
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
        row = SandboxTransaction(
            tx_id=str(uuid5(NAMESPACE_URL, withdrawal.payment_hash)),
            tx_type="WITHDRAW",
            chain=LIGHTNING.chain,
            coin=LIGHTNING.name,
            amount=withdrawal.amount,
            obtained=None,
            fee=Decimal(0),
            at=withdrawal.paid_at,
        )
        self._insert((row.at, inf, len(self._keys)), row)

    def _insert(self, key: _Key, row: SandboxTransaction) -> None:
        index = bisect_left(self._keys, key)
        if self._keys[index : index + 1] == [key]:
            return
        self._keys.insert(index, key)
        self.transactions.insert(index, row)
        if row.coin == LIGHTNING.name:
            moved = -row.amount if row.obtained is None else row.obtained
            self.balance = EXACT.add(self.balance, moved)

    def withdraw(self, fields: Fields, now: datetime) -> None:
        """Pay the invoice in the fields of a request; each invoice is paid once."""
        invoice, amount = _payable(fields, now)
        if invoice.payment_hash in self._withdrawals:
            raise ApiRejection(400, "the invoice was paid already")
        if invoice.payee == NODE_ID and any(
            order.invoice == invoice.text for order in self._orders.values()
        ):
            raise ApiRejection(400, "the invoice belongs to an order of this account")
        if amount > self.balance:
            raise ApiRejection(400, f"the balance is {self.balance:f} BTC")
        key, at = invoice.payment_hash, now.replace(microsecond=0)
        withdrawal = SandboxWithdrawal(
            invoice=invoice.text, payment_hash=key, amount=amount, paid_at=at
        )
        self._withdrawals[key] = withdrawal
        self._add_withdrawal(withdrawal)


def _payable(fields: Fields, now: datetime) -> tuple[bolt11.Invoice, Decimal]:
    text = fields.get("ln_invoices")
    if not isinstance(text, str):
        raise ApiRejection(400, "ln_invoices must be a string")
    try:
        invoice = bolt11.decode(text)
    except InvoiceError as error:
        raise ApiRejection(400, f"ln_invoices: {error}") from None
    if invoice.network != NETWORK:
        problem = f"the invoice is for {invoice.network}, not for {NETWORK}"
        raise ApiRejection(400, problem)
    if now >= invoice.expires_at:
        raise ApiRejection(400, "the invoice has expired")
    if not invoice.amount_msat:
        # The unit of the amount field of Aurpay's call is not documented.
        problem = "has no amount, and the sandbox does not let you choose one"
        raise ApiRejection(400, f"the invoice {problem}")
    return invoice, EXACT.divide(Decimal(invoice.amount_msat), Decimal(MSAT_PER_BTC))
