"""The body of a callback: not signed, so it is checked for contradictions only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .._converter import SchemaError, lenient_amount, lenient_order_id, load_object
from ..errors import CallbackError, CallbackReferenceError
from ._appended import appended_order_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from ._reference import Reference

#: Bytes of a body; the documented one has under 1 KiB.
MAX_BODY: Final = 64 * 1024


@attrs.frozen(kw_only=True)
class OrderHint:
    """What a callback says of its order beside the reference. It need not be signed.

    .. versionadded:: 0.1.0
    """

    order_id: str | None
    status: str | None
    #: In units of the order's coin.
    amount: Decimal | None
    #: Everything that the body holds, as it came.
    fields: Mapping[str, object] = attrs.field(repr=False)


def read_hint(body: bytes, token: Reference | None) -> OrderHint | None:
    """What a body says, if there is one.

    Raises:
        CallbackError: if it is no JSON object of some size.
        CallbackReferenceError: if it is about another order than the signed URL.
    """
    if not body:
        return None
    if type(body) is not bytes:
        raise CallbackError("the body must be bytes, as they came", rule="body")
    if len(body) > MAX_BODY:
        raise CallbackError(f"the body has over {MAX_BODY} bytes", rule="body")
    try:
        fields = load_object(body, "the body")
    except SchemaError as error:
        raise CallbackError(str(error), rule="body") from None
    if token is not None:
        _compare(fields, token)
    status = fields.get("status")
    return OrderHint(
        order_id=lenient_order_id(fields.get("order_id")),
        status=status if isinstance(status, str) else None,
        amount=lenient_amount(fields.get("amount")),
        fields=fields,
    )


def hint_of_url(url: str) -> OrderHint | None:
    """Return the order id that Aurpay appended to the URL, if it did."""
    order_id = lenient_order_id(appended_order_id(url))
    if order_id is None:
        return None
    return OrderHint(order_id=order_id, status=None, amount=None, fields={})


def _compare(fields: Mapping[str, object], token: Reference) -> None:
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
