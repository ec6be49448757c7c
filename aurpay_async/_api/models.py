"""Orders: the records of Aurpay's answers, and the statuses.

Aurpay documents seven statuses ("Get Orders"), the meaning of five, and no transition.
The table follows from these meanings: a payment may be late, the merchant may accept an
underpayment, and a paid order can be refunded.
"""

from __future__ import annotations

# cattrs resolves the annotations of these records, so the types are needed at run time.
from collections.abc import Mapping  # noqa: TC003
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final, Generic, Literal, Self, TypeVar

import attrs

from .._core.money import plain_repr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import CoreSchema


_T = TypeVar("_T")


class PublicRecord:
    """A record that has a public form, for JSON, templates and FastAPI."""

    #: The names of the public fields and properties.
    _public: ClassVar[tuple[str, ...]]

    def to_public_dict(self) -> dict[str, str | None]:
        """Return the fields that the payer may see, each as a string or ``None``.

        Amounts are fixed-point, and times ISO 8601 with their zone. The merchant's own
        data is left out (`reference`, `attempt_id`, `extra`, `checks`, the merchant's
        id, the remark), and so is the payment secret beside the invoice.
        """
        return {name: _public_value(getattr(self, name)) for name in self._public}

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        """Iterate over the pairs of `to_public_dict`: ``dict(order)`` is public.

        FastAPI's encoder tries ``dict()`` on the return value of a route, so it writes
        neither floats nor secrets. Pydantic models are iterable in the same way.
        """
        return iter(self.to_public_dict().items())

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, __: object) -> CoreSchema:
        """Return a schema that accepts the record and serializes its public form."""
        from pydantic_core import core_schema

        text = core_schema.str_schema()
        may_be_none = {
            name for name, of in cls.__annotations__.items() if "None" in str(of)
        }
        fields = {
            name: core_schema.typed_dict_field(
                core_schema.nullable_schema(text) if name in may_be_none else text
            )
            for name in cls._public
        }
        # With a `ref`, OpenAPI names it once, in its components.
        public = core_schema.typed_dict_schema(
            fields, cls_name=cls.__name__, ref=f"{cls.__module__}.{cls.__name__}"
        )
        return core_schema.is_instance_schema(
            cls,
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls.to_public_dict, return_schema=public
            ),
        )


def _public_value(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime) else str(value)


#: "Orders" of Aurpay's dashboard: an order that is not paid within 30 minutes is
#: overdue. No field of the API repeats it.
PAYMENT_WINDOW: Final = timedelta(minutes=30)


