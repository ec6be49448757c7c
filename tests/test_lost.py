"""Looking for the order that a failed create may have left."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import (
    ConnectError,
    ConnectionLostError,
    InvalidRequestError,
    InvalidResponseError,
    NewOrder,
    NotFoundError,
    Order,
    OrderStatus,
    RequestOutcome,
    UntrustedOrderError,
    _lost,
)
from aurpay_async._lost import OrderQuery, OrderSearchResult, find_lost_order
from aurpay_async._models._payments import NewPayment, NewPaymentUrl

from .test_paging import run_sync

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable

    from aurpay_async import AurpayError

SENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
LOST = OrderQuery(price=Decimal("20.00"), currency="USD", sent_at=SENT)


def order(order_id: str = "it", at_s: float = 1, **fields: Any) -> Order:
    """An order that fits, made so many seconds after the other was sent."""
    basics: dict[str, Any] = {
        "order_id": order_id,
        "status": OrderStatus.PENDING,
        "price": Decimal("20.0"),
        "currency": "USD",
        "coin": "BTC-LN",
        "chain": "BLN",
        "create_time": SENT + timedelta(seconds=at_s),
    }
    return Order(**{**basics, **fields})


class Platform:
    """A list of orders; counts how many of them were read, and whether to the end."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self.orders = list(orders)
        self.read = 0
        self.is_closed = False

    async def iterate(self) -> AsyncGenerator[Order, None]:
        try:
            for one in self.orders:
                self.read += 1
                yield one
        finally:
            self.is_closed = True

    async def get(self, order_id: str) -> Order:
        for one in self.orders:
            if one.order_id == order_id:
                return one
        raise NotFoundError(
            "no such order", status=404, outcome=RequestOutcome.REJECTED
        )


def find(
    orders: Iterable[Order] | Platform,
    lost: OrderQuery = LOST,
    *,
    known: Collection[str] = (),
    **options: float,
) -> OrderSearchResult:
    """What looking comes to."""
    platform = orders if isinstance(orders, Platform) else Platform(orders)
    return run_sync(
        find_lost_order(
            lost,
            iterate_orders=platform.iterate,
            get_order=platform.get,
            known=known,
            **options,
        )
    )


def ids(found: OrderSearchResult) -> list[str]:
    """The orders that were found, by name."""
    return [one.order_id for one in found.orders]


def failure(
    error: AurpayError | None = None, asked: NewOrder | None = None, **fields: Any
) -> AurpayError:
    """An error as a client raises it that created an order."""
    failed = error or ConnectionLostError("reset")
    failed.new_order = asked or NewOrder("20.00", "USD")
    failed.sent_at = SENT
    for name, value in fields.items():
        setattr(failed, name, value)
    return failed


def test_an_error_of_a_create_tells_what_was_lost() -> None:
    """What was asked for, when, and the order's id where an answer showed it."""
    assert OrderQuery.of(failure()) == LOST
    assert LOST.order_id is None
    assert (LOST.coin, LOST.chain) == ("BTC-LN", "BLN")
    untrusted = UntrustedOrderError(
        "wrong amount", check="amount", order_id="2026", status=200, body=b""
    )
    assert OrderQuery.of(failure(untrusted)) == attrs.evolve(LOST, order_id="2026")


def test_a_payment_in_another_coin_can_be_lost_as_well() -> None:
    """It is looked for among the orders of its coin."""
    asked = NewPayment("20", "USD", chain="ETH", coin="USDT-ERC20")
    lost = OrderQuery.of(failure(asked=asked))
    assert (lost.coin, lost.chain) == ("USDT-ERC20", "ETH")
    theirs = order("theirs", coin="USDT-ERC20", chain="ETH")
    assert ids(find([order(), theirs], lost)) == ["theirs"]


