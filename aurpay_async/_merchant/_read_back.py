"""Read a new order back before it is given: does Aurpay have what was asked for?

The answer to a create holds no price. So an answer that belongs to another request (a
proxy that answers twice, a poisoned response queue, a cache) can pass all other checks
and show a payer the invoice of another cart. Order detail has the price.
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
from ._calling import Calling

if TYPE_CHECKING:
    from datetime import datetime

    from .._http import Response
    from .._lightning_order import LightningOrder
    from .._models import Order

#: Seconds for the read-back, all attempts included. A payer waits for it; when they
#: are over, the order is given without the check.
READ_BACK_S: Final = 3.0

#: The name of the check, in `LightningOrder.checks` and `UntrustedOrderError.check`.
READ_BACK: Final = "read_back"

#: Where an answer names its order.
_ORDER_ID: Final = "data.order_id"

_INFO, _WARNING = 20, 30  # those of logging, which is slow to load


class ReadingBack(Calling):
    """Read new orders back."""

    async def _confirm(self, order: LightningOrder) -> LightningOrder:
        """Compare a new order with what Aurpay has, before any payer sees it.

        It is not documented whether order detail serves Lightning orders. So an order
        that cannot be read back is given all the same, and the log says so.

        Returns:
            The order, with ``"read_back"`` in its `checks` if the check was made.

        Raises:
            UntrustedOrderError: Aurpay's answer is about another order, has another
                price, currency or amount for it, or has it as paid or overdue already.
        """
        began = self._clock.now()
        try:
            response, known = await self._read_order(order.order_id)
        except AurpayError as error:
            if isinstance(error, InvalidResponseError) and _ORDER_ID in error.paths:
                # Order detail is documented to have one (page "Get Orders Details"):
                # this is the answer to another request.
                nameless = "the answer about it names no order"
                raise self._rejected(order, nameless, error, began) from None
            # Aurpay may serve no Lightning order there: then each order would warn.
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
        raise self._rejected(order, problem, response, began)

    async def _read_order(self, order_id: str) -> tuple[Response, Order]:
        """Return what Aurpay answers about an order, within a limit of its own."""
        from .._protocol import build_get_order, read_order

        limits = Timeouts(
            connect=READ_BACK_S,
            attempt=min(READ_BACK_S, self._transport.attempt_s),
            call=min(READ_BACK_S, self._transport.call_s),
        )
        return await self._call_within(
            self._transport.with_options(limits, None),
            build_get_order(order_id),
            lambda response: (response, read_order(response)),
        )

    def _rejected(
        self,
        order: LightningOrder,
        problem: str,
        answer: Response | InvalidResponseError,
        sent_at: datetime,
    ) -> UntrustedOrderError:
        """Return the error for an order that must not be shown."""
        self._seen.is_misrouted = True
        self._pool.renew()
        _log(_WARNING, f"is not shown: {problem}", order)
        error = UntrustedOrderError(
            problem,
            check=READ_BACK,
            order_id=order.order_id,
            status=answer.status,
            body=answer.body,
        )
        error.attempts, error.sent_at = answer.attempts, sent_at
        error.writes = True
        error.new_order = NewOrder(
            order.price,
            order.currency,
            reference=order.reference,
            attempt_id=order.attempt_id,
        )
        return error


def _log(level: int, what: str, order: LightningOrder) -> None:
    import logging

    logging.getLogger("aurpay_async.client").log(
        level,
        "order %s: order_id=%s reference=%a attempt_id=%s",
        what,
        order.order_id,
        order.reference,
        order.attempt_id,
    )
