"""Payments, refunds, transactions and withdrawals; loaded on first use.

Source: "Get Payment Info" and "Get Payment URL". The documentation swaps the
descriptions of ``vs_price`` and ``vs_currency``; its example shows their meaning.

Aurpay's pages contradict themselves: the page of the refund call describes a query of
a refund, and a response without an envelope.
"""

from __future__ import annotations

# cattrs resolves the annotations of these records, so the types are needed at run time.
from collections.abc import Mapping  # noqa: TC003
from datetime import datetime  # noqa: TC003
from decimal import Decimal  # noqa: TC003
from typing import TYPE_CHECKING

import attrs

from .._core.money import plain_repr
from .arguments import NewOrder, plain_str, validate_bool, validate_coin_name
from .models import (
    OrderStatus,  # noqa: TC001
    PublicRecord,
)
from .models import overdue_at as _overdue_at

if TYPE_CHECKING:
    from ..bolt11 import Invoice


@attrs.frozen(slots=False)
class NewPaymentUrl(NewOrder):
    """The request for a checkout page. The payer chooses the coin there."""

    #: Count a stablecoin as one dollar. (``fixed_encrypt_price`` on the wire.)
    stablecoin_at_par: bool = attrs.field(
        default=False, kw_only=True, validator=validate_bool
    )
    #: Callbacks by POST, with the order. (``enable_post_callback`` on the wire.)
    post_callbacks: bool = attrs.field(
        default=False, kw_only=True, validator=validate_bool
    )


@attrs.frozen(slots=False)
class NewPayment(NewPaymentUrl):
    """The request for a payment in a given coin.

    The error of a failed `create_payment` has it as `new_order`.
    """

    #: Such as ``"ETH"``. An open set: Aurpay decides.
    chain: str = attrs.field(
        kw_only=True, converter=plain_str, validator=validate_coin_name
    )
    #: Such as ``"USDT-ERC20"``. An open set. (``currency`` on the wire.)
    coin: str = attrs.field(
        kw_only=True, converter=plain_str, validator=validate_coin_name
    )


@attrs.define(kw_only=True, slots=False)
class UncheckedPayment:
    """A new payment as received: its fields have types, but are unchecked."""

    order_id: str
    status: OrderStatus
    amount: Decimal
    #: ``None`` if it is missing or cannot be read: no check depends on it.
    create_time: datetime | None
    price: Decimal
    currency: str
    address: str
    contract_addr: str | None = None
    pay_url: str | None = None
    #: Neither is documented in this response.
    chain: str | None = None
    coin: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class PaymentOrder(PublicRecord):
    """An order to be paid in a given coin, compared with the request.

    The SDK cannot verify that the address belongs to Aurpay: unlike a Lightning
    invoice it has no signature, amount or date.
    """

    #: Aurpay's id of the order: a string, even where it looks like a number.
    order_id: str
    status: OrderStatus
    #: The amount to be paid, in units of `coin`.
    amount: Decimal = attrs.field(repr=plain_repr)
    #: As requested, such as ``"USDT-ERC20"``.
    coin: str
    #: As requested, such as ``"ETH"``.
    chain: str
    #: Fiat, in units of `currency`, as requested.
    price: Decimal = attrs.field(repr=plain_repr)
    #: Fiat: three letters, as requested.
    currency: str
    #: Aware. Aurpay writes no zone; read as UTC. If it cannot be read, or is more than
    #: five minutes ahead, it is the time of the response.
    create_time: datetime
    #: The address to pay to. Its owner cannot be verified.
    address: str
    #: The contract of a token; for other coins its content is not documented.
    #: Unchecked data from outside.
    contract_addr: str | None
    #: The hosted checkout page. Documented, but shops work without it.
    pay_url: str | None
    #: The merchant's name for what is paid, if given.
    reference: str | None = None
    #: Distinguishes this order from others with the same reference.
    attempt_id: str | None = None
    #: The names of the checks that passed before the order was returned.
    checks: tuple[str, ...]
    #: Fields that this version does not know. Unchecked data from outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)

    _public = (
        "order_id",
        "status",
        "amount",
        "coin",
        "chain",
        "price",
        "currency",
        "create_time",
        "overdue_at",
        "address",
        "contract_addr",
        "pay_url",
    )

    @property
    def overdue_at(self) -> datetime:
        """The time until which to show the order: 30 minutes after its creation."""
        return _overdue_at(self.create_time)


