"""Reading a list page by page while it moves, on a model of the list."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import example, given
from hypothesis import strategies as st

from aurpay_async import InvalidResponseError, _paging
from aurpay_async._paging import Page, iterate

from .conftest import examples

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

_T = TypeVar("_T")

#: What happens between two pages: so many rows come, then those at these places (in
#: thousandths of the list) vanish.
Move = tuple[int, list[int]]
STILL: Move = (0, [])


def rows(first: int, last: int) -> list[str]:
    """Old rows by their numbers, newest first."""
    return [f"old {number}" for number in range(first, last + 1)]


class Shelf:
    """A list of the platform's that moves before each answer but the first.

    It remembers which rows it had at the first answer, and which of them vanished.
    """

    def __init__(self, count: int, moves: Iterable[Move] = ()) -> None:
        self.rows = rows(1, count)
        self.begin = [*self.rows]
        self.moves = list(moves)
        self.asked: list[int] = []
        self._came = 0

    def move(self, came: int, gone: list[int]) -> None:
        for place in gone:
            if self.rows:
                del self.rows[place * len(self.rows) // 1000]
        new = [f"new {self._came + number}" for number in range(came, 0, -1)]
        self._came += came
        self.rows[:0] = new

    async def fetch(self, page: int, size: int) -> Page[str]:
        if self.asked and self.moves:
            self.move(*self.moves.pop(0))
        self.asked.append(page)
        return self.answer(page, size, total=len(self.rows))

    def answer(self, page: int, size: int, total: int) -> Page[str]:
        return Page(
            page=page,
            size=size,
            total=total,
            max_page=-(-total // size),
            items=tuple(self.rows[(page - 1) * size : page * size]),
        )


class HastyShelf(Shelf):
    """One that counts before the list moves, and selects afterwards."""

    async def fetch(self, page: int, size: int) -> Page[str]:
        total = len(self.rows)
        if self.asked and self.moves:
            self.move(*self.moves.pop(0))
        self.asked.append(page)
        return self.answer(page, size, total)


def finish(work: Coroutine[object, None, _T]) -> _T:
    """What a coroutine gives that never waits: a loop each time would take longer."""
    with pytest.raises(StopIteration) as end:
        work.send(None)
    result: _T = end.value.value
    return result


def read(
    shelf: Shelf, *, page: int = 1, size: int = 10
) -> tuple[list[str], InvalidResponseError | None]:
    """What a whole reading gives, and what it ends with."""
    got: list[str] = []

    async def collect() -> None:
        async for row in iterate(shelf.fetch, str, page=page, size=size):
            got.append(row)  # noqa: PERF401 - what came before an error counts

    try:
        finish(collect())
    except InvalidResponseError as error:
        return got, error
    return got, None


def read_all(shelf: Shelf, *, page: int = 1, size: int = 10) -> list[str]:
    """What a reading gives that comes to the end."""
    got, error = read(shelf, page=page, size=size)
    assert error is None, error
    return got


def refusal(shelf: Shelf, *, page: int = 1, size: int = 10) -> str:
    """Why a list cannot be followed."""
    error = read(shelf, page=page, size=size)[1]
    assert error is not None
    prefix = "this list cannot be read: "
    assert str(error).startswith(prefix)
    return str(error).removeprefix(prefix)


@pytest.mark.parametrize(
    ("count", "asked"),
    [(0, [1]), (9, [1]), (10, [1, 1]), (11, [1, 2]), (30, [1, 2, 3, 3])],
)
def test_a_list_that_stands_still_is_read_to_its_end(
    count: int, asked: list[int]
) -> None:
    """Each page once, the last one twice if it is full, and none behind it."""
    shelf = Shelf(count)
    assert read_all(shelf) == rows(1, count)
    assert shelf.asked == asked


def test_a_page_is_fetched_when_its_first_row_is_wanted() -> None:
    """Whoever stops early has asked for nothing that he did not see."""

    async def stop_at(last: str) -> list[int]:
        shelf = Shelf(30)
        async with aclosing(iterate(shelf.fetch, str, page=1, size=10)) as reading:
            assert shelf.asked == []
            async for row in reading:
                if row == last:
                    break
        return shelf.asked

    assert finish(stop_at("old 10")) == [1]
    assert finish(stop_at("old 11")) == [1, 2]


def test_a_reading_can_begin_with_any_page() -> None:
    """Also with one behind the end, which is empty."""
    assert read_all(Shelf(35), page=3) == rows(21, 35)
    shelf = Shelf(35)
    assert read_all(shelf, page=7) == []
    assert shelf.asked == [7]


@pytest.mark.parametrize("came", [1, 9, 10, 11, 25, 500])
def test_rows_that_come_at_the_front_push_nothing_out_and_nothing_in_twice(
    came: int,
) -> None:
    """However many: what they filled is skipped, not read."""
    shelf = Shelf(35, [STILL, (came, [])])
    assert read_all(shelf) == rows(1, 35)
    assert len(shelf.asked) <= 8


def test_rows_that_vanish_pull_nothing_past_the_reader() -> None:
    """Seven of page 1 vanish after page 2: the next seven now stand on page 2."""
    shelf = Shelf(40, [STILL, (0, [0] * 7)])
    assert read_all(shelf) == rows(1, 40)
    assert shelf.asked == [1, 2, 3, 1, 2, 3, 4]


def test_rows_that_vanish_behind_the_reader_are_no_concern_of_his() -> None:
    """Only the count tells that they did, so some pages are read again."""
    shelf = Shelf(60, [STILL, (0, [999] * 15)])
    assert read_all(shelf) == rows(1, 45)
    assert shelf.asked == [1, 2, 3, 1, 2, 3, 4, 5]


def test_the_whole_list_may_change_while_it_is_read() -> None:
    """What is there now is given, if nothing was forgotten meanwhile."""
    got = read_all(Shelf(12, [(0, [0] * 10)]), size=10)
    assert got == rows(1, 12)
    assert read_all(Shelf(12, [(0, [0] * 12)]), size=10) == rows(1, 10)


def test_a_list_may_grow_while_its_last_page_is_read() -> None:
    """It is the last page as long as nothing stands behind it."""
    shelf = Shelf(20, [(1, []), (9, []), (1, [])])
    assert read_all(shelf) == rows(1, 20)


MOVES = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 2, 7, 30]),
        st.lists(st.integers(0, 999), max_size=6),
    ),
    max_size=10,
)


@examples(150)
@given(
    count=st.integers(0, 40),
    moves=MOVES,
    page=st.sampled_from([1, 1, 1, 2, 3]),
    size=st.integers(1, 8),
)
@example(count=38, moves=[(5, [0]), (0, [999] * 6), (3, [0, 0])], page=2, size=1)
@example(count=20, moves=[STILL, (7, [999] * 6)], page=1, size=6)
def test_what_stays_is_given_once_and_in_order(
    count: int, moves: list[Move], page: int, size: int
) -> None:
    """However the list moves; or an error says that it moved too much.

    Only where rows vanish there can be an error, and for a reading from page 1 only
    where others come as well.
    """
    shelf = Shelf(count, moves)
    got, error = read(shelf, page=page, size=size)
    here = set(shelf.rows)
    stayed = [row for row in shelf.begin[(page - 1) * size :] if row in here]
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
def test_what_comes_meanwhile_is_left_to_the_next_reading(
    count: int, came: list[int], page: int, size: int
) -> None:
    """While nothing vanishes, a reading gives what was there when it began."""
    shelf = Shelf(count, [(number, []) for number in came])
    assert read_all(shelf, page=page, size=size) == shelf.begin[(page - 1) * size :]


def test_a_count_that_is_older_than_the_rows_hides_nothing() -> None:
    """The next count betrays it, and the page before is read again as well."""
    shelf = HastyShelf(40, [(0, [0, 0, 0])])
    # Rows 11 to 13 were pulled out of page 2 before it was selected.
    assert sorted(read_all(shelf)) == sorted(rows(1, 40))
    assert shelf.asked == [1, 2, 3, 1, 2, 3, 4]


def test_a_last_page_that_is_just_full_may_not_be_the_last() -> None:
    """A row came after the only page was counted, and pushed one out of it."""
    shelf = HastyShelf(10, [(1, [])])
    shelf.asked = [0]  # by somebody else: so it moves before the first answer, too
    assert read_all(shelf) == ["new 1", *rows(1, 10)]
    assert shelf.asked == [0, 1, 1, 2]


def test_a_last_page_that_was_pushed_is_not_the_last() -> None:
    """Rows came after it was counted, and before it was selected."""
    shelf = HastyShelf(20, [(2, [])])
    assert read_all(shelf) == rows(1, 20)
    assert shelf.asked == [1, 2, 2, 3]


def test_an_answer_whose_count_and_rows_do_not_fit_is_asked_for_again() -> None:
    """It was counted and selected at two moments: the second answer fits."""
    shelf = HastyShelf(15, [(1, [])])
    assert read_all(shelf) == rows(1, 15)
    assert shelf.asked == [1, 2, 2]


def answering(change: Callable[[Page[str]], dict[str, Any]], count: int = 35) -> Shelf:
    """A server that is wrong in some way each time."""

    class Wrong(Shelf):
        def answer(self, page: int, size: int, total: int) -> Page[str]:
            good = super().answer(page, size, total)
            return evolve(good, **change(good))

    return Wrong(count)


def test_an_answer_whose_rows_are_fewer_than_it_counts_is_refused() -> None:
    """A server that hides rows, or gives fewer than it says it does."""
    shelf = answering(lambda page: {"items": page.items[:4]})
    assert refusal(shelf) == "page 1 of 35 rows has 4, and should have 10"
    assert shelf.asked == [1, 1]
    hidden = answering(lambda page: {"items": () if page.page > 2 else page.items})
    got, error = read(hidden)
    assert got == rows(1, 20)
    assert error is not None
    assert error.paths == ("data.total", "data.data")


def test_an_answer_with_more_rows_than_it_counts_is_refused() -> None:
    """Which of them would be too many is not to be known."""
    shelf = answering(lambda _: {"items": tuple(rows(1, 11))})
    assert refusal(shelf) == "page 1 of 35 rows has 11, and should have 10"


def test_a_server_that_ignores_the_number_is_noticed() -> None:
    """It would give the same rows for ever, and never the others."""
    first = tuple(rows(1, 10))
    shelf = answering(lambda _: {"items": first}, 40)
    assert refusal(shelf) == "page 2 only repeats earlier pages"
    assert shelf.asked == [1, 2]


def test_another_page_than_the_one_asked_for_is_refused() -> None:
    """Nobody knows what it follows on."""
    shelf = answering(lambda _: {"page": 1})
    got, error = read(shelf)
    assert got == rows(1, 10)
    assert str(error).endswith("page 2 was requested, page 1 was received")
    assert error is not None
    assert error.paths == ("data.page",)


def test_the_platform_decides_how_long_pages_are() -> None:
    """If it says so on page 1, of which everybody knows where it begins."""

    class Stubborn(Shelf):
        async def fetch(self, page: int, size: int) -> Page[str]:
            return await super().fetch(page, min(size, 4))

    shelf = Stubborn(10)
    assert read_all(shelf, size=100) == rows(1, 10)
    assert shelf.asked == [1, 2, 3]
    problem = "pages of 100 were requested, pages of 4 were received"
    assert refusal(Stubborn(10), size=100, page=2) == problem
    nothing = answering(lambda _: {"size": 0})
    assert refusal(nothing).endswith("pages of 0 were received")


@pytest.mark.parametrize(
    ("total", "max_page"), [(35, 3), (35, 5), (35, 0), (-1, 0), (0, 2)]
)
def test_counts_that_contradict_each_other_are_refused(
    total: int, max_page: int
) -> None:
    """One of them would be a guess."""
    shelf = answering(lambda _: {"total": total, "max_page": max_page, "items": ()})
    problem = f"{total} rows in pages of 10 cannot have {max_page} pages"
    assert refusal(shelf) == problem


@pytest.mark.parametrize("max_page", [0, 1])
def test_an_empty_list_has_no_page_or_one(max_page: int) -> None:
    """Which of the two is not documented."""
    shelf = answering(lambda _: {"max_page": max_page}, 0)
    assert read_all(shelf) == []


def test_a_list_that_is_oldest_first_is_read_as_well() -> None:
    """New rows come at its end; where they could be mistaken it is refused."""

    class Upwards(Shelf):
        def move(self, came: int, gone: list[int]) -> None:
            super().move(came, gone)
            self.rows = self.rows[came:] + self.rows[:came]

    shelf = Upwards(20, [STILL, STILL, (3, [])])
    assert read_all(shelf) == rows(1, 20)
    assert read_all(Upwards(20, [(3, [])])) == [*rows(1, 20), "new 3", "new 2", "new 1"]
    problem = refusal(Upwards(20, [(15, [])]))
    assert problem == (
        "rows that were read are not found again: too many have vanished, or the "
        "newest do not come first; begin again with page 1"
    )


def test_a_reading_that_lost_its_place_says_so() -> None:
    """Rows have vanished, and none of those on the page is known: are they new?"""
    shelf = Shelf(60, [(0, [400] * 20)])
    assert "not found again" in refusal(shelf, page=3)
    # Rows 11 to 20 were read; rows 1 to 10 never were, and are not to be given.
    shelf = Shelf(60, [(0, [999] * 15)])
    assert read(shelf, page=2)[0] == rows(11, 20)
    assert shelf.asked == [2, 3, 1]


def test_a_list_that_changes_with_each_answer_is_given_up() -> None:
    """Its count says each time that so many rows have come, and none is new."""
    first = tuple(rows(1, 10))
    total = 20

    def grow(page: Page[str]) -> dict[str, Any]:
        nonlocal total
        total += 30
        return {"items": first, "total": total, "max_page": total // 10}

    shelf = answering(grow)
    got, error = read(shelf)
    assert got == rows(1, 10)
    assert error is not None
    assert "100 pages in a row had no new row" in str(error)
    assert len(shelf.asked) == 102


def test_a_count_that_swings_does_not_lead_in_circles() -> None:
    """Once it says that thousands came, once that they are gone."""
    swing = [(500, []), (0, [0] * 500)] * 80
    shelf = Shelf(50, swing)
    got, error = read(shelf)
    assert got == rows(1, len(got))
    assert error is not None
    assert len(shelf.asked) < 160


def test_a_row_that_stands_on_a_page_twice_is_given_once() -> None:
    """As if it stood on two pages."""
    double = ("a", "b", "a", "c")
    shelf = answering(lambda _: {"items": double, "total": 4, "max_page": 1})
    assert read_all(shelf) == ["a", "b", "c"]


async def test_two_rows_of_one_id_are_not_taken_for_one() -> None:
    """Which of them to leave out, nobody can say."""

    async def fetch(page: int, size: int) -> Page[str]:
        return Page(page=page, size=size, total=2, max_page=1, items=("ab", "ac"))

    with pytest.raises(InvalidResponseError, match="two rows of page 1") as caught:
        _ = [row async for row in iterate(fetch, lambda row: row[0], page=1, size=10)]
    assert caught.value.paths == ("data.data",)


def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to know what was pushed; and whoever went too far back says so."""
    monkeypatch.setattr(_paging, "_MAX_SEEN", 20)
    assert read_all(Shelf(100, [STILL] * 5 + [(13, [])])) == rows(1, 100)
    for gone in (35, 48):
        shelf = Shelf(100, [STILL] * 4 + [(0, [999] * gone)])
        assert "not found again" in refusal(shelf)


def test_a_page_is_a_plain_record() -> None:
    """Frozen, and made by names alone."""
    page = Page(page=1, size=2, total=3, max_page=2, items=("a", "b"))
    assert page == Page(page=1, size=2, total=3, max_page=2, items=("a", "b"))
    with pytest.raises(FrozenInstanceError):
        page.total = 4  # type: ignore[misc]
