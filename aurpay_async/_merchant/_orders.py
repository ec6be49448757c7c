"""Orders that exist: looked at one by one and in lists, found again, paid back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._models import require_order_id
from .._models._arguments import DEFAULT_SIZE, require_page
from ..errors import AurpayError
from ._calling import Calling, advise

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from .._lost import OrderQuery, OrderSearchResult
    from .._models import Order
    from .._models._refunds import Refund, RefundInfo
    from .._paging import Page


class OrderMethods(Calling):
    """Looks at orders, lists of them, and refunds."""

    async def get_order(self, order_id: str) -> Order:
        """The order as the platform has it now.

        Of the answer ("Get Orders Details") four fields are documented; that it has a
        `status` is known from shops that read it. See `Order` for the rest.

        Args:
            order_id: The platform's name for it, as in `LightningOrder.order_id`.

        Raises:
            InvalidRequestError: this can be no order's id; nothing was sent.
            TransportError: no usable answer, after some attempts.
            APIError: the platform said no; `NotFoundError`: it has no such order.
            InvalidResponseError: the answer could not be read, or is about another
                order. Nothing has changed by asking.
        """
        asked = require_order_id(order_id)
        try:
            await self._pool.open()
            from .._protocol import build_get_order, parse_get_order

            order = await self._call(
                build_get_order(asked), lambda answer: parse_get_order(answer, asked)
            )
        except AurpayError as error:
            error.order_id = asked
            if getattr(error, "paths", ()) == ("data.order_id",):
                self._seen.is_misrouted = True  # it is about another order
            raise
        watch = self._watches.get(asked)
        if watch is not None and watch.is_here:
            watch.feed(order)
        return order

    async def list_orders(self, page: int = 1, size: int = DEFAULT_SIZE) -> Page[Order]:
        """One page of the orders.

        All fields of `Order` are documented here ("Get Orders"). Filters are not, nor
        in which order the rows come, nor how many of them a page may have: what the
        platform gives is in `Page.size`.

        Args:
            page: From 1.
            size: Rows, 1 to 1000.

        Raises:
            InvalidRequestError: there can be no such page; nothing was sent.
            TransportError: no usable answer, after some attempts.
            APIError: the platform said no.
            InvalidResponseError: the answer could not be read. A row without a
                readable id is enough: it is named, and no shorter list is given. Any
                other field that cannot be read is absent from its `Order`.
        """
        number, rows = require_page(page, size)
        await self._pool.open()
        from .._protocol import build_list_orders, parse_list_orders

        return await self._call(build_list_orders(number, rows), parse_list_orders)

    def iter_orders(
        self, *, page: int = 1, size: int = DEFAULT_SIZE
    ) -> AsyncGenerator[Order, None]:
        """All orders from a page on: ``async for order in client.iter_orders()``.

        A page is asked for when its first row is wanted. Orders that are made
        meanwhile push the others on: none comes twice, and none that is there all the
        time is left out. (Counted on, but not documented: the newest come first.)
        Which page to begin with again is that of the last row.

        Args:
            page: The page to begin with, from 1.
            size: Rows for each page, 1 to 1000.

        Raises:
            InvalidRequestError: there can be no such page; nothing was sent.
            AurpayError: as `list_orders`, for any of the pages. The orders before it
                are good.
        """
        number, rows = require_page(page, size)
        from .._paging import iterate

        return iterate(
            self.list_orders, lambda order: order.order_id, page=number, size=rows
        )

    async def find_order(
        self, lost: AurpayError | OrderQuery, *, known: Collection[str] = ()
    ) -> OrderSearchResult:
        """Look for the order that a failed create may have left.

        Aurpay has no field for a name of yours, so an order whose id was lost can be
        told only by what it was asked for with, and when. `OrderSearchResult` says
        what each outcome means.

        Args:
            lost: The error of `create_order` or `create_payment`; or what is known, if
                the process that met it has ended.
            known: Ids of orders that are accounted for: those of your database. Orders
                of the same price in the same minutes are told apart by nothing else.

        Raises:
            InvalidRequestError: this error left no order behind; nothing was sent.
            AurpayError: as `get_order` and `list_orders`.
        """
        from .._lost import LONGEST_ATTEMPT_S, OrderQuery, find_lost

        return await find_lost(
            lost if isinstance(lost, OrderQuery) else OrderQuery.of(lost),
            iterate_orders=self.iter_orders,
            get_order=self.get_order,
            known=known,
            attempt_s=max(LONGEST_ATTEMPT_S, self._transport.attempt_s),
        )

    async def get_refund(self, order_id: str) -> RefundInfo:
        """What there is to pay back of an order. Nothing is paid back by asking.

        Four fields of the answer ("Get Orders Refund Info") are documented.

        Args:
            order_id: The platform's name for the order.

        Raises:
            InvalidRequestError: this can be no order's id; nothing was sent.
            TransportError: no usable answer, after some attempts.
            APIError: the platform said no.
            InvalidResponseError: the answer could not be read, or is about another
                order.
        """
        asked = require_order_id(order_id)
        try:
            await self._pool.open()
            from .._protocol import build_get_refund, parse_get_refund

            return await self._call(
                build_get_refund(asked), lambda answer: parse_get_refund(answer, asked)
            )
        except AurpayError as error:
            error.order_id = asked
            raise

    async def refund_order(self, order_id: str) -> Refund:
        """Pay an order back. It moves money, and is sent once at most.

        Aurpay's page of this call ("Orders Refund") contradicts itself: it is a POST,
        its words describe a look at the status of a refund, and the answer it shows
        has no envelope; one inside of an envelope is taken as well. Where the money
        goes is not documented: the dashboard asks for the customer's wallet, and this
        call has no place for it. Try it with a small order first.

        Args:
            order_id: The platform's name for the order.

        Raises:
            InvalidRequestError: this can be no order's id; nothing was sent.
            TransportError: no usable answer; `outcome` says whether it may be done.
            APIError: the platform said no; `outcome` says whether it may be done.
            InvalidResponseError: it may be done; the answer could not be read, or is
                about another order.
        """
        asked = require_order_id(order_id)
        try:
            await self._pool.open()
            from .._protocol import build_refund_order, parse_refund_order

            return await self._call(
                build_refund_order(asked),
                lambda answer: parse_refund_order(answer, asked),
            )
        except AurpayError as error:
            error.order_id = asked
            advise(
                error,
                "it may be paid back: look with get_order() and list_transactions() "
                "before you try again",
            )
            raise