@attrs.frozen(kw_only=True)
class PaymentUrl(PublicRecord):
    """A checkout page on which the payer chooses a coin. There is no order yet."""

    #: Where to send the payer. It may contain a token: a holder of the URL can pay.
    pay_url: str
    #: Fiat, in units of `currency`, as requested.
    price: Decimal = attrs.field(repr=plain_repr)
    #: Fiat: three letters, as requested.
    currency: str
    #: The merchant's name for what is paid, if given.
    reference: str | None = None
    #: Distinguishes this request from others with the same reference.
    attempt_id: str | None = None
    #: Fields that this version does not know. Unchecked data from outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)

    _public = ("pay_url", "price", "currency")


@attrs.frozen(kw_only=True, slots=False)
class RefundInfo:
    """The amount of an order that can be refunded ("Get Orders Refund Info").

    Aurpay documents these four fields, and that there are more.
    """

    #: The order, as requested.
    order_id: str
    #: Such as ``"ETH"``.
    chain: str
    #: Such as ``"USDT-ERC20"``. (``currency`` on the wire.)
    coin: str
    #: In units of `coin`.
    amount: Decimal = attrs.field(repr=plain_repr)
    #: Fields that this version does not know. Unchecked data from outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True, slots=False)
class Refund:
    """Aurpay's response to a refund ("Orders Refund")."""

    #: The order, as requested.
    order_id: str
    #: No values are documented. (``refund_status`` on the wire.)
    status: str
    #: The refunded amount; its unit is not documented. (``refund_amount``.)
    amount: Decimal = attrs.field(repr=plain_repr)
    #: As received: no format is documented. Empty if it is not a string.
    #: (``refund_date``.)
    date: str
    #: Fields that this version does not know. Unchecked data from outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True, slots=False)
class Transaction:
    """One row of the account ("Get Transaction").

    Aurpay documents all of these fields as strings, and that there are more. The units
    of the numbers are not documented; in the one example that has a unit, it is `coin`.
    A field that cannot be read is empty, or ``None`` if it is a number; `extra` then
    has it as received.
    """

    #: The merchant.
    user_id: str
    tx_id: str
    #: Seen: ``"ORDER"``. The dashboard has more types; their spelling in the API is
    #: unknown. They are invoices, withdrawals, amounts that do not fit an order.
    tx_type: str
    #: No values are documented.
    status: str
    #: Such as ``"BTC"``.
    chain: str
    #: Such as ``"BTC-LN"``. (``currency`` on the wire.)
    coin: str
    amount: Decimal | None = attrs.field(repr=plain_repr)
    #: Null in the one documented example; by its name, the received amount.
    obtained: Decimal | None = attrs.field(default=None, repr=plain_repr)
    #: 0.8 % of the amount in the one documented example.
    fee: Decimal | None = attrs.field(repr=plain_repr)
    #: Fields that this version does not know. Unchecked data from outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True)
class Withdrawal:
    """An invoice that Aurpay has accepted for payment ("Create BLN Withdraw").

    Aurpay does not document if the invoice is paid by then: query it with
    `list_transactions`.
    """

    #: The invoice that was sent: decoded, with its signature verified.
    invoice: Invoice
    #: The invoice's own amount, in millisatoshi.
    amount_msat: int
    #: Aurpay's response. No field is documented. Unchecked data from outside.
    data: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)
