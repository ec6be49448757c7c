"""The records of orders: what is asked for, what came back.

They know their own rules and nothing of their form on the wire (see `_converter`).
On our side `price` and `currency` are fiat, `amount`, `coin` and `chain` are not.
"""

from __future__ import annotations

# cattrs reads the annotations of these records, so their types are imported for real.
from collections.abc import Mapping  # noqa: TC003
from datetime import datetime  # noqa: TC003
from decimal import Decimal  # noqa: TC003
from typing import Final, Literal

import attrs

from ._money import parse_price
from ._order_life import OrderStatus  # noqa: TC001
from ._urls import UrlError, read_origin, require_secure, without_query
from .errors import InvalidRequestError, shown

_CURRENCY_LENGTH: Final = 3
#: The documented ids have 20 digits.
MAX_ORDER_ID: Final = 64
#: More than shops' own ids have, little enough for an URL.
_MAX_REFERENCE: Final = 128


def _exact(value: str | None) -> str | None:
    """The text alone, of a subclass as well: an enum, or a template's markup."""
    return str.__str__(value) if isinstance(value, str) else value


def _currency(value: str) -> str:
    text = _exact(value)
    if (
        isinstance(text, str)
        and len(text) == _CURRENCY_LENGTH
        and text.isascii()
        and text.isalpha()
    ):
        return text.upper()
    raise InvalidRequestError(
        f"must be three ASCII letters, got {shown(value)}",
        field="currency",
        hint='write an ISO 4217 code such as "USD"',
    )


def _page_url(_: object, attribute: attrs.Attribute[str | None], value: object) -> None:
    """An URL for a browser. It is not changed: it goes to the wire as given."""
    field = attribute.name
    if value is None:
        return
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InvalidRequestError(f"must be a text, not {kind}", field=field)
    try:
        require_secure(read_origin(value))
    except UrlError as error:
        raise InvalidRequestError(str(error), field=field) from None


def _server_url(
    instance: object, attribute: attrs.Attribute[str | None], value: object
) -> None:
    """An URL for the platform to call and to sign; it comes back as it is sent."""
    _page_url(instance, attribute, value)
    if not isinstance(value, str):
        return
    if "#" in value:
        problem, hint = "a #fragment never reaches a server", "use ?query instead"
    elif not value.isascii():
        problem, hint = "holds characters that are not ASCII", "percent-encode them"
    elif not value.startswith(("https:", "http:")):
        problem, hint = "the scheme must be in lower case", "write https://"
    else:
        return
    raise InvalidRequestError(problem, field=attribute.name, hint=hint)


def _label(_: object, attribute: attrs.Attribute[str | None], value: object) -> None:
    """A name of the shop's own, which travels inside of URLs."""
    if value is None:
        return
    field = attribute.name
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InvalidRequestError(f"must be a text, not {kind}", field=field)
    if not (0 < len(value) <= _MAX_REFERENCE and value.isprintable()):
        raise InvalidRequestError(
            f"must have 1 to {_MAX_REFERENCE} printable characters, got {shown(value)}",
            field=field,
        )


def _shown_url(url: str | None) -> str:
    return repr(url and without_query(url))


def without_frames(error: InvalidRequestError) -> InvalidRequestError:
    """A refusal without the frames that looked at what was refused: they show it."""
    error.__context__ = None
    return error.with_traceback(None)


@attrs.frozen(slots=False)
class NewOrder:
    """What an order is asked for with. Raises `InvalidRequestError` if it cannot be.

    .. versionadded:: 0.1.0
    """

    #: Fiat, in units of `currency`, with exactly the digits that are sent.
    price: Decimal = attrs.field(converter=parse_price)
    #: Three upper-case letters. The platform decides which ones it takes.
    currency: str = attrs.field(converter=_currency)
    #: Where the payer's browser goes after success.
    succeed_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=_exact,
        validator=_page_url,
        repr=_shown_url,
    )
    #: Where it goes after a timeout.
    timeout_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=_exact,
        validator=_page_url,
        repr=_shown_url,
    )
    #: What the platform calls (GET) after success.
    callback_url: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=_exact,
        validator=_server_url,
        repr=_shown_url,
    )
    #: What it calls after a timeout.
    timeout_callback: str | None = attrs.field(
        default=None,
        kw_only=True,
        converter=_exact,
        validator=_server_url,
        repr=_shown_url,
    )
    #: The shop's own name for what is paid. It travels in the callback URLs, signed.
    reference: str | None = attrs.field(
        default=None, kw_only=True, converter=_exact, validator=_label
    )
    #: What tells this order from another one of the same reference.
    nonce: str | None = attrs.field(
        default=None, kw_only=True, converter=_exact, validator=_label
    )


def is_order_id(text: str) -> bool:
    """Whether a text can be the platform's name for an order."""
    return 0 < len(text) <= MAX_ORDER_ID and text.isprintable() and " " not in text


def require_order_id(value: object, field: str = "order_id") -> str:
    """An order's id that a caller gives, fit to be one segment of a path.

    Raises:
        InvalidRequestError: naming the argument `field`.
    """
    text = _exact(value) if isinstance(value, str) else None
    # RFC 3986, 5.2.4: these two are taken out of a path, wherever they come from.
    if text is None or text in {".", ".."} or not is_order_id(text):
        raise InvalidRequestError(
            f"must be a text of 1 to {MAX_ORDER_ID} characters without blanks, "
            f"got {shown(value)}",
            field=field,
            hint="take it from order.order_id",
        )
    return text


@attrs.frozen(kw_only=True, slots=False)
class UncheckedOrder:
    """An order as it came over the wire: typed, and not to be trusted yet."""

    order_id: str
    status: OrderStatus
    amount: Decimal
    create_time: datetime
    payment_request: str
    pay_url: str
    payment_addr: str | None = None
    coin: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class Order:
    """An order as the platform has it at this moment.

    Of the answer ("Get Orders Details") only `order_id`, `user_id`, `order_type` and
    `platform` are documented, and that shops read `status`. All else is what the list
    of orders has ("Get Orders"), and is ``None`` where it is missing.

    .. versionadded:: 0.1.0
    """

    #: The platform's name for it: text, even where it looks like a number.
    order_id: str
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
    amount: Decimal | None = None
    #: Fiat, in units of `currency`. (``vs_price`` on the wire.)
    price: Decimal | None = None
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
    #: Fields of the answer that this version does not know. From outside: unchecked.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)


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
