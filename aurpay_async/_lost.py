"""Looking for the order that a failed create may have left.

The API has no id of the caller's own, so an order whose answer was lost is known only
by what it was asked for with, and when. What follows from that:

* What fits need not be it: another buyer may have asked for the same price in the same
  minutes. Only the caller knows which orders are somebody else's (`known`).
* That nothing fits does not prove that there is none: it may be on its way, and times
  come without a zone.
* A row that lacks a field, or has one that cannot be read, is not taken for it, and
  not excluded either: it makes the answer "several", which a person has to look at.
* The order of the list is not documented. Reading ends early only at a row that was
  neither created nor changed since, which is right for a list that is newest first by
  either time; and only after a newer row, which a list that is oldest first never has.
"""

from __future__ import annotations

from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Self

import attrs

from ._models import require_order_id
from ._models._arguments import to_currency, validate_coin_name
from ._money import parse_price, plain_repr
from .errors import (
    AurpayError,
    InvalidRequestError,
    InvalidResponseError,
    NotFoundError,
    RequestOutcome,
    UntrustedOrderError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
    from decimal import Decimal

    from ._models import Order

#: How far two clocks may be apart: as for callbacks.
CLOCK_SKEW: Final = timedelta(minutes=5)

#: How long after its beginning an attempt may still make an order. A client waits 15
#: seconds unless told otherwise; a server goes on after that (nginx gives it 60).
LONGEST_ATTEMPT_S: Final = 60.0

#: How much later than its place in the list says a row may have been made. Servers
#: take the time of an order first, and list it when all of it is stored.
_DISORDER: Final = timedelta(minutes=10)

#: Rows that are read at most: twenty days of a shop with a thousand orders a day.
MAX_ROWS: Final = 20_000

#: Of Lightning orders: as documented, and as in Aurpay's own plugins.
_LIGHTNING_COIN: Final = "BTC-LN"
_LIGHTNING_CHAIN: Final = "BLN"


def _aware(_: object, attribute: attrs.Attribute[datetime], value: object) -> None:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidRequestError(
            "must be a datetime with a time zone",
            field=attribute.name,
            hint="write it like datetime(2026, 1, 31, 12, 0, tzinfo=UTC)",
        )


@attrs.frozen(kw_only=True)
class OrderQuery:
    """What is known of an order that may exist. Raises `InvalidRequestError`.

    .. versionadded:: 0.1.0
    """

    #: Fiat, in units of `currency`, as it was asked for.
    price: Decimal = attrs.field(converter=parse_price, repr=plain_repr)
    #: Fiat: three letters.
    currency: str = attrs.field(converter=to_currency)
    #: When the last attempt to create it began: aware.
    sent_at: datetime = attrs.field(validator=_aware)
    #: What it is to be paid in.
    coin: str = attrs.field(default=_LIGHTNING_COIN, validator=validate_coin_name)
    #: As in `Order.chain`.
    chain: str = attrs.field(default=_LIGHTNING_CHAIN, validator=validate_coin_name)
    #: The platform's name for it, where its answer still showed it.
    order_id: str | None = attrs.field(
        default=None, converter=attrs.converters.optional(require_order_id)
    )

    @classmethod
    def of(cls, error: AurpayError) -> Self:
        """What an error of `create_order` or `create_payment` knows.

        Raises:
            InvalidRequestError: no order can exist, or neither of the two raised it.
        """
        # Here and not above: few programs ask for other coins.
        from ._models._payments import NewPayment, NewPaymentUrl

        is_ours = isinstance(error, AurpayError)  # pyright: ignore[reportUnnecessaryIsInstance]
        asked = error.new_order if is_ours else None
        payment = asked if isinstance(asked, NewPayment) else None
        if asked is None or (isinstance(asked, NewPaymentUrl) and payment is None):
            raise _refuse("no call that creates an order raised it", _WRITE_IT)
        if error.outcome is not RequestOutcome.UNKNOWN:
            problem = f"no order exists: its outcome is {error.outcome.value!r}"
            raise _refuse(problem, "mend the cause, and create the order again")
        if error.sent_at is None:
            raise _refuse("it does not say when it was sent", _WRITE_IT)
        return cls(
            price=asked.price,
            currency=asked.currency,
            sent_at=error.sent_at,
            coin=_LIGHTNING_COIN if payment is None else payment.coin,
            chain=_LIGHTNING_CHAIN if payment is None else payment.chain,
            order_id=own_order_id(error),
        )


#: Checks that an answer to another request fails.
_OTHER_REQUEST: Final = frozenset({"new", "read_back"})


def own_order_id(error: AurpayError) -> str | None:
    """Return the id on an error, unless it is likely to be another request's order."""
    is_other = isinstance(error, UntrustedOrderError) and error.check in _OTHER_REQUEST
    return None if is_other else error.order_id


_EXAMPLE: Final = "OrderQuery(price=..., currency=..., sent_at=...)"
_WRITE_IT: Final = f"if an order may exist, write {_EXAMPLE}"


def _refuse(problem: str, hint: str) -> InvalidRequestError:
    return InvalidRequestError(problem, field="error", hint=hint)


@attrs.frozen(kw_only=True)
class OrderSearchResult:
    """What looking for a lost order came to. It is no yes or no: see `outcome`.

    .. versionadded:: 0.1.0
    """

    #: ``found``: exactly one order fits. Without an id to look for, somebody else's
    #: order of the same price in the same minutes fits as well: give `known`, and see
    #: that no other buyer waits for it. ``none_yet``: none fits so far. It may still
    #: come, so look again before another one is made. ``several``: more than one may
    #: be it, one does not say enough to tell, or the one of the id that came has
    #: another price. A person has to look.
    outcome: Literal["found", "none_yet", "several"]
    #: One, none, or all that may be it, as the list has them.
    orders: tuple[Order, ...] = ()

    @property
    def order(self) -> Order:
        """The one that was found.

        Raises:
            InvalidRequestError: none, or several, were.
        """
        if self.outcome != "found":
            raise InvalidRequestError(
                f"there is no one order, the outcome is {self.outcome!r}",
                field="order",
                hint="look at orders",
            )
        return self.orders[0]

    def __bool__(self) -> NoReturn:
        """Raise TypeError: no outcome is a plain no."""
        raise TypeError(
            'a OrderSearchResult is no yes or no: write found.outcome == "found"'
        )


async def find_lost(
    lost: OrderQuery,
    *,
    iterate_orders: Callable[[], AsyncGenerator[Order, None]],
    get_order: Callable[[str], Awaitable[Order]],
    known: Collection[str] = (),
    attempt_s: float = LONGEST_ATTEMPT_S,
) -> OrderSearchResult:
    """Look for an order that may exist.

    Args:
        lost: What is known of it.
        iterate_orders: Gives all orders, the newest first.
        get_order: Gives one by its id: all that is asked for if the id is known.
        known: Ids of orders that are accounted for.
        attempt_s: Seconds that an attempt to create it can have taken.

    Raises:
        InvalidRequestError: `known` is a single text.
        InvalidResponseError: so many orders are newer that the others were not read:
            not to have looked everywhere is no "none".
        AurpayError: what reading raises.
    """
    if isinstance(known, str | bytes):
        raise InvalidRequestError(
            "must be a collection of ids, not one text",
            field="known",
            hint="write known={order.order_id}",
        )
    if lost.order_id is not None:
        return await _look_up(lost, lost.order_id, get_order)
    search = _Search(lost, frozenset(known), attempt_s)
    async with aclosing(iterate_orders()) as orders:
        async for order in orders:
            search.look_at(order)
            if search.is_over:
                break
    return search.result()


async def _look_up(
    lost: OrderQuery, order_id: str, get_order: Callable[[str], Awaitable[Order]]
) -> OrderSearchResult:
    try:
        order = await get_order(order_id)
    except NotFoundError:
        return OrderSearchResult(outcome="none_yet")
    # The id may have come in an answer that was somebody else's.
    is_other = False in _same_price(order, lost)
    return OrderSearchResult(
        outcome="several" if is_other else "found", orders=(order,)
    )


class _Search:
    """Goes through orders, and keeps those that may be the lost one."""

    def __init__(
        self, lost: OrderQuery, known: frozenset[str], attempt_s: float
    ) -> None:
        self.is_over = False
        self._lost = lost
        self._known = known
        self._latest = timedelta(seconds=attempt_s) + CLOCK_SKEW
        self._candidates: list[Order] = []
        self._has_unclear = False
        self._newest = datetime.min.replace(tzinfo=UTC)
        self._rows = 0

    def look_at(self, order: Order) -> None:
        """Keep it if it may be the one; see whether any later one may."""
        self._rows += 1
        fits = self._fits(order)
        if fits is not False:
            self._candidates.append(order)
            self._has_unclear |= fits is None
        self.is_over = self._is_past(order)
        if self._rows > MAX_ROWS and not self.is_over:
            raise InvalidResponseError(
                f"{MAX_ROWS} orders were read, and their times did not come to "
                f"{self._lost.sent_at.isoformat()}: look for it in the dashboard"
            )

    def result(self) -> OrderSearchResult:
        """What all of it came to."""
        if not self._candidates:
            return OrderSearchResult(outcome="none_yet")
        is_one = len(self._candidates) == 1 and not self._has_unclear
        return OrderSearchResult(
            outcome="found" if is_one else "several", orders=tuple(self._candidates)
        )

    def _fits(self, order: Order) -> bool | None:
        """Yes, no, or not to be told: a field is missing, and no other one says no."""
        if order.order_id in self._known or not self._may_be_in_its_coin(order):
            return False
        signs = (
            *_same_price(order, self._lost),
            self._is_in_time(order.create_time),
            True if order.status else None,  # empty where it cannot be read
        )
        if False in signs:
            return False
        return None if None in signs else True

    def _may_be_in_its_coin(self, order: Order) -> bool:
        coin, chain = _upper(order.coin), _upper(order.chain)
        if chain == _LIGHTNING_CHAIN == self._lost.chain:
            return True  # whatever the only coin of this chain is called
        if coin:
            return coin == _upper(self._lost.coin)
        return not chain or chain == _upper(self._lost.chain)

    def _is_in_time(self, created: datetime | None) -> bool | None:
        if created is None:
            return None
        # A difference, as the first and the last time there is have no neighbours.
        return -CLOCK_SKEW <= created - self._lost.sent_at <= self._latest

    def _is_past(self, order: Order) -> bool:
        """Whether all that follow are too old to be it."""
        if order.create_time is None:
            return False
        touched = max(order.create_time, order.update_time or order.create_time)
        self._newest = max(self._newest, touched)
        return (
            touched - self._lost.sent_at < -(CLOCK_SKEW + _DISORDER)
            and self._newest - touched > _DISORDER
        )


def _same_price(order: Order, lost: OrderQuery) -> tuple[bool | None, bool | None]:
    return (
        _same(order.price, lost.price),
        _same(_upper(order.currency), lost.currency),
    )


def _same(given: object, asked: object) -> bool | None:
    # An empty text says as little as none.
    return None if given is None or given == "" else given == asked


def _upper(name: str | None) -> str:
    return (name or "").upper()
