"""The records of orders: as they came, and as the platform has them."""

from __future__ import annotations

# cattrs reads the annotations of these records, so their types are imported for real.
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
    """An order as it came over the wire: typed, and not to be trusted yet."""

    order_id: str
    status: OrderStatus
    amount: Decimal
    #: ``None`` if it is missing or cannot be read: nothing hangs on it.
    create_time: datetime | None
    payment_request: str
    pay_url: str
    payment_addr: str | None = None
    coin: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class Order(PublicRecord):
    """An order as the platform has it at this moment.

    In the list ("Get Orders") all of it is documented. Of the answer about one order
    ("Get Orders Details") only `order_id`, `user_id`, `order_type` and `platform` are,
    and that shops read `status`. What is missing or null is ``None``. So is what
    cannot be read, but for the id, and in the answer about one order the status and
    the money; it is in `extra` as it came.

    .. versionadded:: 0.1.0
    """

    #: The platform's name for it: text, even where it looks like a number.
    order_id: str
    #: Empty, and not known, in a row of a list whose status cannot be read.
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
    #: Text from outside: escape it.
    remark: str | None = None
    #: "Eligible for a refund". (``refund`` on the wire.)
    refundable: bool | None = None
    #: Aware. Aurpay writes no zone; read as UTC.
    create_time: datetime | None = None
    #: Aware. Aurpay writes no zone; read as UTC.
    update_time: datetime | None = None
    #: Fields of the answer that this version does not know, or cannot read. From
    #: outside: unchecked.
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
    """What waiting for a payment came to.

    .. versionadded:: 0.1.0
    """

    #: ``paid``; ``late_paid``: after it was overdue, so goods may be gone and rates may
    #: have changed; ``timed_out``: nobody paid while it could be expected;
    #: ``refunded``: it was paid back.
    outcome: Literal["paid", "late_paid", "timed_out", "refunded"]
    #: The order as the platform had it then.
    order: Order
