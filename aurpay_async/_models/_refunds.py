"""Refunds of orders.

Aurpay's pages contradict themselves: the page of the refund call describes a query of
a refund, and a response without an envelope.
"""

from __future__ import annotations

# cattrs resolves the annotations of these records, so the types are needed at run time.
from collections.abc import Mapping  # noqa: TC003
from decimal import Decimal  # noqa: TC003

import attrs

from .._money import plain_repr


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
