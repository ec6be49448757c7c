"""What the sandbox's Aurpay does: validates, converts, issues invoices, settles.

Pure: it is given the fields of a request and the time, and gives back an order or a
refusal. It shares nothing with the client but the invoices, so that the two cannot
make the same mistake and agree.
"""

from __future__ import annotations

import os
from decimal import ROUND_UP, Context, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs

from .. import bolt11
from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: The key that BOLT #11 publishes for its examples. Worthless, and known to all.
NODE_KEY: Final = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"

#: Its public half: whom the sandbox's invoices pay.
NODE_ID: Final = "03e7156ae33b0a208d0744199163177e909e80176e55d97a2f221ede0f934dd9ad"

#: What one bitcoin costs here. Made up, and the same every day.
RATES: Final[Mapping[str, Decimal]] = {
    "USD": Decimal(100_000),
    "EUR": Decimal(90_000),
    "GBP": Decimal(75_000),
    "CHF": Decimal(80_000),
    "JPY": Decimal(15_000_000),
}

#: As the documented example invoices: a day, 80 blocks, and these feature bits.
_EXPIRY_S: Final = 86_400
_MIN_FINAL_CLTV_EXPIRY: Final = 80
_FEATURES: Final = (9, 14, 17)

_SATOSHI: Final = Decimal("0.00000001")
_MSAT_PER_BTC: Final = 10**11
#: Of its own, whatever the process has set: no sandbox order depends on it.
_EXACT: Final = Context(prec=50, rounding=ROUND_UP)

_URL_FIELDS: Final = ("succeed_url", "timeout_url", "callback_url", "timeout_callback")

#: How an order moves, from which status to which; what is not listed is refused.
_MOVES: Final[Mapping[str, Mapping[str, str]]] = {
    # Overdue is not final: a late payment settles the order all the same.
    "paid": {"PENDING": "SUCCESS", "OVERDUE": "SUCCESS"},
    "expired": {"PENDING": "OVERDUE"},
    # As documented: what is paid in part is overdue, until somebody decides.
    "underpaid": {"PENDING": "OVERDUE"},
    "refunded": {"SUCCESS": "REFUNDED"},
}


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """The sandbox says no, with a code and a message for the envelope."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@attrs.frozen(kw_only=True)
class SandboxOrder:
    """An order that the sandbox has made.

    .. versionadded:: 0.1.0
    """

    order_id: str
    status: str
    #: What was asked for.
    price: Decimal
    currency: str
    urls: Mapping[str, str]
    #: BTC.
    amount: Decimal
    #: Aware, UTC, whole seconds.
    created_at: datetime
    #: The same, of the last change of its status.
    updated_at: datetime
    #: BOLT #11, regtest.
    invoice: str
    payment_secret: str
    #: What proves the payment; the invoice holds its hash.
    preimage: str
    #: Whether it has ever been overdue; a payment after that is late.
    was_overdue: bool = False


class Ledger:
    """All orders of one sandbox."""

    def __init__(self, rates: Mapping[str, Decimal] = RATES) -> None:
        self._rates = rates
        self.orders: dict[str, SandboxOrder] = {}

    def create(self, fields: Mapping[str, object], now: datetime) -> SandboxOrder:
        """Make an order of the fields of a request.

        Raises:
            Refusal: if a field is missing or cannot be.
        """
        price = _price(fields.get("price"))
        currency, rate = self._rate(fields.get("currency"))
        urls = dict(_urls(fields))
        amount = _EXACT.quantize(_EXACT.divide(price, rate), _SATOSHI)
        preimage, secret = os.urandom(32), os.urandom(32)
        created_at = now.replace(microsecond=0)
        order = SandboxOrder(
            order_id=f"{created_at:%Y%m%d%H%M%S}{len(self.orders) + 1:06d}",
            status="PENDING",
            price=price,
            currency=currency,
            urls=urls,
            amount=amount,
            created_at=created_at,
            updated_at=created_at,
            invoice=bolt11.sign(
                NODE_KEY,
                payment_hash=sha256(preimage).hexdigest(),
                payment_secret=secret.hex(),
                timestamp=int(created_at.timestamp()),
                amount_msat=int(_EXACT.multiply(amount, Decimal(_MSAT_PER_BTC))),
                # The documented examples hold 32 hex digits, of unknown meaning.
                description=os.urandom(16).hex(),
                expiry=_EXPIRY_S,
                min_final_cltv_expiry=_MIN_FINAL_CLTV_EXPIRY,
                features=_FEATURES,
            ),
            payment_secret=secret.hex(),
            preimage=preimage.hex(),
        )
        self.orders[order.order_id] = order
        return order

    def find(self, order_id: str) -> SandboxOrder:
        """The order of this id.

        Raises:
            Refusal: if there is none.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise Refusal(404, "there is no such order")
        return order

    def pay(self, order_id: str, now: datetime) -> SandboxOrder:
        """Somebody pays, in time or late.

        Raises:
            InvalidRequestError: if there is no such order, or none to be paid.
        """
        return self._move(order_id, "paid", now)

    def expire(self, order_id: str, now: datetime) -> SandboxOrder:
        """Nobody has paid in time.

        Raises:
            InvalidRequestError: if there is no such order, or none to expire.
        """
        return self._move(order_id, "expired", now)

    def underpay(self, order_id: str, now: datetime) -> SandboxOrder:
        """Somebody pays too little.

        Raises:
            InvalidRequestError: if there is no such order, or none that is pending.
        """
        return self._move(order_id, "underpaid", now)

    def refund(self, order_id: str, now: datetime) -> SandboxOrder:
        """What was paid goes back.

        Raises:
            InvalidRequestError: if there is no such order, or none that was paid.
        """
        return self._move(order_id, "refunded", now)

    def _move(self, order_id: str, move: str, now: datetime) -> SandboxOrder:
        order = self.orders.get(order_id)
        if order is None:
            raise InvalidRequestError(
                f"there is no order {shown(order_id)}", field="order_id"
            )
        status = _MOVES[move].get(order.status)
        if status is None:
            raise InvalidRequestError(
                f"{order_id} is {order.status} and cannot be {move}", field="order_id"
            )
        moved = attrs.evolve(
            order,
            status=status,
            updated_at=now.replace(microsecond=0),
            was_overdue=order.was_overdue or status == "OVERDUE",
        )
        self.orders[order_id] = moved
        return moved

    def _rate(self, currency: object) -> tuple[str, Decimal]:
        if not isinstance(currency, str) or currency not in self._rates:
            known = ", ".join(self._rates)
            raise Refusal(400, f"currency must be one of {known}")
        return currency, self._rates[currency]


def _price(value: object) -> Decimal:
    # JSON numbers arrive as int or Decimal; a text, or true, is no number.
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Refusal(400, "price must be a number")
    price = Decimal(value)
    if not Decimal("0.01") <= price < Decimal(10**9):
        raise Refusal(400, "price must be from 0.01 to 999999999.99")
    return price


def _urls(fields: Mapping[str, object]) -> list[tuple[str, str]]:
    urls: list[tuple[str, str]] = []
    for name in _URL_FIELDS:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not value.startswith(("http://", "https://")):
            raise Refusal(400, f"{name} must be an URL")
        urls.append((name, value))
    return urls