class OrderStatus(StrEnum):
    """The status of an order. An open set: an unknown status keeps its string.

    The known ones are those of Aurpay's documentation ("Get Orders"). An unknown status
    becomes a new value, which equals its string and has `is_known` false.
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
    #: Refunded to the payer.
    REFUNDED = "REFUNDED"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        status = str.__new__(cls, value)
        status._name_ = value
        status._value_ = value
        return status

    def __repr__(self) -> str:
        # The name of an unknown status is outside text, which Enum prints unescaped.
        return f"<OrderStatus.{ascii(self.name)[1:-1]}: {self.value!a}>"

    @property
    def is_known(self) -> bool:
        """Return whether this version of the SDK knows the status."""
        return self._value_ in KNOWN_STATUSES

    @property
    def is_paid(self) -> bool | None:
        """Return whether the merchant has the money; ``None`` if that is not known.

        It is not known for ``PARTIAL`` and ``TERMINATED``, which are documented without
        a meaning, and for every status that this version does not know.
        """
        return IS_PAID.get(self)

    @property
    def is_final(self) -> bool:
        """Return whether no other status can follow, which holds for ``REFUNDED`` only.

        ``SUCCESS`` can be refunded, and a late payment can follow ``OVERDUE``.
        """
        return self is OrderStatus.REFUNDED

    def can_become(self, other: OrderStatus) -> bool:
        """Return whether an order can change to the status `other`, or keep it.

        A transition from or to a status that this version does not know is allowed.
        """
        if self == other or not (self.is_known and other.is_known):
            return True
        return other in _TRANSITIONS[self]


KNOWN_STATUSES: Final = frozenset(OrderStatus.__members__)

IS_PAID: Final[Mapping[OrderStatus, bool]] = {
    OrderStatus.PENDING: False,
    OrderStatus.OVERDUE: False,
    OrderStatus.SUCCESS: True,
    OrderStatus.RESOLVED: True,
    OrderStatus.REFUNDED: False,
}


def _statuses(row: str) -> frozenset[OrderStatus]:
    return frozenset(OrderStatus[name] for name in row.split())


_TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    OrderStatus.PENDING: _statuses(
        "OVERDUE SUCCESS RESOLVED PARTIAL TERMINATED REFUNDED"
    ),
    OrderStatus.OVERDUE: _statuses("SUCCESS RESOLVED PARTIAL TERMINATED REFUNDED"),
    OrderStatus.PARTIAL: _statuses("SUCCESS RESOLVED OVERDUE TERMINATED REFUNDED"),
    OrderStatus.SUCCESS: _statuses("RESOLVED REFUNDED"),
    OrderStatus.RESOLVED: _statuses("REFUNDED SUCCESS"),
    # The meaning of TERMINATED is not documented: the payer may have paid before.
    OrderStatus.TERMINATED: _statuses("SUCCESS RESOLVED REFUNDED"),
    OrderStatus.REFUNDED: _statuses(""),
}


def overdue_at(create_time: datetime) -> datetime:
    """Return when an order is overdue, or the largest datetime if that overflows."""
    try:
        return create_time + PAYMENT_WINDOW
    except OverflowError:  # Aurpay may send any year.
        return datetime.max.replace(tzinfo=UTC)


@attrs.define(kw_only=True, slots=False)
class UncheckedOrder:
    """A new order as received: its fields have types, but the invoice is unchecked."""

    order_id: str
    status: OrderStatus
    amount: Decimal
    #: ``None`` if it is missing or cannot be read: no check depends on it.
    create_time: datetime | None
    payment_request: str
    pay_url: str
    payment_addr: str | None = None
    coin: str | None = None


@attrs.frozen(kw_only=True, slots=False)
class Order(PublicRecord):
    """An order as Aurpay had it when it sent the response.

    The list ("Get Orders") documents all of these fields. Order detail ("Get Orders
    Details") documents only `order_id`, `user_id`, `order_type` and `platform`, and
    that shops read `status`. A field that is missing or null is ``None``. So is a
    field that cannot be read, and `extra` then has it as received; but an unreadable
    id, and in order detail an unreadable status or money field, is an error.
    """

    #: Aurpay's id of the order: a string, even where it looks like a number.
    order_id: str
    #: Empty, and not a known status, in a row of a list with an unreadable status.
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
    amount: Decimal | None = attrs.field(default=None, repr=plain_repr)
    #: Fiat, in units of `currency`. (``vs_price`` on the wire.)
    price: Decimal | None = attrs.field(default=None, repr=plain_repr)
    #: Fiat: three letters. (``vs_currency`` on the wire.)
    currency: str | None = None
    #: A string from outside: escape it.
    remark: str | None = None
    #: "Eligible for a refund". (``refund`` on the wire.)
    refundable: bool | None = None
    #: Aware. Aurpay writes no zone; read as UTC.
    create_time: datetime | None = None
    #: Aware. Aurpay writes no zone; read as UTC.
    update_time: datetime | None = None
    #: Fields that this version does not know or cannot read. Unchecked data from
    #: outside.
    extra: Mapping[str, object] = attrs.field(factory=dict[str, object], repr=False)

    _public = (
        "order_id",
        "status",
        "amount",
        "coin",
        "price",
        "currency",
        "create_time",
        "update_time",
    )


@attrs.frozen(kw_only=True)
class Payment:
    """The result of waiting for a payment."""

    #: ``paid``; ``late_paid``: paid after it was overdue, so goods may be sold out and
    #: rates may have changed; ``timed_out``: not paid in time; ``refunded``.
    outcome: Literal["paid", "late_paid", "timed_out", "refunded"]
    #: The order as Aurpay had it then.
    order: Order


@attrs.frozen(kw_only=True)
class Page(Generic[_T]):
    """One page of a list, as Aurpay had it at that moment."""

    #: Its number; 1 is the first.
    page: int
    #: The number of rows of a full page.
    size: int
    #: The number of rows of all pages together.
    total: int
    #: The number of the last page.
    max_page: int
    #: The rows as received; their order is not documented.
    items: tuple[_T, ...]
