"""The records of orders: what is asked for, what came back, what was checked.

They know their own rules and nothing of their form on the wire (see `_converter`).
"""

from __future__ import annotations

# cattrs reads the annotations of these records, so their types are imported for real.
from datetime import datetime  # noqa: TC003
from decimal import Decimal  # noqa: TC003
from enum import StrEnum
from typing import TYPE_CHECKING, NewType, Self

import attrs

from ._money import parse_price
from ._urls import UrlError, read_origin, require_secure, without_query
from .errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .bolt11 import Invoice


_CURRENCY_LENGTH = 3


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
    """An URL for the platform to call, and to sign as it is."""
    _page_url(instance, attribute, value)
    if isinstance(value, str) and "#" in value:
        raise InvalidRequestError(
            "a #fragment never reaches a server",
            field=attribute.name,
            hint="use ?query instead",
        )


def _shown_url(url: str | None) -> str:
    return repr(url and without_query(url))


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


class OrderStatus(StrEnum):
    """Where an order stands. An open set: new values keep their text.

    The known ones are those of Aurpay's documentation ("Get Orders"). Whatever else
    arrives becomes a value of its own: equal to its text, with `is_known` false.

    .. versionadded:: 0.1.0
    """

    #: Not paid yet, or paid and not confirmed.
    PENDING = "PENDING"
    #: Not paid within 30 minutes, or paid with a wrong amount. May still change.
    OVERDUE = "OVERDUE"
    #: Paid and confirmed.
    SUCCESS = "SUCCESS"
    #: The merchant accepted an underpayment.
    RESOLVED = "RESOLVED"
    #: Documented without a meaning.
    PARTIAL = "PARTIAL"
    #: Documented without a meaning.
    TERMINATED = "TERMINATED"
    #: Paid back.
    REFUNDED = "REFUNDED"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        status = str.__new__(cls, value)
        status._name_ = value
        status._value_ = value
        return status

    @property
    def is_known(self) -> bool:
        """Whether this version of the SDK knows the status."""
        return self.value in type(self).__members__


#: The platform's name for an order. Text, even where it looks like a number.
OrderId = NewType("OrderId", str)


@attrs.frozen(kw_only=True, slots=False)
class UncheckedOrder:
    """An order as it came over the wire: typed, and not to be trusted yet."""

    order_id: OrderId
    status: OrderStatus
    amount: Decimal
    create_time: datetime
    payment_request: str
    pay_url: str
    payment_addr: str | None = None
    currency: str | None = None


# A dict and not slots: one is made per order, and this spares a third of the time.
@attrs.frozen(kw_only=True, slots=False)
class LightningOrder:
    """An order whose Lightning invoice was verified and belongs to it.

    .. versionadded:: 0.1.0
    """

    #: The platform's name for it: text, even where it looks like a number.
    order_id: str
    status: OrderStatus
    #: What is to be paid, in BTC.
    amount: Decimal
    #: Aware, UTC. Aurpay writes no zone; UTC is what its example's invoice agrees with.
    create_time: datetime
    #: The invoice to show to the payer; ``str()`` of it is its text.
    payment_request: Invoice
    #: The hosted checkout page.
    pay_url: str
    #: The payment secret of the invoice, if the platform repeats it.
    payment_addr: str | None
    #: The coin: ``"BTC-LN"``. Not in every answer.
    currency: str | None
    #: The names of the checks that were made before you got this.
    checks: tuple[str, ...]
    #: Fields of the answer that this version does not know. From outside: unchecked.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)
