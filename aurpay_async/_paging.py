"""Reading a list that moves while it is read.

A list comes in numbered pages, each with the `total` of that moment; and newest first,
which is not documented: where it matters and does not hold, reading ends in an error.
Between two pages rows may come at the front, which push the others back, and rows may
vanish anywhere, which pulls all behind them forward. So a page alone says nothing of
whether it follows on the one before. This does: if `c` rows have come, `v` have
vanished before the next row to give and `w` behind it, then this row has moved by
``c - v`` and `total` by ``c - v - w``, which is never more. Hence, with `next_at` its
place when `total` was counted,

    at_least = next_at + (total now - total then)

is a place that it cannot lie before. A page is judged by that:

* It begins behind `at_least`: rows may have slipped in front of it. Go back.
* Else nothing is missing between what was given and this page. Rows that were given
  already are known by their keys. What stands before the first of them has come since,
  and whoever reads newest first does not go back for it; what stands behind is new.
* It brings nothing, and ends before `at_least`: so many rows have come. Skip ahead,
  to where known rows must be; they are not if the list is not newest first.
* It brings nothing, and was read before: this is what going back costs. Go on.
* It brings nothing for no such reason: the server ignores the number. Refuse.

A server may count at one moment and select at another. Where the two do not fit in one
answer, it is asked once more. Where they fit by chance, an answer after it betrays it;
therefore going back and skipping ahead stop one page early, which covers a page's
worth of it, and a last page is asked for once more that is full, or has known rows
further behind than `total` explains: there may be another one behind it.

Every way through ends: going back only goes down, all else only up to the last page,
and many answers in a row without a new row are an error.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

import attrs

from .errors import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

_T = TypeVar("_T")

#: Keys of the rows given last: about a megabyte. Older rows can only come again where
#: more than so many vanish, or come and vanish, between two pages.
_REMEMBERED: Final = 10_000

#: Answers in a row that may bring nothing new. A burst of new rows costs three; rows
#: that vanish cost the pages that they filled.
_MAX_IDLE: Final = 100


@attrs.frozen(kw_only=True)
class Page(Generic[_T]):
    """One page of a list, as the platform had it at that moment.

    .. versionadded:: 0.1.0
    """

    #: Its number; 1 is the first.
    page: int
    #: How many rows a full page has.
    size: int
    #: How many rows all pages have together.
    total: int
    #: The number of the last page.
    max_page: int
    #: The rows as they came; in which order is not documented.
    items: tuple[_T, ...]


async def iterate(
    fetch: Callable[[int, int], Awaitable[Page[_T]]],
    key: Callable[[_T], str],
    *,
    page: int,
    size: int,
) -> AsyncGenerator[_T, None]:
    """All rows from a page on, each once, however the list moves meanwhile.

    A page is fetched when its first row is wanted. What comes at the front after that
    is not waited for; what is there all the time is never left out.

    Args:
        fetch: Gives a page by its number and size.
        key: What tells a row from all others.
        page: The number of the page to begin with.
        size: Rows a page. If page 1 comes with another size, that is the size from
            then on.

    Raises:
        InvalidResponseError: the answers contradict each other, or the list changes
            faster than it can be read. Rows may be missing; all before are good.
    """
    reading = _Reading(key, page, size)
    while not reading.is_over:
        for row in reading.take(await fetch(reading.number, reading.size)):
            yield row


@final
class _Reading(Generic[_T]):
    """How far one reading of a list has come. The rules are at the top of the file."""

    def __init__(self, key: Callable[[_T], str], page: int, size: int) -> None:
        #: The page that is wanted now.
        self.number = page
        self.size = size
        self.is_over = False
        self._key = key
        #: Where the next row to give was, when so many were counted.
        self._next_at = (page - 1) * size
        self._total: int | None = None
        #: Behind the last place that was read.
        self._read_to = 0
        self._given: OrderedDict[str, None] = OrderedDict()
        #: Whether rows lie before the next one to give that are not in `_given`.
        self._has_unknown_rows = page > 1
        #: Whether it has to meet a row that it knows before it gives another one.
        self._has_to_meet = False
        #: Whether it has asked again for an answer that contradicts itself.
        self._asked_again = False
        self._idle = 0

    def take(self, page: Page[_T]) -> Iterable[_T]:
        """The rows to give of an answer; sets what is wanted next."""
        self._require(page)
        rows = self._read(page) if self._is_whole(page) else {}
        self._idle = 0 if rows else self._idle + 1
        if self._idle > _MAX_IDLE:
            raise _refuse(
                f"{_MAX_IDLE} pages in a row brought nothing new: the list changes "
                "faster than it can be read; ask for larger pages, or begin again"
            )
        return rows.values()

    def _require(self, page: Page[_T]) -> None:
        if page.page != self.number:
            raise _refuse(
                f"page {self.number} was asked for, and {page.page} came", "data.page"
            )
        if page.size != self.size:
            # What it gives is its own affair; but then only page 1 is where it was.
            if page.page > 1 or page.size < 1:
                raise _refuse(
                    f"pages of {self.size} were asked for, and the platform gives "
                    f"pages of {page.size}",
                    "data.size",
                )
            self.size = page.size
        last = -(-page.total // self.size)
        if page.total < 0 or max(page.max_page, 1) != max(last, 1):
            raise _refuse(
                f"{page.total} rows in pages of {self.size} cannot have "
                f"{page.max_page} pages",
                "data.total",
                "data.max_page",
            )

    def _is_whole(self, page: Page[_T]) -> bool:
        """Whether it has the rows that it counts. Asks for it again if not."""
        behind = page.total - (page.page - 1) * self.size
        expected = min(max(behind, 0), self.size)
        is_whole = len(page.items) == expected
        if not is_whole and self._asked_again:
            raise _refuse(
                f"page {page.page} of {page.total} rows has {len(page.items)}, "
                f"and should have {expected}",
                "data.total",
                "data.data",
            )
        self._asked_again = not is_whole
        return is_whole

    def _read(self, page: Page[_T]) -> dict[str, _T]:
        start = (page.page - 1) * self.size
        end = start + self.size
        drift = 0 if self._total is None else page.total - self._total
        at_least = max(0, self._next_at + drift)
        if start > at_least:
            self.number = self._page_before(at_least)
            self._has_to_meet = self._has_unknown_rows
            return {}
        rows = self._named(page)
        known = [at for at, (name, _) in enumerate(rows) if name in self._given]
        new = self._new_rows(rows, known, is_before=end <= at_least)
        is_further = max(at_least, self._read_to) < end and at_least < page.total
        if page.items and not new and is_further:
            raise _refuse(f"page {page.page} only repeats others", "data.data")
        is_last = end >= page.total
        # One that is just full may have pushed a row out: it has to come so twice.
        is_settled = end != page.total or end <= self._read_to
        self._remember(new)
        self._read_to = max(self._read_to, end)
        self._total = page.total
        self._next_at = max(end, at_least)
        # Known rows further behind than that were pushed by rows not counted yet.
        is_counted = not known or start + known[-1] < at_least
        self._go_on(page.page, is_last=is_last, is_counted=is_counted and is_settled)
        return new

    def _named(self, page: Page[_T]) -> list[tuple[str, _T]]:
        rows = [(self._key(row), row) for row in page.items]
        named = dict(rows)
        if any(named[name] != row for name, row in rows):
            raise _refuse(
                f"two rows of page {page.page} have one id, and differ", "data.data"
            )
        return rows

    def _new_rows(
        self, rows: list[tuple[str, _T]], known: list[int], *, is_before: bool
    ) -> dict[str, _T]:
        """What is to be given of a page. `is_before`: of the next row to give."""
        if known:
            self._has_to_meet = False
            return {k: row for k, row in rows[known[0] :] if k not in self._given}
        if is_before:
            # All have come since: the list is newest first, as far as this tells.
            self._has_to_meet = True
            return {}
        if self._has_to_meet:
            raise _refuse(
                "rows that were read are not found again: too many have vanished, or "
                "the newest do not come first; begin again with page 1"
            )
        return dict(rows)

    def _go_on(self, number: int, *, is_last: bool, is_counted: bool) -> None:
        self.is_over = is_last and is_counted
        following = number if is_last else number + 1
        self.number = max(following, self._page_before(self._next_at))

    def _page_before(self, place: int) -> int:
        """The page before the one with that place."""
        return max(1, place // self.size)

    def _remember(self, names: Iterable[str]) -> None:
        self._given.update(dict.fromkeys(names))
        while len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
            self._has_unknown_rows = True


def _refuse(problem: str, *paths: str) -> InvalidResponseError:
    return InvalidResponseError(f"this list cannot be followed: {problem}", paths=paths)
