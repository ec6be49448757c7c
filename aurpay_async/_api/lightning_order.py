"""A checked Lightning order, and its JSON form for databases and queues.

cattrs and the curve are slow to load, so they are loaded with the first order that is
serialized or parsed.
"""

from __future__ import annotations

# cattrs resolves the annotations of a record here, so the types are needed at run time.
from datetime import datetime  # noqa: TC003
from decimal import Decimal  # noqa: TC003
from typing import TYPE_CHECKING, Final, Self, cast

import attrs

from .._core.money import btc_to_msat, plain_repr
from .._core.urls import UrlError, format_origin, parse_origin
from ..errors import InvalidRequestError, InvoiceError, UntrustedOrderError
from .checks import InvoicePolicy, check_order
from .models import PublicRecord, UncheckedOrder, overdue_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core.money import Network
    from ..bolt11 import Invoice
    from .models import OrderStatus

#: The version of the JSON form, to be incremented when its members change.
_VERSION: Final = 1


# Without slots: each order creates one instance, which then takes a third less time.
@attrs.frozen(kw_only=True, slots=False)
class LightningOrder(PublicRecord):
    """An order with a verified Lightning invoice that belongs to it."""

    #: Aurpay's id of the order: a string, even where it looks like a number.
    order_id: str
    status: OrderStatus
    #: The amount to be paid, in BTC.
    amount: Decimal = attrs.field(repr=plain_repr)
    #: Fiat, in units of `currency`, as requested.
    price: Decimal = attrs.field(repr=plain_repr)
    #: Fiat: three letters, as requested.
    currency: str
    #: Aware, UTC. Aurpay writes no zone; its example's invoice agrees with UTC. If it
    #: cannot be read, or is more than five minutes ahead, it is the time of the
    #: invoice, and `extra` has it as received.
    create_time: datetime
    #: The invoice to show to the payer; ``str()`` returns its encoded form. It can be
    #: paid until its `expires_at`, which is never before `overdue_at`.
    payment_request: Invoice
    #: The hosted checkout page.
    pay_url: str
    #: The payment secret of the invoice, if Aurpay repeats it.
    payment_addr: str | None
    #: ``"BTC-LN"``. Not in every response. (``currency`` on the wire.)
    coin: str | None
    #: The merchant's name for what is paid, if given.
    reference: str | None = None
    #: Distinguishes this order from others with the same reference.
    attempt_id: str | None = None
    #: The names of the checks that passed before the order was returned.
    checks: tuple[str, ...]
    #: Fields that this version does not know or cannot read. Unchecked data from
    #: outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)

    _public = (
        "order_id",
        "status",
        "amount",
        "amount_sat",
        "coin",
        "price",
        "currency",
        "create_time",
        "overdue_at",
        "payment_request",
        "qr_text",
        "pay_url",
    )

    @property
    def amount_sat(self) -> int:
        """`amount` in satoshi, as wallets show it; a fraction of one is rounded up."""
        return -(-btc_to_msat(self.amount) // 1000)

    @property
    def qr_text(self) -> str:
        """The content of the QR code, `Invoice.qr_text` of `payment_request`."""
        return self.payment_request.qr_text

    @property
    def overdue_at(self) -> datetime:
        """The time until which to show the order: 30 minutes, or its invoice's expiry.

        A late payment is possible until the invoice expires.
        """
        # In one of the two documented responses, create_time is 51 minutes before the
        # time of the invoice, which is created with the order: use the later one.
        invoice = self.payment_request
        due = overdue_at(max(self.create_time, invoice.created_at))
        return min(due, invoice.expires_at)

    def to_json(self) -> str:
        """Return the whole order as JSON in ASCII, for a database or a queue.

        Numbers and times are strings in it, so no JSON library can round them.
        """
        from .._core.json import dump_json

        members = _members(self)
        return dump_json(
            {
                "version": _VERSION,
                **members,
                "digest": _digest(members),
                "extra": self.extra,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the order that `to_json` wrote, equal to it in every field.

        The invoice is decoded, verified and compared with the order again, for the
        network, payee and origin of the checkout page in the JSON. It may have expired.
        A checksum covers all other fields except `extra`: some databases rewrite its
        numbers. The checksum detects damage, not tampering: anyone with write access to
        your database can recompute it.

        Raises:
            InvalidRequestError: if `to_json` did not write `text`.
            UntrustedOrderError: if it was changed, or its invoice belongs to another
                order.
        """
        stored, extra = _parse_stored(text)
        invoice = _verify_stored(stored, text)
        order = cls(
            order_id=stored.order_id,
            status=stored.status,
            amount=stored.amount,
            price=stored.price,
            currency=stored.currency,
            create_time=stored.create_time,
            payment_request=invoice,
            pay_url=stored.pay_url,
            payment_addr=stored.payment_addr,
            coin=stored.coin,
            reference=stored.reference,
            attempt_id=stored.attempt_id,
            checks=stored.checks,
            extra=extra,
        )
        members = _members(order)
        changed = _digest(members) != stored.digest
        if changed or members["checkout"] != stored.checkout:
            raise _untrusted(
                stored, text, "digest", "it was changed after it was stored"
            )
        return order


@attrs.define(kw_only=True, slots=False)
class _StoredOrder(UncheckedOrder):
    """A stored order: its fields have types, but are unchecked."""

    create_time: datetime  # pyright: ignore[reportIncompatibleVariableOverride]
    price: Decimal
    currency: str
    reference: str | None
    attempt_id: str | None
    checks: tuple[str, ...]
    #: Accepted when the order was received, and to be compared again.
    network: str
    payee: str
    checkout: str
    digest: str


def _members(order: LightningOrder) -> dict[str, object]:
    """Return the members that the checksum covers, in a fixed order."""
    invoice = order.payment_request
    return {
        "order_id": order.order_id,
        "status": order.status,
        "amount": f"{order.amount:f}",
        "price": f"{order.price:f}",
        "currency": order.currency,
        "create_time": order.create_time.isoformat(),
        "payment_request": invoice.text,
        "pay_url": order.pay_url,
        "payment_addr": order.payment_addr,
        "coin": order.coin,
        "reference": order.reference,
        "attempt_id": order.attempt_id,
        "checks": order.checks,
        "network": invoice.network,
        "payee": invoice.payee,
        "checkout": format_origin(parse_origin(order.pay_url)),
    }


def _digest(members: Mapping[str, object]) -> str:
    from hashlib import sha256

    from .._core.json import dump_json

    return sha256(dump_json(members).encode("ascii")).hexdigest()


def _parse_stored(text: str) -> tuple[_StoredOrder, dict[str, object]]:
    from .._core.json import SchemaError, as_object, load_object
    from .wire import structure, unknown_fields

    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid_json(f"it is not a str but {type(text).__name__}")
    try:
        members = load_object(text.encode("utf-8", "replace"), "it")
        version, extra = members.pop("version", None), members.pop("extra", None)
        if type(version) is not int or version != _VERSION:
            raise _invalid_json("another version of this package wrote it")
        stored = structure(members, _StoredOrder, "order")
    except SchemaError as error:
        raise _invalid_json(str(error)) from None
    fields = as_object(extra)
    if fields is None or unknown_fields(members, _StoredOrder):
        raise _invalid_json("it has other members")
    return stored, fields


def _verify_stored(stored: _StoredOrder, text: str) -> Invoice:
    """Return the invoice, if all checks that do not depend on the time pass again."""
    from ..bolt11 import decode

    try:
        invoice = decode(stored.payment_request)
    except InvoiceError as error:
        raise _untrusted(stored, text, "invoice", str(error)) from error
    try:
        origin = parse_origin(stored.checkout)
    except UrlError as error:
        raise _invalid_json(f"order.checkout {error}") from None
    policy = InvoicePolicy(
        network=cast("Network", stored.network),
        origin=origin,
        payees=frozenset({stored.payee}),
    )
    result = check_order(stored, invoice, policy, now=None)
    if result.failed:
        raise _untrusted(stored, text, *result.failed)
    return invoice


def _invalid_json(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"not written by to_json(): {problem}", field="order")


def _untrusted(
    stored: _StoredOrder, text: str, check: str, problem: str
) -> UntrustedOrderError:
    return UntrustedOrderError(
        problem,
        check=check,
        order_id=stored.order_id,
        status=200,
        body=text.encode("utf-8", "replace"),
    )
