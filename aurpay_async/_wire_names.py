"""What the platform calls our fields: the one table, for both directions.

On the wire ``currency`` is fiat in what asks for Lightning orders and checkout pages,
and a coin everywhere else, where fiat is ``vs_currency``. On our side it is fiat.
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

_COIN: Final = {"coin": "currency"}
_FIAT: Final = {"price": "vs_price", "currency": "vs_currency"}
_OPTIONS: Final = {
    "stablecoin_at_par": "fixed_encrypt_price",
    "post_callbacks": "enable_post_callback",
}

#: Fields that the platform calls otherwise than we do, by record.
_WIRE_NAMES: Final[Mapping[type, Mapping[str, str]]] = {
    UncheckedOrder: _COIN,
    Order: {**_COIN, **_FIAT, "refundable": "refund"},
    NewPaymentUrl: _OPTIONS,
    NewPayment: {**_COIN, **_FIAT, **_OPTIONS},
    UncheckedPayment: {**_COIN, **_FIAT},
    RefundInfo: _COIN,
    Refund: {
        "status": "refund_status",
        "amount": "refund_amount",
        "date": "refund_date",
    },
    Transaction: _COIN,
}

_NONE: Final[Mapping[str, str]] = {}

#: Not a field of the platform's: where unknown ones are put.
_EXTRA: Final = "extra"


def wire_names(kind: type) -> Mapping[str, str]:
    """The platform's names for those fields of a record that it calls otherwise."""
    return _WIRE_NAMES.get(kind, _NONE)


@cache
def wire_fields(kind: type[attrs.AttrsInstance]) -> frozenset[str]:
    """The platform's names for all fields of a record."""
    names = wire_names(kind)
    own = {field.name for field in attrs.fields(kind)} - {_EXTRA}
    return frozenset(own - names.keys()) | frozenset(names.values())
