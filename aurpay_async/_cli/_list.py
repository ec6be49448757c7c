"""Lists: one page of them, or all, each row as it comes."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from .._client import AurpayClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from .._paging import Page
    from ._screen import Screen

_T = TypeVar("_T")


class Listing(NamedTuple, Generic[_T]):
    """A list of the platform, and how its rows are shown."""

    #: What the rows are, such as ``orders``: for people, and as a key.
    noun: str
    #: The ``type`` of a row that is on a line of its own.
    kind: str
    #: The columns, and how wide they are at least.
    columns: Mapping[str, int]
    #: What stands in them.
    cells: Callable[[_T], Sequence[str]]
    #: A row for programs.
    members: Callable[[_T], dict[str, object]]
    #: One page, by its number and size.
    fetch: Callable[[AurpayClient, int, int], Awaitable[Page[_T]]]
    #: All rows, from such a page on.
    iterate: Callable[[AurpayClient, int, int], AsyncGenerator[_T, None]]


class Part(NamedTuple):
    """Which part of a list is wanted."""

    page: int
    size: int
    #: Whether all pages that follow are wanted, too.
    everything: bool


async def show_list(screen: Screen, listing: Listing[_T], part: Part) -> int:
    """Ask for a list, and show it."""
    async with AurpayClient.from_env() as aurpay:
        if part.everything:
            await _show_all(screen, aurpay, listing, part)
        else:
            await _show_page(screen, aurpay, listing, part)
    return 0


def show_rows(screen: Screen, listing: Listing[_T], rows: Sequence[_T]) -> None:
    """Rows for people, below the names of their columns."""
    if rows:
        _show_head(screen, listing)
    for row in rows:
        _show_row(screen, listing, row)


async def _show_page(
    screen: Screen, aurpay: AurpayClient, listing: Listing[_T], part: Part
) -> None:
    with screen.waiting(f"Asking for the {listing.noun}"):
        page = await listing.fetch(aurpay, part.page, part.size)
    rows = {listing.noun: [listing.members(row) for row in page.items]}
    screen.record(
        listing.noun,
        page=page.page,
        size=page.size,
        total=page.total,
        max_page=page.max_page,
        **rows,
    )
    show_rows(screen, listing, page.items)
    screen.line()
    of_pages = f"page {page.page:,} of {max(page.max_page, 1):,}"
    screen.step(f"{of_pages}, {listing.noun} in all: {page.total:,}", "")


async def _show_all(
    screen: Screen, aurpay: AurpayClient, listing: Listing[_T], part: Part
) -> None:
    count = 0
    with screen.waiting(f"Asking for the {listing.noun}") as say:
        async with aclosing(listing.iterate(aurpay, part.page, part.size)) as rows:
            async for row in rows:
                if not count:
                    _show_head(screen, listing)
                count += 1
                screen.record(listing.kind, **listing.members(row))
                _show_row(screen, listing, row)
                say(f"{count:,} {listing.noun} so far")
    screen.line()
    screen.step(f"{count:,} {listing.noun}", "")


def _show_head(screen: Screen, listing: Listing[_T]) -> None:
    screen.cells(listing.columns.items(), "dim")


def _show_row(screen: Screen, listing: Listing[_T], row: _T) -> None:
    screen.cells(zip(listing.cells(row), listing.columns.values(), strict=True))
