"""Read a new order back before it is returned, and compare it with the request.

The response to a create has no price. So a response to another request (a proxy that
answers twice, a poisoned response queue, a cache) can pass all other checks and show a
payer the invoice of another cart. Order detail has the price.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .._checks import SKIPPED, check_read_back
from .._http import Timeouts
from .._models import NewOrder
from ..errors import (
    AurpayError,
    InvalidResponseError,
    NotFoundError,
    UntrustedOrderError,
)
from ._calling import BaseClient

if TYPE_CHECKING:
    from datetime import datetime

    from .._http import Response
    from .._lightning_order import LightningOrder
    from .._models import Order

#: Seconds for the read-back, all attempts included. The payer waits for it; after
#: them the order is returned without the check.
READ_BACK_S: Final = 3.0

#: The name of the check, in `LightningOrder.checks` and `UntrustedOrderError.check`.
READ_BACK: Final = "read_back"

#: The path of the order id in a response.
_ORDER_ID: Final = "data.order_id"

_INFO, _WARNING = 20, 30  # as in logging, which is slow to load


class ReadBackMethods(BaseClient):
    """Read new orders back from Aurpay."""

    async def _confirm(self, order: LightningOrder) -> LightningOrder:
        """Compare a new order with Aurpay's order detail before any payer sees it.

        It is not documented whether order detail serves Lightning orders. So an order
        that cannot be read back is returned all the same, and a log line says so.

        Returns:
            The order, with ``"read_back"`` in its `checks` if the check was made.

        Raises:
            UntrustedOrderError: the response is about another order, or has another
                price, currency or amount, or the status paid or overdue.
        """
        began = self._clock.now()
        try:
            response, known = await self._read_order(order.order_id)
        except AurpayError as error:
            if isinstance(error, InvalidResponseError) and _ORDER_ID in error.paths:
                # The id is documented (page "Get Orders Details"), so this is the
                # response to another request.
                no_id = "the response to its read-back has no order id"
                raise self._untrusted(order, no_id, error, began) from None
            # Order detail may serve no Lightning orders: then each one would warn.
            level = _INFO if isinstance(error, NotFoundError) else _WARNING
            _log(level, f"was not read back ({error.code})", order)
            return order
        except BaseException:
            _log(_WARNING, "was created, and its read-back was cancelled", order)
            raise
        problem = check_read_back(order, known)
        if problem is None:
            return attrs.evolve(order, checks=(*order.checks, READ_BACK))
        if problem is SKIPPED:
            _log(_INFO, "was not read back (order detail has no price)", order)
            return order
        raise self._untrusted(order, problem, response, began)

    async def _read_order(self, order_id: str) -> tuple[Response, Order]:
        """Return Aurpay's order detail, within `READ_BACK_S`."""
        from .._protocol import build_get_order, read_order

        limits = Timeouts(
            connect=READ_BACK_S,
            attempt=min(READ_BACK_S, self._transport.attempt_s),
            call=min(READ_BACK_S, self._transport.call_s),
        )
        return await self._send_through(
            self._transport.with_options(limits, None),
            build_get_order(order_id),
            lambda response: (response, read_order(response)),
        )

    def _untrusted(
        self,
        order: LightningOrder,
        problem: str,
        response: Response | InvalidResponseError,
        sent_at: datetime,
    ) -> UntrustedOrderError:
        """Return the error for an order that no payer must see."""
        self._seen.is_misrouted = True
        self._lazy_transport.renew()
        _log(_WARNING, f"is withheld: {problem}", order)
        error = UntrustedOrderError(
            problem,
            check=READ_BACK,
            order_id=order.order_id,
            status=response.status,
            body=response.body,
        )
        error.attempts, error.sent_at = response.attempts, sent_at
        error.writes = True
        error.new_order = NewOrder(
            order.price,
            order.currency,
            reference=order.reference,
            attempt_id=order.attempt_id,
        )
        return error


def _log(level: int, message: str, order: LightningOrder) -> None:
    import logging

    logging.getLogger("aurpay_async.client").log(
        level,
        "order %s: order_id=%s reference=%a attempt_id=%s",
        message,
        order.order_id,
        order.reference,
        order.attempt_id,
    )