FIX_IT = "fix the cause, and create the order again"
WRITE_IT = (
    "if an order may exist, write OrderQuery(price=..., currency=..., sent_at=...)"
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            failure(ConnectError("refused", outcome=RequestOutcome.NOT_SENT)),
            f"no order exists: its outcome is 'not_sent'; {FIX_IT}",
        ),
        (
            failure(outcome=RequestOutcome.REJECTED),
            f"no order exists: its outcome is 'rejected'; {FIX_IT}",
        ),
        (
            failure(sent_at=None),
            f"it has no sent_at; {WRITE_IT}",
        ),
        (
            ConnectionLostError("reset, while an order was read"),
            f"no call that creates an order raised it; {WRITE_IT}",
        ),
        (
            failure(asked=NewPaymentUrl("20", "USD")),
            f"no call that creates an order raised it; {WRITE_IT}",
        ),
        (
            TimeoutError("no error of ours"),
            f"no call that creates an order raised it; {WRITE_IT}",
        ),
    ],
    ids=["not sent", "refused", "no time", "a read", "a page", "foreign"],
)
def test_an_error_that_leaves_no_order_is_refused(error: Any, message: str) -> None:
    """With what to do instead."""
    with pytest.raises(InvalidRequestError) as caught:
        OrderQuery.of(error)
    assert str(caught.value) == f"error: {message}"


def test_what_was_lost_can_be_written_down_by_hand() -> None:
    """By whoever knows it from a database; in any time zone."""
    lost = OrderQuery(
        price="20",
        currency="usd",
        sent_at=SENT.astimezone(timezone(timedelta(hours=8))),
    )
    assert lost == LOST
    assert copy(lost) == LOST


@pytest.mark.parametrize(
    "field",
    [
        {"price": 20.0},
        {"price": "-1"},
        {"currency": "dollar"},
        {"sent_at": datetime(2026, 1, 31)},  # noqa: DTZ001
        {"sent_at": "2026-01-31T12:00:00Z"},
        {"order_id": ".."},
        {"coin": ""},
        {"chain": None},
    ],
    ids=repr,
)
def test_what_can_be_no_order_s_is_refused(field: dict[str, Any]) -> None:
    """By the names of the fields."""
    good: dict[str, Any] = {"price": "20", "currency": "USD", "sent_at": SENT}
    with pytest.raises(InvalidRequestError) as caught:
        OrderQuery(**{**good, **field})
    assert [caught.value.field] == [*field]


def test_an_order_whose_id_is_known_is_looked_up() -> None:
    """Nothing else is looked at; the platform itself said that it is this one."""
    platform = Platform([order("2026", at_s=-9999, price=None), order()])
    lost = attrs.evolve(LOST, order_id="2026")
    found = find(platform, lost, known={"2026"})
    assert found == OrderSearchResult(outcome="found", orders=(platform.orders[0],))
    assert platform.read == 0
    nothing = find(platform, attrs.evolve(LOST, order_id="2027"))
    assert nothing == OrderSearchResult(outcome="none_yet")


@pytest.mark.parametrize("other", [{"price": Decimal(5)}, {"currency": "EUR"}])
def test_an_order_of_that_id_may_be_somebody_else_s(other: dict[str, Any]) -> None:
    """Answers get mixed up on the way: what it is not like, it is not found to be."""
    platform = Platform([order("2026", **other)])
    found = find(platform, attrs.evolve(LOST, order_id="2026"))
    assert found == OrderSearchResult(outcome="several", orders=(platform.orders[0],))


def test_what_looking_it_up_raises_is_raised() -> None:
    """Only "no such order" is an answer."""

    async def fail(order_id: str) -> Order:
        raise ConnectionLostError(order_id)

    lost = attrs.evolve(LOST, order_id="2026")
    with pytest.raises(ConnectionLostError, match="2026"):
        run_sync(
            find_lost_order(lost, iterate_orders=Platform([]).iterate, get_order=fail)
        )


