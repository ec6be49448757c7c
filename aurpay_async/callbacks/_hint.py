"""Parse the unsigned body of a callback, and check it for contradictions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from .._converter import SchemaError, lenient_amount, lenient_order_id, load_object
from ..errors import CallbackError, CallbackReferenceError
from ._appended import possibly_registered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from ._reference import Reference

#: Bytes of a body; the documented example has under 1 KiB.
MAX_BODY: Final = 64 * 1024


_APPENDED_ORDER_ID = re.compile(r"[?&]aurpay_order_id=([A-Za-z0-9_-]{1,64})(?=[?&]|\Z)")


@attrs.frozen(kw_only=True)
class OrderHint:
    """The unsigned details of a callback: of its body, or appended to its URL."""

    order_id: str | None
    status: str | None
    #: In units of the order's coin.
    amount: Decimal | None
    #: The whole body, as received.
    fields: Mapping[str, object] = attrs.field(repr=False)


def read_hint(body: bytes, token: Reference | None) -> OrderHint | None:
    """Parse a body; return ``None`` if it is empty.

    Raises:
        CallbackError: if it is not a JSON object, or too large.
        CallbackReferenceError: if it names another price or currency than the signed
            URL.
    """
    if not body:
        return None
    if type(body) is not bytes:
        raise CallbackError("the body must be bytes, as received", rule="body")
    if len(body) > MAX_BODY:
        raise CallbackError(f"the body has over {MAX_BODY} bytes", rule="body")
    try:
        fields = load_object(body, "the body")
    except SchemaError as error:
        raise CallbackError(str(error), rule="body") from None
    if token is not None:
        _check_price(fields, token)
    status = fields.get("status")
    return OrderHint(
        order_id=lenient_order_id(fields.get("order_id")),
        status=status if isinstance(status, str) else None,
        amount=lenient_amount(fields.get("amount")),
        fields=fields,
    )


def hint_of_url(url: str) -> OrderHint | None:
    """Return the order id that Aurpay appended to the URL, if any (unsigned)."""
    *_, registered = possibly_registered(url)
    match = _APPENDED_ORDER_ID.search(url, len(registered))
    if match is None:
        return None
    return OrderHint(order_id=match[1], status=None, amount=None, fields={})


def _check_price(fields: Mapping[str, object], token: Reference) -> None:
    price, currency = fields.get("vs_price"), fields.get("vs_currency")
    if price not in (None, "") and lenient_amount(price) != token.price:
        name = "vs_price"
    elif isinstance(currency, str) and currency.upper() not in {"", token.currency}:
        name = "vs_currency"
    else:
        return
    raise CallbackReferenceError(
        f"the body names another {name} than the order was created with", rule="order"
    )
