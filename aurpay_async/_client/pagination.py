"""Read a numbered list that changes while it is read."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from .._api.models import Page  # noqa: TC001
from ..errors import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable


_T = TypeVar("_T")

#: Keys of returned rows that are remembered, about a megabyte. An older row is returned
#: again only if more rows than this vanish, or appear and vanish, between two pages.
_MAX_SEEN: Final = 10_000

#: Responses in a row without a new row. A burst of new rows costs three; vanished rows
#: cost the pages that they filled.
_MAX_IDLE: Final = 100


async def iterate(
    fetch: Callable[[int, int], Awaitable[Page[_T]]],
    key: Callable[[_T], str],
    *,
    page: int,
    size: int,
) -> AsyncGenerator[_T, None]:
    """Yield all rows from a page on, each once, even if the list changes meanwhile.

    A page is requested when its first row is needed. Rows that appear at the front
    after that are not returned. A row that exists all the time is never left out.

    Args:
        fetch: Return a page by its number and size.
        key: Return the unique key of a row.
        page: The number of the page to begin with.
        size: Rows per page. If page 1 has another size, that size is used from then on.

    Raises:
        InvalidResponseError: if the responses contradict each other, or the list
            changes faster than it can be read. Rows may be missing after the yielded
            ones.
    """
    reader = _PageReader(key, page, size)
    while not reader.is_over:
        for row in reader.accept(await fetch(reader.number, reader.size)):
            yield row


@final
class _PageReader(Generic[_T]):
    """The progress of reading one list. Its rules are at the top of the file."""

    def __init__(self, key: Callable[[_T], str], page: int, size: int) -> None:
        #: The page to request next.
        self.number = page
        self.size = size
        self.is_over = False
        self._key = key
        #: The position of the next row to return when `_total` was read.
        self._next_at = (page - 1) * size
        self._total: int | None = None
        #: The end of the last position that was read.
        self._read_to = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        #: Rows before the next one to return may be missing in `_seen`.
        self._has_unknown_rows = page > 1
        #: The next page must contain a known row before new rows are returned.
        self._needs_overlap = False
        #: The page was requested again because its count and its rows did not match.
        self._is_second_request = False
        self._idle = 0

    def accept(self, page: Page[_T]) -> Iterable[_T]:
        """Return the new rows of a page, and choose the page to request next."""
        self._require_consistent(page)
        rows = self._process(page) if self._is_complete(page) else {}
        self._idle = 0 if rows else self._idle + 1
        if self._idle > _MAX_IDLE:
            raise _list_error(
                f"{_MAX_IDLE} pages in a row had no new row: the list changes "
                "faster than it can be read; request larger pages, or begin again"
            )
        return rows.values()

    def _require_consistent(self, page: Page[_T]) -> None:
        if page.page != self.number:
            raise _list_error(
                f"page {self.number} was requested, page {page.page} was received",
                "data.page",
            )
        if page.size != self.size:
            # Aurpay may use another page size. If it does, only page 1 starts where it
            # is expected.
            if page.page > 1 or page.size < 1:
                raise _list_error(
                    f"pages of {self.size} were requested, pages of {page.size} were "
                    "received",
                    "data.size",
                )
            self.size = page.size
        last = -(-page.total // self.size)
        if page.total < 0 or max(page.max_page, 1) != max(last, 1):
            raise _list_error(
                f"{page.total} rows in pages of {self.size} cannot have "
                f"{page.max_page} pages",
                "data.total",
                "data.max_page",
            )

    def _is_complete(self, page: Page[_T]) -> bool:
        """Return whether a page has the expected number of rows.

        Raises:
            InvalidResponseError: if it has not for the second time.
        """
        behind = page.total - (page.page - 1) * self.size
        expected = min(max(behind, 0), self.size)
        is_complete = len(page.items) == expected
        if not is_complete and self._is_second_request:
            raise _list_error(
                f"page {page.page} has {len(page.items)} rows and should have "
                f"{expected}, as the list has {page.total}",
                "data.total",
                "data.data",
            )
        self._is_second_request = not is_complete
        return is_complete

    def _process(self, page: Page[_T]) -> dict[str, _T]:
        start = (page.page - 1) * self.size
        end = start + self.size
        drift = 0 if self._total is None else page.total - self._total
        at_least = max(0, self._next_at + drift)
        if start > at_least:
            self.number = self._page_before(at_least)
            self._needs_overlap = self._has_unknown_rows
            return {}
        rows = self._with_keys(page)
        known = [at for at, (key, _) in enumerate(rows) if key in self._seen]
        new = self._new_rows(rows, known, is_before=end <= at_least)
        is_further = max(at_least, self._read_to) < end and at_least < page.total
        if page.items and not new and is_further:
            raise _list_error(
                f"page {page.page} only repeats earlier pages", "data.data"
            )
        is_last = end >= page.total
        # The last page may have pushed a row out if it is full: read it twice.
        is_settled = end != page.total or end <= self._read_to
        self._remember(new)
        self._read_to = max(self._read_to, end)
        self._total = page.total
        self._next_at = max(end, at_least)
        # Rows that are not in `total` yet have moved known rows further than that.
        is_counted = not known or start + known[-1] < at_least
        self._advance(page.page, is_last=is_last, is_counted=is_counted and is_settled)
        return new

    def _with_keys(self, page: Page[_T]) -> list[tuple[str, _T]]:
        rows = [(self._key(row), row) for row in page.items]
        by_key = dict(rows)
        if any(by_key[key] != row for key, row in rows):
            raise _list_error(
                f"two rows of page {page.page} have the same id, but differ",
                "data.data",
            )
        return rows

    def _new_rows(
        self, rows: list[tuple[str, _T]], known: list[int], *, is_before: bool
    ) -> dict[str, _T]:
        """Return the rows to yield. `is_before`: the page ends before the next row."""
        if known:
            self._needs_overlap = False
            return {k: row for k, row in rows[known[0] :] if k not in self._seen}
        if is_before:
            # All of these rows have appeared since, if the list is newest first.
            self._needs_overlap = True
            return {}
        if self._needs_overlap:
            raise _list_error(
                "rows that were read are not found again: too many have vanished, or "
                "the newest do not come first; begin again with page 1"
            )
        return dict(rows)

    def _advance(self, number: int, *, is_last: bool, is_counted: bool) -> None:
        self.is_over = is_last and is_counted
        following = number if is_last else number + 1
        self.number = max(following, self._page_before(self._next_at))

    def _page_before(self, position: int) -> int:
        """Return the number of the page before the one with that position."""
        return max(1, position // self.size)

    def _remember(self, keys: Iterable[str]) -> None:
        self._seen.update(dict.fromkeys(keys))
        while len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
            self._has_unknown_rows = True


def _list_error(problem: str, *paths: str) -> InvalidResponseError:
    return InvalidResponseError(f"this list cannot be read: {problem}", paths=paths)
