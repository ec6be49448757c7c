"""Order and refund methods of the client, and the signing of references.

Aurpay's order call has no field for a reference, and its callbacks name no order. So
the callback URLs carry the reference, price and attempt id, signed with a key of the
shop's.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import attrs

from .._api.arguments import (
    DEFAULT_SIZE,
    require_order_id,
    require_page,
    without_traceback,
)
from .._api.models import NewOrder
from ..errors import AurpayError, InvalidRequestError
from ._base import BaseClient, attach_recovery_hint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from .._api.models import Order, Page
    from .._api.payment_models import Refund, RefundInfo
    from .._core.secrets import Secret
    from ..callbacks._reference import Reference, ReferenceSigner
    from .lost_orders import OrderQuery, OrderSearchResult


_Order = TypeVar("_Order", bound=NewOrder)

#: The module that signs. It loads hashing, which few programs need.
_SIGNING: Final = "aurpay_async.callbacks._reference"

#: The URLs that Aurpay calls, and the kind of each callback.
_CALLBACK_FIELDS: Final[tuple[tuple[str, Literal["paid", "timeout"]], ...]] = (
    ("callback_url", "paid"),
    ("timeout_callback", "timeout"),
)


async def with_reference(
    order: _Order, keys: tuple[Secret, ...], attempt_id: str | None = None
) -> _Order:
    """Call `sign_reference`, importing its dependencies off the event loop."""
    if keys and _SIGNING not in sys.modules:
        import asyncio

        await asyncio.to_thread(import_module, _SIGNING)
    try:
        return sign_reference(order, keys, attempt_id)
    except InvalidRequestError as error:
        raise without_traceback(error) from None


def sign_reference(
    order: _Order, keys: tuple[Secret, ...], attempt_id: str | None = None
) -> _Order:
    """Add an attempt id to `order`, and its reference to its callback URLs.

    Args:
        order: The order to create.
        keys: The first one signs.
        attempt_id: The id of this attempt; without it, a random one.

    Raises:
        InvalidRequestError: naming the field if its URL gets too long, or has such a
            parameter already; or if there is no key to sign with.
    """
    if order.reference is None:
        return order
    if not keys:
        raise InvalidRequestError(
            "there is no key to sign it with",
            field="reference",
            hint="create the client with reference_key=...",
        )
    from ..callbacks._reference import Reference, ReferenceSigner, new_attempt_id

    signer, attempt_id = ReferenceSigner(keys), attempt_id or new_attempt_id()
    changes: dict[str, Any] = {"attempt_id": attempt_id}
    for field, kind in _CALLBACK_FIELDS:
        url: str | None = getattr(order, field)
        if url is not None:
            reference = Reference(
                reference=order.reference,
                price=order.price,
                currency=order.currency,
                kind=kind,
                attempt_id=attempt_id,
            )
            changes[field] = _attach(signer, field, url, reference)
    return attrs.evolve(order, **changes)


def _attach(signer: ReferenceSigner, field: str, url: str, reference: Reference) -> str:
    try:
        return signer.attach(url, reference)
    except InvalidRequestError as error:
        problem = str(error).removeprefix(f"{error.field}: ")
    raise InvalidRequestError(problem, field=field)


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
        try:
            await self._lazy_transport.open()
            from .._api.orders import build_get_order, parse_get_order

            order = await self._send(
                build_get_order(asked),
                lambda response: parse_get_order(response, asked),
            )
        except AurpayError as error:
            error.order_id = asked
            if getattr(error, "paths", ()) == ("data.order_id",):
                self._seen.is_misrouted = True  # the response is about another order
            raise
        poller = self._pollers.get(asked)
        if poller is not None and poller.on_current_loop:
            poller.update(order)
        return order

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
        from .._api.orders import build_list_orders, parse_list_orders

        return await self._send(build_list_orders(number, rows), parse_list_orders)

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
        from .pagination import iterate

        return iterate(
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
        from .lost_orders import LONGEST_ATTEMPT_S, OrderQuery, find_lost_order

        return await find_lost_order(
            lost if isinstance(lost, OrderQuery) else OrderQuery.of(lost),
            iterate_orders=self.iter_orders,
            get_order=self.get_order,
            known=known,
            attempt_s=max(LONGEST_ATTEMPT_S, self._transport.attempt_s),
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
        try:
            await self._lazy_transport.open()
            from .._api.orders import build_get_refund, parse_get_refund

            return await self._send(
                build_get_refund(asked),
                lambda response: parse_get_refund(response, asked),
            )
        except AurpayError as error:
            error.order_id = asked
            raise

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
        try:
            await self._lazy_transport.open()
            from .._api.orders import build_refund_order, parse_refund_order

            return await self._send(
                build_refund_order(asked),
                lambda response: parse_refund_order(response, asked),
            )
        except AurpayError as error:
            error.order_id = asked
            attach_recovery_hint(
                error,
                "it may be refunded: check get_order() and list_transactions() before "
                "you try again",
            )
            raise
