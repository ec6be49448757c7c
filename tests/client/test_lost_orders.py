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
)
from aurpay_async._api.payment_models import NewPayment, NewPaymentUrl
from aurpay_async._client import lost_orders
from aurpay_async._client.lost_orders import (
    OrderQuery,
    OrderSearchResult,
    find_lost_order,
)

from .test_pagination import run_sync

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
    """Return the result of the search."""
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


def test_order_query_is_created_from_an_error_of_create_order() -> None:
    assert OrderQuery.of(failure()) == LOST
    assert LOST.order_id is None
    assert (LOST.coin, LOST.chain) == ("BTC-LN", "BLN")
    untrusted = UntrustedOrderError(
        "wrong amount", check="amount", order_id="2026", status=200, body=b""
    )
    assert OrderQuery.of(failure(untrusted)) == attrs.evolve(LOST, order_id="2026")


def test_order_query_has_coin_and_chain_of_a_payment() -> None:
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
def test_order_query_rejects_an_error_that_left_no_order(
    error: Any, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        OrderQuery.of(error)
    assert str(caught.value) == f"error: {message}"


def test_order_query_can_be_written_with_any_time_zone() -> None:
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
def test_order_query_rejects_invalid_fields_by_name(field: dict[str, Any]) -> None:
    good: dict[str, Any] = {"price": "20", "currency": "USD", "sent_at": SENT}
    with pytest.raises(InvalidRequestError) as caught:
        OrderQuery(**{**good, **field})
    assert [caught.value.field] == [*field]


def test_query_with_an_id_calls_only_get_order() -> None:
    platform = Platform([order("2026", at_s=-9999, price=None), order()])
    lost = attrs.evolve(LOST, order_id="2026")
    found = find(platform, lost, known={"2026"})
    assert found == OrderSearchResult(outcome="found", orders=(platform.orders[0],))
    assert platform.read == 0
    nothing = find(platform, attrs.evolve(LOST, order_id="2027"))
    assert nothing == OrderSearchResult(outcome="none_yet")


@pytest.mark.parametrize("other", [{"price": Decimal(5)}, {"currency": "EUR"}])
def test_order_of_the_known_id_with_another_price_needs_review(
    other: dict[str, Any],
) -> None:
    platform = Platform([order("2026", **other)])
    found = find(platform, attrs.evolve(LOST, order_id="2026"))
    assert found == OrderSearchResult(outcome="several", orders=(platform.orders[0],))


def test_errors_of_get_order_except_not_found_are_raised() -> None:

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
    # In any status.
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
def test_orders_match_by_price_currency_time_and_coin(
    fields: dict[str, Any], outcome: str
) -> None:
    it = order(**fields)
    found = find([order("later", at_s=900), it, order("earlier", at_s=-600)])
    assert found.outcome == outcome
    assert found.orders == (() if outcome == "none_yet" else (it,))


def test_coin_is_compared_on_chains_with_many_coins() -> None:
    lost = attrs.evolve(LOST, coin="ETH", chain="ETH")
    assert ids(find([order(coin="ETH", chain="ETH")], lost)) == ["it"]
    assert ids(find([order(coin=None, chain="eth")], lost)) == ["it"]
    assert ids(find([order(coin="USDT-ERC20", chain="ETH")], lost)) == []
    assert ids(find([order()], lost)) == []


def test_longer_attempts_extend_the_time_window_of_the_search() -> None:
    late = order(at_s=500)
    assert find([late]).outcome == "none_yet"
    assert find([late], attempt_s=200).outcome == "found"


def test_known_orders_are_excluded_from_the_search() -> None:
    orders = [order("theirs", at_s=3), order(), order("also theirs", at_s=-3)]
    assert ids(find(orders)) == ["theirs", "it", "also theirs"]
    assert find(orders).outcome == "several"
    found = find(orders, known=["theirs", "also theirs"])
    assert found.outcome == "found"
    assert found.order is orders[1]
    assert find(orders, known={one.order_id for one in orders}).outcome == "none_yet"


def test_match_beside_an_ambiguous_row_is_several() -> None:
    found = find([order(), order("unclear", price=None)])
    assert found.outcome == "several"
    assert ids(found) == ["it", "unclear"]


@pytest.mark.parametrize("known", ["20260101000000000001", b"2026"])
def test_known_ids_as_one_str_are_rejected(known: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"known=\{order\.order_id\}"):
        find([], known=known)


def test_search_stops_at_the_first_order_that_is_too_old() -> None:
    old = [order(f"{n}", at_s=-1000 * n) for n in range(1, 500)]
    platform = Platform([order(), *old])
    assert find(platform).outcome == "found"
    assert platform.read == 2
    assert platform.is_closed
    undated = order("undated", create_time=None, price=Decimal(1))
    assert ids(find([undated, order(), *old])) == ["it"]


def test_search_tolerates_ten_minutes_of_disorder() -> None:
    early = [order("early", at_s=at_s, price=Decimal(1)) for at_s in (-600, -900)]
    assert find([order("new", at_s=999), *early, order()]).outcome == "found"
    assert find([order("new", at_s=999), order("x", -901), order()]).orders == ()


def test_search_of_a_list_sorted_by_update_time_is_complete() -> None:
    changed = SENT + timedelta(minutes=20)
    older = [
        order(f"{n}", at_s=-1800 * n, update_time=changed - timedelta(seconds=n))
        for n in range(1, 50)
    ]
    platform = Platform([*older, order(update_time=SENT), order("old", at_s=-1999)])
    assert ids(find(platform)) == ["it"]
    assert platform.read == 51


def test_search_of_a_list_sorted_oldest_first_reads_all_rows() -> None:
    orders = [order(f"{n}", at_s=-1000 * n) for n in range(50, 0, -1)]
    assert ids(find([*orders, order()])) == ["it"]
    swapped = [order("b", at_s=-9000), order("a", at_s=-9060), order()]
    assert ids(find(swapped)) == ["it"]
    assert find([order("only", at_s=-9999)]).outcome == "none_yet"


def test_search_beyond_the_row_limit_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lost_orders, "MAX_ROWS", 3)
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


def test_creation_times_at_the_ends_of_the_calendar_are_compared() -> None:
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
def test_stopping_early_finds_the_same_as_reading_all_rows(
    rows: list[tuple[int, int, str, int | None]],
) -> None:
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
def test_search_result_raises_when_used_as_a_boolean(outcome: Any) -> None:
    found = OrderSearchResult(outcome=outcome, orders=(order(),))
    with pytest.raises(TypeError) as caught:
        bool(found)
    assert str(caught.value) == (
        'OrderSearchResult is not a boolean: write result.outcome == "found"'
    )


@pytest.mark.parametrize("outcome", ["none_yet", "several"])
def test_order_of_a_search_result_needs_outcome_found(outcome: Any) -> None:
    found = OrderSearchResult(outcome=outcome, orders=(order(), order("other")))
    with pytest.raises(InvalidRequestError) as caught:
        _ = found.order
    assert str(caught.value) == (
        f"order: exactly one order has to match; outcome is {outcome!r}; use orders"
    )
