"""Order and refund methods of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._api.arguments import DEFAULT_SIZE, require_order_id, require_page
from ._base import BaseClient, attach_recovery_hint
from .transport import LazyModule

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from .._api import orders as _orders_api
    from .._api.models import Order, Page
    from .._api.payment_models import Refund, RefundInfo
    from ..errors import AurpayError
    from . import lost_orders as _lost_orders
    from . import pagination as _pagination
    from .lost_orders import OrderQuery, OrderSearchResult
else:
    _orders_api = LazyModule("aurpay_async._api.orders")
    _lost_orders = LazyModule("aurpay_async._client.lost_orders")
    _pagination = LazyModule("aurpay_async._client.pagination")


class OrderMethods(BaseClient):
    """Query and refund orders."""

    async def get_order(self, order_id: str) -> Order:
        """Return the current state of an order at Aurpay.

        Four fields of the response ("Get Orders Details") are documented; that it has
        a `status` is known from shops that read it. See `Order` for the rest.

        Args:
            order_id: Aurpay's id of the order, as in `LightningOrder.order_id`.

        Raises:
            InvalidRequestError: the order id is invalid; nothing was sent.
            TransportError: no complete response, after all attempts.
            APIError: Aurpay rejected the request; `NotFoundError`: no such order.
            InvalidResponseError: the response could not be read, or is about another
                order.
        """
        asked = require_order_id(order_id)
        await self._lazy_transport.open()
        order = await self._send(
            _orders_api.build_get_order(asked),
            lambda response: _orders_api.parse_get_order(response, asked),
            complete=self._note_other_order,
        )
        if self._shared_polling.lane is not None:
            self._shared_polling.lane.update(order)
        return order

    def _note_other_order(self, error: AurpayError) -> None:
        if getattr(error, "paths", ()) == ("data.order_id",):
            self._seen.is_misrouted = True

    async def list_orders(self, page: int = 1, size: int = DEFAULT_SIZE) -> Page[Order]:
        """Return one page of the orders.

        All fields of `Order` are documented here ("Get Orders"). Filters, the sorting
        and the maximum page size are not; `Page.size` is the size that Aurpay used.

        Args:
            page: The page number, from 1.
            size: Rows per page, 1 to 1000.

        Raises:
            InvalidRequestError: page or size is invalid; nothing was sent.
            TransportError: no complete response, after all attempts.
            APIError: Aurpay rejected the request.
            InvalidResponseError: the response could not be read, or a row has no
                readable id. Any other field that cannot be read is absent from its
                `Order`.
        """
        number, rows = require_page(page, size)
        await self._lazy_transport.open()
        return await self._send(
            _orders_api.build_list_orders(number, rows), _orders_api.parse_list_orders
        )

    async def ping(self) -> None:
        """Check that Aurpay can be reached and accepts the credentials.

        It requests a list of one order, because Aurpay documents no call for this. It
        is retried as any query: ``client.with_options(timeouts=Timeouts(call=5))``
        limits it. A process that cannot reach Aurpay can still record callbacks, so a
        failure is a reason for an alert, not for a restart.

        Raises:
            AuthenticationError: Aurpay rejected the credentials.
            AurpayError: as `list_orders`.
        """
        await self.list_orders(size=1)

    def iter_orders(
        self, *, page: int = 1, size: int = DEFAULT_SIZE
    ) -> AsyncGenerator[Order, None]:
        """Iterate over all orders: ``async for order in client.iter_orders()``.

        Each page is requested when its first row is needed. Orders created meanwhile
        shift the others to later pages: no order is returned twice, and no order that
        existed from the start is skipped. (Assumed, not documented: the newest first.)
        To resume, begin with the page of the last row.

        Args:
            page: The first page to read, from 1.
            size: Rows per page, 1 to 1000.

        Raises:
            InvalidRequestError: page or size is invalid; nothing was sent.
            AurpayError: as `list_orders`, for any of the pages. The orders returned
                before it are valid.
        """
        number, rows = require_page(page, size)
        return _pagination.iterate(
            self.list_orders, lambda order: order.order_id, page=number, size=rows
        )

    async def find_order(
        self, lost: AurpayError | OrderQuery, *, known: Collection[str] = ()
    ) -> OrderSearchResult:
        """Search for the order that a failed create may have left.

        Aurpay stores no reference, so without its id an order can be identified only by
        its price, currency and time. See `OrderSearchResult` for the outcomes.

        Args:
            lost: The error of `create_order` or `create_payment`; or an `OrderQuery`,
                if the process that received the error has ended.
            known: Ids of the orders in your database. Only they tell apart orders of
                the same price in the same minutes.

        Raises:
            InvalidRequestError: the error left no order behind; nothing was sent.
            AurpayError: as `get_order` and `list_orders`.
        """
        if not isinstance(lost, _lost_orders.OrderQuery):
            lost = _lost_orders.OrderQuery.of(lost)
        return await _lost_orders.find_lost_order(
            lost,
            iterate_orders=lambda: self.iter_orders(size=_lost_orders.PAGE_SIZE),
            get_order=self.get_order,
            known=known,
            attempt_s=max(
                _lost_orders.LONGEST_ATTEMPT_S, self._transport.timeouts.attempt
            ),
        )

    async def get_refund(self, order_id: str) -> RefundInfo:
        """Return the amount of an order that can be refunded; refund nothing.

        Four fields of the response ("Get Orders Refund Info") are documented.

        Args:
            order_id: Aurpay's id of the order.

        Raises:
            InvalidRequestError: the order id is invalid; nothing was sent.
            TransportError: no complete response, after all attempts.
            APIError: Aurpay rejected the request.
            InvalidResponseError: the response could not be read, or is about another
                order.
        """
        asked = require_order_id(order_id)
        await self._lazy_transport.open()
        return await self._send(
            _orders_api.build_get_refund(asked),
            lambda response: _orders_api.parse_get_refund(response, asked),
        )

    async def refund_order(self, order_id: str) -> Refund:
        """Refund an order. The request moves money, and is sent at most once.

        Aurpay's page of this call ("Orders Refund") contradicts itself: it is a POST,
        its text describes a query of the status of a refund, and its example response
        has no envelope; one with an envelope is accepted as well. The recipient is not
        documented: the dashboard asks for the customer's wallet, and this call has no
        field for it. Try it with a small order first.

        Args:
            order_id: Aurpay's id of the order.

        Raises:
            InvalidRequestError: the order id is invalid; nothing was sent.
            TransportError: no complete response; see `outcome`.
            APIError: an error status or envelope; see `outcome`.
            InvalidResponseError: it may be refunded; the response could not be read,
                or is about another order.
        """
        asked = require_order_id(order_id)
        await self._lazy_transport.open()
        return await self._send(
            _orders_api.build_refund_order(asked),
            lambda response: _orders_api.parse_refund_order(response, asked),
            complete=lambda error: attach_recovery_hint(
                error,
                "it may be refunded: check get_order() and list_transactions() before "
                "you try again",
            ),
        )