FIT: list[tuple[dict[str, Any], str]] = [
    ({}, "found"),
    # Numbers are compared, and not their digits.
    ({"price": Decimal("20.0000")}, "found"),
    ({"price": Decimal("2E+1")}, "found"),
    ({"price": Decimal("20.01")}, "none_yet"),
    ({"currency": "usd"}, "found"),
    ({"currency": "EUR"}, "none_yet"),
    # Whatever has become of it since.
    ({"status": OrderStatus.SUCCESS}, "found"),
    ({"status": OrderStatus("NEW")}, "found"),
    # Clocks may be five minutes apart, and an attempt take one.
    ({"at_s": -300}, "found"),
    ({"at_s": -301}, "none_yet"),
    ({"at_s": 360}, "found"),
    ({"at_s": 361}, "none_yet"),
    # Coin and chain, where they are given.
    ({"coin": "btc-ln", "chain": "bln"}, "found"),
    ({"coin": None}, "found"),
    ({"chain": None}, "found"),
    ({"coin": None, "chain": None}, "found"),
    ({"coin": "", "chain": ""}, "found"),
    ({"coin": "BTC"}, "found"),
    ({"chain": "BTC"}, "found"),
    ({"coin": "BTC", "chain": "BTC"}, "none_yet"),
    ({"coin": "BTC", "chain": None}, "none_yet"),
    ({"coin": None, "chain": "BTC"}, "none_yet"),
    # What lacks a field can neither be taken nor excluded, ...
    ({"price": None}, "several"),
    ({"currency": None}, "several"),
    ({"currency": ""}, "several"),
    ({"create_time": None}, "several"),
    ({"status": OrderStatus("")}, "several"),
    ({"price": None, "currency": None, "create_time": None}, "several"),
    # ... unless another field excludes it.
    ({"price": None, "currency": "EUR"}, "none_yet"),
    ({"price": None, "at_s": 361}, "none_yet"),
    ({"price": None, "coin": "BTC", "chain": "BTC"}, "none_yet"),
    ({"create_time": None, "price": Decimal(21)}, "none_yet"),
]


@pytest.mark.parametrize(("fields", "outcome"), FIT, ids=[repr(f) for f, _ in FIT])
def test_an_order_fits_by_all_that_is_known(
    fields: dict[str, Any], outcome: str
) -> None:
    """Price, currency, time, and that it is to be paid over Lightning."""
    it = order(**fields)
    found = find([order("later", at_s=900), it, order("earlier", at_s=-600)])
    assert found.outcome == outcome
    assert found.orders == (() if outcome == "none_yet" else (it,))


def test_a_chain_of_many_coins_does_not_tell_the_coin() -> None:
    """As Lightning does."""
    lost = attrs.evolve(LOST, coin="ETH", chain="ETH")
    assert ids(find([order(coin="ETH", chain="ETH")], lost)) == ["it"]
    assert ids(find([order(coin=None, chain="eth")], lost)) == ["it"]
    assert ids(find([order(coin="USDT-ERC20", chain="ETH")], lost)) == []
    assert ids(find([order()], lost)) == []


def test_a_longer_attempt_is_looked_for_longer() -> None:
    """For clients that are told to wait for more than a minute."""
    late = order(at_s=500)
    assert find([late]).outcome == "none_yet"
    assert find([late], attempt_s=200).outcome == "found"


def test_orders_that_are_accounted_for_are_not_it() -> None:
    """So that somebody else's order of the same price does not stand in the way."""
    orders = [order("theirs", at_s=3), order(), order("also theirs", at_s=-3)]
    assert ids(find(orders)) == ["theirs", "it", "also theirs"]
    assert find(orders).outcome == "several"
    found = find(orders, known=["theirs", "also theirs"])
    assert found.outcome == "found"
    assert found.order is orders[1]
    assert find(orders, known={one.order_id for one in orders}).outcome == "none_yet"


def test_one_that_fits_beside_one_that_may_fit_is_not_found() -> None:
    """The other might be it."""
    found = find([order(), order("unclear", price=None)])
    assert found.outcome == "several"
    assert ids(found) == ["it", "unclear"]


@pytest.mark.parametrize("known", ["20260101000000000001", b"2026"])
def test_one_text_is_no_collection_of_ids(known: Any) -> None:
    """It would be one of characters."""
    with pytest.raises(InvalidRequestError, match=r"known=\{order\.order_id\}"):
        find([], known=known)


def test_nothing_is_read_that_is_too_old_to_be_it() -> None:
    """Reading ends at the first order that was neither made nor changed since."""
    old = [order(f"{n}", at_s=-1000 * n) for n in range(1, 500)]
    platform = Platform([order(), *old])
    assert find(platform).outcome == "found"
    assert platform.read == 2
    assert platform.is_closed
    undated = order("undated", create_time=None, price=Decimal(1))
    assert ids(find([undated, order(), *old])) == ["it"]


def test_orders_may_be_a_little_out_of_order() -> None:
    """Ten minutes, as what is listed later may have been begun earlier."""
    early = [order("early", at_s=at_s, price=Decimal(1)) for at_s in (-600, -900)]
    assert find([order("new", at_s=999), *early, order()]).outcome == "found"
    assert find([order("new", at_s=999), order("x", -901), order()]).orders == ()


