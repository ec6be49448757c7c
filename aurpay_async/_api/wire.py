"""Aurpay's names of the fields of our records, for both directions.

On the wire ``currency`` is fiat in requests for Lightning orders and checkout pages. In
all other places it is a coin, and fiat is ``vs_currency``. In our records it is fiat.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import attrs

from ._models import Order, UncheckedOrder
from ._models._payments import NewPayment, NewPaymentUrl, UncheckedPayment
from ._models._refunds import Refund, RefundInfo
from ._models._transactions import Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

_COIN_NAMES: Final = {"coin": "currency"}
_FIAT_NAMES: Final = {"price": "vs_price", "currency": "vs_currency"}
_OPTION_NAMES: Final = {
    "stablecoin_at_par": "fixed_encrypt_price",
    "post_callbacks": "enable_post_callback",
}

#: Fields with another name on the wire, by record.
_WIRE_NAMES: Final[Mapping[type, Mapping[str, str]]] = {
    UncheckedOrder: _COIN_NAMES,
    Order: {**_COIN_NAMES, **_FIAT_NAMES, "refundable": "refund"},
    NewPaymentUrl: _OPTION_NAMES,
    NewPayment: {**_COIN_NAMES, **_FIAT_NAMES, **_OPTION_NAMES},
    UncheckedPayment: {**_COIN_NAMES, **_FIAT_NAMES},
    RefundInfo: _COIN_NAMES,
    Refund: {
        "status": "refund_status",
        "amount": "refund_amount",
        "date": "refund_date",
    },
    Transaction: _COIN_NAMES,
}

_SAME_NAMES: Final[Mapping[str, str]] = {}

#: Our field for unknown members, which is not a member itself.
_EXTRA_FIELD: Final = "extra"


def wire_names(kind: type) -> Mapping[str, str]:
    """Return the wire names of those fields of a record that have another name."""
    return _WIRE_NAMES.get(kind, _SAME_NAMES)


@cache
def wire_fields(kind: type[attrs.AttrsInstance]) -> frozenset[str]:
    """Return the wire names of all fields of a record."""
    names = wire_names(kind)
    own = {field.name for field in attrs.fields(kind)} - {_EXTRA_FIELD}
    return frozenset(own - names.keys()) | frozenset(names.values())
