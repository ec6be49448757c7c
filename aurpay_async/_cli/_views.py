"""Show a list of the platform: one page, or all rows as they are received."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from .._client import AurpayClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from .._paging import Page
    from ._arguments import ListOptions
    from ._screen import Output

_T = TypeVar("_T")


class Listing(NamedTuple, Generic[_T]):
    """A list of the platform, and how its rows are shown."""

    #: Name of the rows, such as ``orders``: for people, and as a JSON key.
    noun: str
    #: The ``type`` of a row that is printed as one JSON object.
    kind: str
    #: The columns and their least widths.
    columns: Mapping[str, int]
    #: Returns the cells of a row.
    cells: Callable[[_T], Sequence[str]]
    #: Returns a row as JSON.
    members: Callable[[_T], dict[str, object]]
    #: Returns one page, by number and size.
    fetch: Callable[[AurpayClient, int, int], Awaitable[Page[_T]]]
    #: Iterates over all rows from a page on.
    iterate: Callable[[AurpayClient, int, int], AsyncGenerator[_T, None]]


async def show_list(output: Output, listing: Listing[_T], options: ListOptions) -> int:
    """Query the platform for a list, and show it."""
    async with AurpayClient.from_env() as aurpay:
        if options.everything:
            await _show_all(output, aurpay, listing, options)
        else:
            await _show_page(output, aurpay, listing, options)
    return 0


def show_rows(output: Output, listing: Listing[_T], rows: Sequence[_T]) -> None:
    """Show rows below the names of their columns."""
    if rows:
        _show_head(output, listing)
    for row in rows:
        _show_row(output, listing, row)


async def _show_page(
    output: Output, aurpay: AurpayClient, listing: Listing[_T], options: ListOptions
) -> None:
    with output.waiting(f"Querying the {listing.noun}"):
        page = await listing.fetch(aurpay, options.page, options.size)
    rows = {listing.noun: [listing.members(row) for row in page.items]}
    output.json(
        listing.noun,
        page=page.page,
        size=page.size,
        total=page.total,
        max_page=page.max_page,
        **rows,
    )
    show_rows(output, listing, page.items)
    output.line()
    of_pages = f"page {page.page:,} of {max(page.max_page, 1):,}"
    output.status(f"{of_pages}, {listing.noun} in all: {page.total:,}", "")


async def _show_all(
    output: Output, aurpay: AurpayClient, listing: Listing[_T], options: ListOptions
) -> None:
    count = 0
    with output.waiting(f"Querying the {listing.noun}") as show:
        async with aclosing(
            listing.iterate(aurpay, options.page, options.size)
        ) as rows:
            async for row in rows:
                if not count:
                    _show_head(output, listing)
                count += 1
                output.json(listing.kind, **listing.members(row))
                _show_row(output, listing, row)
                show(f"{count:,} {listing.noun} so far")
    output.line()
    output.status(f"{count:,} {listing.noun}", "")


def _show_head(output: Output, listing: Listing[_T]) -> None:
    output.cells(listing.columns.items(), "dim")


def _show_row(output: Output, listing: Listing[_T], row: _T) -> None:
    output.cells(zip(listing.cells(row), listing.columns.values(), strict=True))