def test_a_list_by_last_change_is_read_as_far_as_need_be() -> None:
    """An order that is older, and was changed since, may stand before it."""
    changed = SENT + timedelta(minutes=20)
    older = [
        order(f"{n}", at_s=-1800 * n, update_time=changed - timedelta(seconds=n))
        for n in range(1, 50)
    ]
    platform = Platform([*older, order(update_time=SENT), order("old", at_s=-1999)])
    assert ids(find(platform)) == ["it"]
    assert platform.read == 51


def test_a_list_that_is_oldest_first_is_read_to_its_end() -> None:
    """The order of the list is not documented: it must not decide."""
    orders = [order(f"{n}", at_s=-1000 * n) for n in range(50, 0, -1)]
    assert ids(find([*orders, order()])) == ["it"]
    swapped = [order("b", at_s=-9000), order("a", at_s=-9060), order()]
    assert ids(find(swapped)) == ["it"]
    assert find([order("only", at_s=-9999)]).outcome == "none_yet"


def test_not_to_have_looked_everywhere_is_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After so many orders it is an error, whatever was found until then."""
    monkeypatch.setattr(_lost, "MAX_ROWS", 3)
    newer = [order(f"{n}", at_s=1000 - n) for n in range(3)]
    assert find(newer).outcome == "none_yet"
    assert ids(find([*newer[:2], order(), order("old", at_s=-9999)])) == ["it"]
    platform = Platform([*newer, order(), order("unread")])
    with pytest.raises(InvalidResponseError) as caught:
        find(platform)
    assert str(caught.value) == (
        "3 orders were read, and all are later than "
        "2026-01-31T12:00:00+00:00: search in the dashboard"
    )
    assert caught.value.outcome is RequestOutcome.UNKNOWN
    assert platform.read == 4
    assert platform.is_closed


def test_times_at_the_ends_of_the_calendar_are_compared_like_others() -> None:
    """The platform writes any year."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    orders = [order("last", create_time=last), order(), order("1", create_time=first)]
    assert ids(find(orders)) == ["it"]
    for end, name in ((first, "1"), (last, "last")):
        assert ids(find(orders, attrs.evolve(LOST, sent_at=end))) == [name]


@given(
    st.lists(
        st.tuples(
            st.integers(-2000, 1000),
            st.integers(-300, 300),
            st.sampled_from(["20", "20", "21"]),
            st.none() | st.integers(0, 3000),
        ),
        max_size=8,
    )
)
def test_reading_no_further_than_needed_finds_no_less(
    rows: list[tuple[int, int, str, int | None]],
) -> None:
    """As reading all, for lists that are newest first give or take five minutes."""
    rows.sort(key=lambda row: -row[0])
    orders = [
        order(
            f"{n}",
            at_s=at_s + disorder,
            price=Decimal(price),
            update_time=None
            if changed_s is None
            else SENT + timedelta(seconds=at_s + disorder + changed_s),
        )
        for n, (at_s, disorder, price, changed_s) in enumerate(rows)
    ]
    fitting = [
        f"{n}"
        for n, (at_s, disorder, price, _) in enumerate(rows)
        if -300 <= at_s + disorder <= 360 and price == "20"
    ]
    assert ids(find(orders)) == fitting


@pytest.mark.parametrize("outcome", ["found", "none_yet", "several"])
def test_an_outcome_is_no_yes_or_no(outcome: Any) -> None:
    """``if found:`` would make another order, or none, by accident."""
    found = OrderSearchResult(outcome=outcome, orders=(order(),))
    with pytest.raises(TypeError) as caught:
        bool(found)
    assert str(caught.value) == (
        'OrderSearchResult is not a boolean: write result.outcome == "found"'
    )


@pytest.mark.parametrize("outcome", ["none_yet", "several"])
def test_the_one_order_is_there_if_one_was_found(outcome: Any) -> None:
    """Of several none is the one."""
    found = OrderSearchResult(outcome=outcome, orders=(order(), order("other")))
    with pytest.raises(InvalidRequestError) as caught:
        _ = found.order
    assert str(caught.value) == (
        f"order: there is not exactly one order: outcome is {outcome!r}; use orders"
    )
