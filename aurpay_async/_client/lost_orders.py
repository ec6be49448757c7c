"""Search for the order that a failed create may have left.

The API stores no id of the caller's. If the response is lost, the order can only be
identified by its price, currency and time. Therefore:

* A matching order need not be the one: another buyer may have ordered at the same price
  in the same minutes. Only the caller knows the orders of other buyers (`known`).
* No match does not prove that there is no order: Aurpay may list it later, and its
  times have no time zone.
* A row with a missing or unreadable field neither matches nor is excluded: the outcome
  is then "several", which a person has to review.
* The sorting of the list is not documented. Reading stops early only at a row that was
  neither created nor changed since, which is right for a list that is newest first by
  either time; and only after a newer row, which a list that is oldest first never has.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Self

import attrs

from .._api.arguments import require_order_id, validate_coin_name
from .._api.checks import own_order_id
from .._core.money import parse_price, plain_repr, to_currency
from ..errors import (
    AurpayError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    RequestOutcome,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
    from decimal import Decimal

    from .._api.models import Order

#: How far the clocks of client and server may differ: as for callbacks.
CLOCK_SKEW: Final = timedelta(minutes=5)

#: How long after its start an attempt may still create an order. A client waits 15
#: seconds by default; the server may continue after that (nginx allows it 60).
LONGEST_ATTEMPT_S: Final = 60.0

#: How far the creation times in the list may be out of order. Servers take the time of
#: an order first, and list it when it is stored.
_LIST_ORDER_SLACK: Final = timedelta(minutes=10)

#: Limit of rows read: twenty days of a shop with a thousand orders a day.
MAX_ROWS: Final = 20_000

#: Rows per page of the list: five times the default, so a fifth of the requests.
PAGE_SIZE: Final = 100

#: Coin and chain of Lightning orders: as documented, and as in Aurpay's plugins.
_LIGHTNING_COIN: Final = "BTC-LN"
_LIGHTNING_CHAIN: Final = "BLN"


def _require_aware(
    _: object, attribute: attrs.Attribute[datetime], value: object
) -> None:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidRequestError(
            "must be a datetime with a time zone",
            field=attribute.name,
            hint="write it like datetime(2026, 1, 31, 12, 0, tzinfo=UTC)",
        )


@attrs.frozen(kw_only=True)
class OrderQuery:
    """The known data of an order that may exist. Raises `InvalidRequestError`."""

    #: The requested price, in units of `currency`.
    price: Decimal = attrs.field(converter=parse_price, repr=plain_repr)
    #: Fiat: three letters.
    currency: str = attrs.field(converter=to_currency)
    #: Start of the last attempt to create it, with a time zone.
    sent_at: datetime = attrs.field(validator=_require_aware)
    #: The coin that it is paid in.
    coin: str = attrs.field(default=_LIGHTNING_COIN, validator=validate_coin_name)
    #: As in `Order.chain`.
    chain: str = attrs.field(default=_LIGHTNING_CHAIN, validator=validate_coin_name)
    #: Aurpay's id of the order, if the response still showed it.
    order_id: str | None = attrs.field(
        default=None, converter=attrs.converters.optional(require_order_id)
    )

    @classmethod
    def of(cls, error: AurpayError) -> Self:
        """Create a query from an error of `create_order` or `create_payment`.

        Raises:
            InvalidRequestError: no order can exist, or neither of the two raised it.
        """
        # Imported here: few programs use other coins.
        from .._api.payment_models import NewPayment, NewPaymentUrl

        is_ours = isinstance(error, AurpayError)  # pyright: ignore[reportUnnecessaryIsInstance]
        new_order = error.new_order if is_ours else None
        payment = new_order if isinstance(new_order, NewPayment) else None
        is_url = isinstance(new_order, NewPaymentUrl) and payment is None
        if new_order is None or is_url:
            raise _query_error("no call that creates an order raised it", _WRITE_QUERY)
        if error.outcome is not RequestOutcome.UNKNOWN:
            problem = f"no order exists: its outcome is {error.outcome.value!r}"
            raise _query_error(problem, "fix the cause, and create the order again")
        if error.sent_at is None:
            raise _query_error("it has no sent_at", _WRITE_QUERY)
        return cls(
            price=new_order.price,
            currency=new_order.currency,
            sent_at=error.sent_at,
            coin=_LIGHTNING_COIN if payment is None else payment.coin,
            chain=_LIGHTNING_CHAIN if payment is None else payment.chain,
            order_id=own_order_id(error),
        )


_EXAMPLE: Final = "OrderQuery(price=..., currency=..., sent_at=...)"
_WRITE_QUERY: Final = f"if an order may exist, write {_EXAMPLE}"


def _query_error(problem: str, hint: str) -> InvalidRequestError:
    return InvalidRequestError(problem, field="error", hint=hint)


@attrs.frozen(kw_only=True)
class OrderSearchResult:
    """The result of a search for an order; not a boolean, see `outcome`."""

    #: ``found``: exactly one order matches. Without an id, another buyer's order of the
    #: same price in the same minutes matches too: pass `known`, and check that no other
    #: buyer waits for it. ``none_yet``: no order matches yet. It may still appear, so
    #: search again before you create another one. ``several``: more than one may match,
    #: a row lacks the data to decide, or the order of the known id has another price.
    #: A person has to review it.
    outcome: Literal["found", "none_yet", "several"]
    #: The order, none, or all candidates, in the sequence of the list.
    orders: tuple[Order, ...] = ()

    @property
    def order(self) -> Order:
        """Return the order that was found.

        Raises:
            InvalidRequestError: the outcome is not ``found``.
        """
        if self.outcome != "found":
            raise InvalidRequestError(
                f"exactly one order has to match; outcome is {self.outcome!r}",
                field="order",
                hint="use orders",
            )
        return self.orders[0]

    def __bool__(self) -> NoReturn:
        """Raise TypeError: ``none_yet`` does not mean that there is no order."""
        raise TypeError(
            'OrderSearchResult is not a boolean: write result.outcome == "found"'
        )


async def find_lost_order(
    query: OrderQuery,
    *,
    iterate_orders: Callable[[], AsyncGenerator[Order, None]],
    get_order: Callable[[str], Awaitable[Order]],
    known: Collection[str] = (),
    attempt_s: float = LONGEST_ATTEMPT_S,
) -> OrderSearchResult:
    """Search for an order that may exist.

    Args:
        query: The known data of the order.
        iterate_orders: Return all orders, the newest first.
        get_order: Return one order by its id; only this is called if the id is known.
        known: Ids of orders that are accounted for.
        attempt_s: Seconds that an attempt to create it can have taken.

    Raises:
        InvalidRequestError: `known` is a single str.
        InvalidResponseError: more than `MAX_ROWS` orders are newer, so that an
            incomplete search would say "none".
        AurpayError: as `iterate_orders` and `get_order`.
    """
    if isinstance(known, str | bytes):
        raise InvalidRequestError(
            "must be a collection of ids, not one str",
            field="known",
            hint="write known={order.order_id}",
        )
    if query.order_id is not None:
        return await _find_by_id(query, query.order_id, get_order)
    search = _Search(query, frozenset(known), attempt_s)
    async with aclosing(iterate_orders()) as orders:
        async for order in orders:
            search.add(order)
            if search.is_complete:
                break
    return search.result()


async def _find_by_id(
    query: OrderQuery, order_id: str, get_order: Callable[[str], Awaitable[Order]]
) -> OrderSearchResult:
    try:
        order = await get_order(order_id)
    except NotFoundError:
        return OrderSearchResult(outcome="none_yet")
    # The id may come from a response to another request.
    is_other = False in _same_price(order, query)
    return OrderSearchResult(
        outcome="several" if is_other else "found", orders=(order,)
    )


class _Search:
    """Collect the orders of a list that may match a query."""

    def __init__(
        self, query: OrderQuery, known: frozenset[str], attempt_s: float
    ) -> None:
        self.is_complete = False
        self._query = query
        self._known = known
        self._latest = timedelta(seconds=attempt_s) + CLOCK_SKEW
        self._candidates: list[Order] = []
        self._is_ambiguous = False
        self._newest = datetime.min.replace(tzinfo=UTC)
        self._rows = 0

    def add(self, order: Order) -> None:
        """Add an order to the candidates if it may match; stop if no later one can."""
        self._rows += 1
        matches = self._matches(order)
        if matches is not False:
            self._candidates.append(order)
            self._is_ambiguous |= matches is None
        self.is_complete = self._rest_is_too_old(order)
        if self._rows > MAX_ROWS and not self.is_complete:
            raise InvalidResponseError(
                f"{MAX_ROWS} orders were read, and all are later than "
                f"{self._query.sent_at.isoformat()}: search in the dashboard"
            )

    def result(self) -> OrderSearchResult:
        """Return the result of the search."""
        if not self._candidates:
            return OrderSearchResult(outcome="none_yet")
        is_one = len(self._candidates) == 1 and not self._is_ambiguous
        return OrderSearchResult(
            outcome="found" if is_one else "several", orders=tuple(self._candidates)
        )

    def _matches(self, order: Order) -> bool | None:
        """Return whether it matches; None if that depends on a missing field."""
        if order.order_id in self._known or not self._matches_coin(order):
            return False
        matches = (
            *_same_price(order, self._query),
            self._matches_time(order.create_time),
            True if order.status else None,  # empty where it cannot be read
        )
        if False in matches:
            return False
        return None if None in matches else True

    def _matches_coin(self, order: Order) -> bool:
        coin, chain = _upper(order.coin), _upper(order.chain)
        if chain == _LIGHTNING_CHAIN == self._query.chain:
            return True  # the chain has one coin, which has several names
        if coin:
            return coin == _upper(self._query.coin)
        return not chain or chain == _upper(self._query.chain)

    def _matches_time(self, created: datetime | None) -> bool | None:
        if created is None:
            return None
        # A difference: adding to the first or last datetime would overflow.
        return -CLOCK_SKEW <= created - self._query.sent_at <= self._latest

    def _rest_is_too_old(self, order: Order) -> bool:
        """Return whether all following rows are too old to match."""
        if order.create_time is None:
            return False
        changed = max(order.create_time, order.update_time or order.create_time)
        self._newest = max(self._newest, changed)
        return (
            changed - self._query.sent_at < -(CLOCK_SKEW + _LIST_ORDER_SLACK)
            and self._newest - changed > _LIST_ORDER_SLACK
        )


def _same_price(order: Order, query: OrderQuery) -> tuple[bool | None, bool | None]:
    return (
        _same(order.price, query.price),
        _same(_upper(order.currency), query.currency),
    )


def _same(received: object, expected: object) -> bool | None:
    # An empty string is a missing field too.
    return None if received is None or received == "" else received == expected


def _upper(name: str | None) -> str:
    return (name or "").upper()
