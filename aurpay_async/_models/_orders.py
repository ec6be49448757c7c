"""Records of orders: unchecked as received, and as Aurpay stores them."""

from __future__ import annotations

# cattrs resolves the annotations of these records, so the types are needed at run time.
from collections.abc import Mapping  # noqa: TC003
from datetime import datetime  # noqa: TC003
from decimal import Decimal  # noqa: TC003
from typing import Literal

import attrs

from .._money import plain_repr
from .._order_life import OrderStatus  # noqa: TC001
from ._public import PublicRecord


@attrs.frozen(kw_only=True, slots=False)
class UncheckedOrder:
    """A new order as received: its fields have types, but the invoice is unchecked."""

    order_id: str
    status: OrderStatus
    amount: Decimal
    #: ``None`` if it is missing or cannot be read: no check depends on it.
    create_time: datetime | None
    payment_request: str
    pay_url: str
    payment_addr: str | None = None
    coin: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class Order(PublicRecord):
    """An order as Aurpay had it when it sent the response.

    The list ("Get Orders") documents all of these fields. Order detail ("Get Orders
    Details") documents only `order_id`, `user_id`, `order_type` and `platform`, and
    that shops read `status`. A field that is missing or null is ``None``. So is a
    field that cannot be read, and `extra` then has it as received; but an unreadable
    id, and in order detail an unreadable status or money field, is an error.
    """

    #: Aurpay's id of the order: a string, even where it looks like a number.
    order_id: str
    #: Empty, and not a known status, in a row of a list with an unreadable status.
    status: OrderStatus
    #: Seen: ``"ORDER"``, ``"INVOICE"``.
    order_type: str | None = None
    #: Seen: ``"AURPAY"``.
    platform: str | None = None
    #: The merchant.
    user_id: str | None = None
    #: Such as ``"BTC"``.
    chain: str | None = None
    #: Such as ``"Bitcoin"``.
    chain_name: str | None = None
    #: Such as ``"BTC-LN"``. (``currency`` on the wire.)
    coin: str | None = None
    #: In units of `coin`.
    amount: Decimal | None = attrs.field(default=None, repr=plain_repr)
    #: Fiat, in units of `currency`. (``vs_price`` on the wire.)
    price: Decimal | None = attrs.field(default=None, repr=plain_repr)
    #: Fiat: three letters. (``vs_currency`` on the wire.)
    currency: str | None = None
    #: A string from outside: escape it.
    remark: str | None = None
    #: "Eligible for a refund". (``refund`` on the wire.)
    refundable: bool | None = None
    #: Aware. Aurpay writes no zone; read as UTC.
    create_time: datetime | None = None
    #: Aware. Aurpay writes no zone; read as UTC.
    update_time: datetime | None = None
    #: Fields that this version does not know or cannot read. Unchecked data from
    #: outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)

    _public = (
        "order_id",
        "status",
        "amount",
        "coin",
        "price",
        "currency",
        "create_time",
        "update_time",
    )


@attrs.frozen(kw_only=True)
class Payment:
    """The result of waiting for a payment."""

    #: ``paid``; ``late_paid``: paid after it was overdue, so goods may be sold out and
    #: rates may have changed; ``timed_out``: not paid in time; ``refunded``.
    outcome: Literal["paid", "late_paid", "timed_out", "refunded"]
    #: The order as Aurpay had it then.
    order: Order
