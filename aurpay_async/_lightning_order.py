"""The order that a shop works with: checked, and fit to outlive the process.

What is slow to load (cattrs, the curve) is loaded with the first that is kept.
"""

from __future__ import annotations

# cattrs reads the annotations of a record here, so its types are imported for real.
from datetime import datetime  # noqa: TC003
from decimal import Decimal  # noqa: TC003
from typing import TYPE_CHECKING, Final, Self, cast

import attrs

from ._checks import InvoicePolicy, check_order
from ._models import UncheckedOrder
from ._models._public import PublicRecord
from ._money import plain_repr
from ._order_life import overdue_at
from ._urls import UrlError, format_origin, parse_origin
from .errors import InvalidRequestError, InvoiceError, UntrustedOrderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._network import Network
    from ._order_life import OrderStatus
    from .bolt11 import Invoice

#: Of the JSON; grows when its members change.
_VERSION: Final = 1


# A dict and not slots: one is made per order, and this spares a third of the time.
@attrs.frozen(kw_only=True, slots=False)
class LightningOrder(PublicRecord):
    """An order whose Lightning invoice was verified and belongs to it.

    .. versionadded:: 0.1.0
    """

    #: The platform's name for it: text, even where it looks like a number.
    order_id: str
    status: OrderStatus
    #: What is to be paid, in BTC.
    amount: Decimal = attrs.field(repr=plain_repr)
    #: Fiat, in units of `currency`, as asked for.
    price: Decimal = attrs.field(repr=plain_repr)
    #: Fiat: three letters, as asked for.
    currency: str
    #: Aware, UTC. Aurpay writes no zone; UTC is what its example's invoice agrees with.
    #: Where it cannot be read, or lies more than five minutes ahead, it is the time of
    #: the invoice, and what came is in `extra`.
    create_time: datetime
    #: The invoice to show to the payer; ``str()`` of it is its text. It may be paid
    #: until its `expires_at`, which is never before `overdue_at`.
    payment_request: Invoice
    #: The hosted checkout page.
    pay_url: str
    #: The payment secret of the invoice, if the platform repeats it.
    payment_addr: str | None
    #: ``"BTC-LN"``. Not in every answer. (``currency`` on the wire.)
    coin: str | None
    #: The shop's own name for what is paid, if it gave one.
    reference: str | None = None
    #: What tells this order from another one of the same reference.
    attempt_id: str | None = None
    #: The names of the checks that were made before you got this.
    checks: tuple[str, ...]
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
        "overdue_at",
        "payment_request",
        "pay_url",
    )

    @property
    def overdue_at(self) -> datetime:
        """Until when to show it: for 30 minutes, and no longer than its invoice lives.

        A payment may still come afterwards, for as long as the invoice lives.
        """
        # In one of the two documented answers, create_time is 51 minutes before the
        # invoice, which is made with the order: the later one is nearer to the truth.
        invoice = self.payment_request
        due = overdue_at(max(self.create_time, invoice.created_at))
        return min(due, invoice.expires_at)

    def to_json(self) -> str:
        """All of it as JSON in ASCII, for a database or a queue: see `from_json`.

        Numbers and times are texts in it, so nothing on the way can round them.
        """
        from ._converter import dump_json

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
        """The order that `to_json` wrote, equal to it in everything.

        The invoice is decoded, verified and compared with the order again, for the
        network, payee and place of the checkout page that are written in the JSON; it
        may have expired meanwhile. A digest finds whatever else was changed, but for
        `extra`, whose numbers some databases write anew. It does not stop who can write
        to your database: what they write there you believe.

        Raises:
            InvalidRequestError: `text` is not what `to_json` writes.
            UntrustedOrderError: it was changed, or its invoice is another order's.
        """
        stored, extra = _read(text)
        invoice = _verified(stored, text)
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
            raise _untrusted(stored, text, "digest", "it was changed after it was kept")
        return order


@attrs.frozen(kw_only=True, slots=False)
class _Stored(UncheckedOrder):
    """An order as it was kept: typed, and not to be trusted yet."""

    create_time: datetime
    price: Decimal
    currency: str
    reference: str | None
    attempt_id: str | None
    checks: tuple[str, ...]
    #: What was trusted when it came: to be the same now.
    network: str
    payee: str
    checkout: str
    digest: str


def _members(order: LightningOrder) -> dict[str, object]:
    """What is kept, but for what the platform added; always in this order."""
    invoice = order.payment_request
    return {
        "order_id": order.order_id,
        "status": order.status,
        "amount": f"{order.amount:f}",
        "price": f"{order.price:f}",
        "currency": order.currency,
        "create_time": order.create_time.isoformat(),
        "payment_request": str(invoice),
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

    from ._converter import dump_json

    return sha256(dump_json(members).encode("ascii")).hexdigest()


def _read(text: str) -> tuple[_Stored, dict[str, object]]:
    from ._converter import (
        SchemaError,
        as_object,
        load_object,
        structure,
        unknown_fields,
    )

    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _refusal(f"it is no text but {type(text).__name__}")
    try:
        members = load_object(text.encode("utf-8", "replace"))
        version, extra = members.pop("version", None), members.pop("extra", None)
        if type(version) is not int or version != _VERSION:
            raise _refusal("another version of this package wrote it")
        stored = structure(members, _Stored, "order")
    except SchemaError as error:
        raise _refusal(str(error).replace("the answer", "it", 1)) from None
    fields = as_object(extra)
    if fields is None or unknown_fields(members, _Stored):
        raise _refusal("it has other members")
    return stored, fields


def _verified(stored: _Stored, text: str) -> Invoice:
    """The invoice of an order, if all the checks that do not grow old still hold."""
    from .bolt11 import decode

    try:
        invoice = decode(stored.payment_request)
    except InvoiceError as error:
        raise _untrusted(stored, text, "invoice", str(error)) from error
    try:
        origin = parse_origin(stored.checkout)
    except UrlError as error:
        raise _refusal(f"order.checkout {error}") from None
    policy = InvoicePolicy(
        network=cast("Network", stored.network),
        origin=origin,
        payees=frozenset({stored.payee}),
    )
    verdict = check_order(stored, invoice, policy, now=None)
    if verdict.failed:
        raise _untrusted(stored, text, *verdict.failed)
    return invoice


def _refusal(why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"not what to_json() writes: {why}",
        field="order",
    )


def _untrusted(
    stored: _Stored, text: str, check: str, problem: str
) -> UntrustedOrderError:
    return UntrustedOrderError(
        problem,
        check=check,
        order_id=stored.order_id,
        status=200,
        body=text.encode("utf-8", "replace"),
    )
