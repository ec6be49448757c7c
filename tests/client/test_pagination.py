"""Iteration over a list that changes while it is read, with a model of the list."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import example, given
from hypothesis import strategies as st

from aurpay_async import InvalidResponseError
from aurpay_async._api.models import Page
from aurpay_async._client import pagination
from aurpay_async._client.pagination import iterate

from ..conftest import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

_T = TypeVar("_T")

#: A change between two pages: the number of new rows, and the positions of the rows
#: that vanish then (in thousandths of the list).
Move = tuple[int, list[int]]
STILL: Move = (0, [])


def rows(first: int, last: int) -> list[str]:
    """Return old rows by their numbers, newest first."""
    return [f"old {number}" for number in range(first, last + 1)]


class MovingList:
    """A list that changes before each response but the first."""

    def __init__(self, count: int, moves: Iterable[Move] = ()) -> None:
        self.rows = rows(1, count)
        self.begin = [*self.rows]
        self.moves = list(moves)
        self.requested: list[int] = []
        self._came = 0

    def move(self, came: int, gone: list[int]) -> None:
        for place in gone:
            if self.rows:
                del self.rows[place * len(self.rows) // 1000]
        new = [f"new {self._came + number}" for number in range(came, 0, -1)]
        self._came += came
        self.rows[:0] = new

    async def fetch(self, page: int, size: int) -> Page[str]:
        if self.requested and self.moves:
            self.move(*self.moves.pop(0))
        self.requested.append(page)
        return self.answer(page, size, total=len(self.rows))

    def answer(self, page: int, size: int, total: int) -> Page[str]:
        return Page(
            page=page,
            size=size,
            total=total,
            max_page=-(-total // size),
            items=tuple(self.rows[(page - 1) * size : page * size]),
        )


class InconsistentList(MovingList):
    """A list that is counted before it changes, and selected afterwards."""

    async def fetch(self, page: int, size: int) -> Page[str]:
        total = len(self.rows)
        if self.requested and self.moves:
            self.move(*self.moves.pop(0))
        self.requested.append(page)
        return self.answer(page, size, total)


def run_sync(work: Coroutine[object, None, _T]) -> _T:
    """Return the result of a coroutine that never waits; an event loop takes longer."""
    with pytest.raises(StopIteration) as end:
        work.send(None)
    result: _T = end.value.value
    return result


def read(
    listing: MovingList, *, page: int = 1, size: int = 10
) -> tuple[list[str], InvalidResponseError | None]:
    """Return the rows that iteration yields, and the error that ends it."""
    got: list[str] = []

    async def collect() -> None:
        async for row in iterate(listing.fetch, str, page=page, size=size):
            got.append(row)  # noqa: PERF401 - what came before an error counts

    try:
        run_sync(collect())
    except InvalidResponseError as error:
        return got, error
    return got, None


def read_all(listing: MovingList, *, page: int = 1, size: int = 10) -> list[str]:
    """Return the rows of an iteration that ends without an error."""
    got, error = read(listing, page=page, size=size)
    assert error is None, error
    return got


def expect_list_error(listing: MovingList, *, page: int = 1, size: int = 10) -> str:
    """Return the problem of the error that ends the iteration."""
    error = read(listing, page=page, size=size)[1]
    assert error is not None
    prefix = "this list cannot be read: "
    assert str(error).startswith(prefix)
    return str(error).removeprefix(prefix)


@pytest.mark.parametrize(
    ("count", "requested"),
    [(0, [1]), (9, [1]), (10, [1, 1]), (11, [1, 2]), (30, [1, 2, 3, 3])],
)
def test_unchanged_list_is_read_to_its_end(count: int, requested: list[int]) -> None:
    """Each page is requested once, the last one twice if it is full."""
    listing = MovingList(count)
    assert read_all(listing) == rows(1, count)
    assert listing.requested == requested


def test_page_is_requested_when_its_first_row_is_needed() -> None:
    async def stop_at(last: str) -> list[int]:
        listing = MovingList(30)
        async with aclosing(iterate(listing.fetch, str, page=1, size=10)) as reading:
            assert listing.requested == []
            async for row in reading:
                if row == last:
                    break
        return listing.requested

    assert run_sync(stop_at("old 10")) == [1]
    assert run_sync(stop_at("old 11")) == [1, 2]


def test_iteration_can_begin_with_any_page() -> None:
    assert read_all(MovingList(35), page=3) == rows(21, 35)
    listing = MovingList(35)
    assert read_all(listing, page=7) == []
    assert listing.requested == [7]


@pytest.mark.parametrize("came", [1, 9, 10, 11, 25, 500])
def test_new_rows_at_the_front_cause_no_gap_and_no_repetition(
    came: int,
) -> None:
    """The pages that they fill are skipped."""
    listing = MovingList(35, [STILL, (came, [])])
    assert read_all(listing) == rows(1, 35)
    assert len(listing.requested) <= 8


def test_rows_moved_forward_by_vanished_rows_are_not_missed() -> None:
    """Seven rows of page 1 vanish after page 2, so the next seven are on page 2."""
    listing = MovingList(40, [STILL, (0, [0] * 7)])
    assert read_all(listing) == rows(1, 40)
    assert listing.requested == [1, 2, 3, 1, 2, 3, 4]


def test_rows_that_vanish_behind_the_reader_cause_no_gap() -> None:
    """Only the total shows that they vanished, so some pages are read again."""
    listing = MovingList(60, [STILL, (0, [999] * 15)])
    assert read_all(listing) == rows(1, 45)
    assert listing.requested == [1, 2, 3, 1, 2, 3, 4, 5]


def test_iteration_yields_the_present_rows_of_a_replaced_list() -> None:
    got = read_all(MovingList(12, [(0, [0] * 10)]), size=10)
    assert got == rows(1, 12)
    assert read_all(MovingList(12, [(0, [0] * 12)]), size=10) == rows(1, 10)


def test_iteration_ends_although_the_list_grows_on_its_last_page() -> None:
    listing = MovingList(20, [(1, []), (9, []), (1, [])])
    assert read_all(listing) == rows(1, 20)


MOVES = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2, 7, 30]),
        st.lists(st.integers(0, 999), max_size=6),
    ),
    max_size=10,
)


@examples(50)
@given(
    count=st.integers(0, 40),
    moves=MOVES,
    page=st.sampled_from([1, 1, 1, 2, 3]),
    size=st.integers(1, 8),
)
@example(count=38, moves=[(5, [0]), (0, [999] * 6), (3, [0, 0])], page=2, size=1)
@example(count=20, moves=[STILL, (7, [999] * 6)], page=1, size=6)
def test_rows_that_stay_are_yielded_once_and_in_order(
    count: int, moves: list[Move], page: int, size: int
) -> None:
    """An error needs rows that vanish, and from page 1 also rows that appear."""
    listing = MovingList(count, moves)
    got, error = read(listing, page=page, size=size)
    here = set(listing.rows)
    stayed = [row for row in listing.begin[(page - 1) * size :] if row in here]
    given_of_these = [row for row in got if row in set(stayed)]
    assert len(set(got)) == len(got)
    if error is None:
        assert given_of_these == stayed
    else:
        assert given_of_these == stayed[: len(given_of_these)]
        assert any(gone for _, gone in moves)
        assert page > 1 or any(came for came, _ in moves)


@given(
    count=st.integers(0, 40),
    came=st.lists(st.sampled_from([0, 0, 1, 2, 9, 30]), max_size=10),
    page=st.integers(1, 3),
    size=st.integers(1, 8),
)
def test_rows_that_appear_during_iteration_are_not_yielded(
    count: int, came: list[int], page: int, size: int
) -> None:
    listing = MovingList(count, [(number, []) for number in came])
    assert read_all(listing, page=page, size=size) == listing.begin[(page - 1) * size :]


def test_total_that_is_older_than_the_rows_causes_no_gap() -> None:
    """The next total shows it, and the page before is read again."""
    listing = InconsistentList(40, [(0, [0, 0, 0])])
    # Rows 11 to 13 moved from page 2 to page 1 before page 2 was selected.
    assert sorted(read_all(listing)) == sorted(rows(1, 40))
    assert listing.requested == [1, 2, 3, 1, 2, 3, 4]


def test_full_last_page_is_requested_again() -> None:
    """A new row may have pushed another one out of it."""
    listing = InconsistentList(10, [(1, [])])
    listing.requested = [
        0
    ]  # as if read before, so the list changes before the first response
    assert read_all(listing) == ["new 1", *rows(1, 10)]
    assert listing.requested == [0, 1, 1, 2]


def test_last_page_with_displaced_rows_is_requested_again() -> None:
    listing = InconsistentList(20, [(2, [])])
    assert read_all(listing) == rows(1, 20)
    assert listing.requested == [1, 2, 2, 3]


def test_page_with_mismatched_total_and_rows_is_requested_again() -> None:
    listing = InconsistentList(15, [(1, [])])
    assert read_all(listing) == rows(1, 15)
    assert listing.requested == [1, 2, 2]


def answer_with(
    change: Callable[[Page[str]], dict[str, Any]], count: int = 35
) -> MovingList:
    """Return a list with changed responses."""

    class Changed(MovingList):
        def answer(self, page: int, size: int, total: int) -> Page[str]:
            good = super().answer(page, size, total)
            return evolve(good, **change(good))

    return Changed(count)


def test_page_with_fewer_rows_than_its_total_is_rejected() -> None:
    listing = answer_with(lambda page: {"items": page.items[:4]})
    assert expect_list_error(listing) == (
        "page 1 has 4 rows and should have 10, as the list has 35"
    )
    assert listing.requested == [1, 1]
    hidden = answer_with(lambda page: {"items": () if page.page > 2 else page.items})
    got, error = read(hidden)
    assert got == rows(1, 20)
    assert error is not None
    assert error.paths == ("data.total", "data.data")


def test_page_with_more_rows_than_its_total_is_rejected() -> None:
    listing = answer_with(lambda _: {"items": tuple(rows(1, 11))})
    assert expect_list_error(listing) == (
        "page 1 has 11 rows and should have 10, as the list has 35"
    )


def test_server_that_ignores_the_page_number_is_rejected() -> None:
    first = tuple(rows(1, 10))
    listing = answer_with(lambda _: {"items": first}, 40)
    assert expect_list_error(listing) == "page 2 only repeats earlier pages"
    assert listing.requested == [1, 2]


def test_response_with_another_page_number_is_rejected() -> None:
    listing = answer_with(lambda _: {"page": 1})
    got, error = read(listing)
    assert got == rows(1, 10)
    assert str(error).endswith("page 2 was requested, page 1 was received")
    assert error is not None
    assert error.paths == ("data.page",)


def test_another_page_size_is_accepted_on_page_1_only() -> None:
    class ShortPages(MovingList):
        async def fetch(self, page: int, size: int) -> Page[str]:
            return await super().fetch(page, min(size, 4))

    listing = ShortPages(10)
    assert read_all(listing, size=100) == rows(1, 10)
    assert listing.requested == [1, 2, 3]
    problem = "pages of 100 were requested, pages of 4 were received"
    assert expect_list_error(ShortPages(10), size=100, page=2) == problem
    nothing = answer_with(lambda _: {"size": 0})
    assert expect_list_error(nothing).endswith("pages of 0 were received")


@pytest.mark.parametrize(
    ("total", "max_page"), [(35, 3), (35, 5), (35, 0), (-1, 0), (0, 2)]
)
def test_contradicting_total_and_max_page_are_rejected(
    total: int, max_page: int
) -> None:
    listing = answer_with(lambda _: {"total": total, "max_page": max_page, "items": ()})
    problem = f"{total} rows in pages of 10 cannot have {max_page} pages"
    assert expect_list_error(listing) == problem


@pytest.mark.parametrize("max_page", [0, 1])
def test_empty_list_may_have_max_page_0_or_1(max_page: int) -> None:
    listing = answer_with(lambda _: {"max_page": max_page}, 0)
    assert read_all(listing) == []


def test_list_that_is_oldest_first_is_read_or_rejected_but_never_cut() -> None:
    class OldestFirst(MovingList):
        def move(self, came: int, gone: list[int]) -> None:
            super().move(came, gone)
            self.rows = self.rows[came:] + self.rows[:came]

    listing = OldestFirst(20, [STILL, STILL, (3, [])])
    assert read_all(listing) == rows(1, 20)
    assert read_all(OldestFirst(20, [(3, [])])) == [
        *rows(1, 20),
        "new 3",
        "new 2",
        "new 1",
    ]
    problem = expect_list_error(OldestFirst(20, [(15, [])]))
    assert problem == (
        "rows that were read are not found again: too many have vanished, or the "
        "newest do not come first; begin again with page 1"
    )


def test_iteration_fails_if_no_known_row_is_found_again() -> None:
    listing = MovingList(60, [(0, [400] * 20)])
    assert "not found again" in expect_list_error(listing, page=3)
    # Rows 11 to 20 were read; rows 1 to 10 were not requested and are not yielded.
    listing = MovingList(60, [(0, [999] * 15)])
    assert read(listing, page=2)[0] == rows(11, 20)
    assert listing.requested == [2, 3, 1]


def test_iteration_fails_after_100_pages_without_a_new_row() -> None:
    first = tuple(rows(1, 10))
    total = 20

    def grow(page: Page[str]) -> dict[str, Any]:
        nonlocal total
        total += 30
        return {"items": first, "total": total, "max_page": total // 10}

    listing = answer_with(grow)
    got, error = read(listing)
    assert got == rows(1, 10)
    assert error is not None
    assert "100 pages in a row had no new row" in str(error)
    assert len(listing.requested) == 102


def test_oscillating_total_does_not_cause_endless_requests() -> None:
    swing = [(500, []), (0, [0] * 500)] * 80
    listing = MovingList(50, swing)
    got, error = read(listing)
    assert got == rows(1, len(got))
    assert error is not None
    assert len(listing.requested) < 160


def test_row_that_is_on_a_page_twice_is_yielded_once() -> None:
    double = ("a", "b", "a", "c")
    listing = answer_with(lambda _: {"items": double, "total": 4, "max_page": 1})
    assert read_all(listing) == ["a", "b", "c"]


async def test_different_rows_with_the_same_id_are_rejected() -> None:
    async def fetch(page: int, size: int) -> Page[str]:
        return Page(page=page, size=size, total=2, max_page=1, items=("ab", "ac"))

    with pytest.raises(InvalidResponseError, match="two rows of page 1") as caught:
        _ = [row async for row in iterate(fetch, lambda row: row[0], page=1, size=10)]
    assert caught.value.paths == ("data.data",)


def test_number_of_remembered_keys_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "_MAX_SEEN", 20)
    assert read_all(MovingList(100, [STILL] * 5 + [(13, [])])) == rows(1, 100)
    for gone in (35, 48):
        listing = MovingList(100, [STILL] * 4 + [(0, [999] * gone)])
        assert "not found again" in expect_list_error(listing)


def test_page_is_frozen_and_keyword_only() -> None:
    page = Page(page=1, size=2, total=3, max_page=2, items=("a", "b"))
    assert page == Page(page=1, size=2, total=3, max_page=2, items=("a", "b"))
    with pytest.raises(FrozenInstanceError):
        page.total = 4  # type: ignore[misc]
