"""Change the status of an order, and send the callback that is documented for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._letters import has_callback_url
from ._postman import deliver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._bank import Simulator
    from ._courier import SentCallback
    from ._ledger import StatusChange
    from ._letters import CallbackKind
    from ._mishaps import FaultSpec

#: Aurpay documents no callback for an underpayment or a refund.
_CALLBACKS: Final[Mapping[StatusChange, CallbackKind]] = {
    "pay": "paid",
    "expire": "timeout",
}


async def change_status(
    simulator: Simulator,
    order_id: str,
    change: StatusChange,
    fault: FaultSpec | None = None,
) -> list[SentCallback]:
    """Change the status of an order, and return the attempts to deliver its callback.

    Args:
        simulator: The sandbox.
        order_id: The order.
        change: The change.
        fault: The fault of the callback. ``None`` takes the next one of the queue.

    Raises:
        InvalidRequestError: if there is no such order, or its status forbids the
            change.
    """
    order = simulator.ledger.change_status(order_id, change, simulator.clock.now())
    kind = _CALLBACKS.get(change)
    if kind is None or not has_callback_url(order, kind):
        return []
    fault = fault or simulator.state.callback_faults.take()
    return await deliver(simulator.callback_sender, order, kind, fault)


async def pay_before_response(simulator: Simulator, order_id: str) -> None:
    """Pay a new order before its create call is answered, if a fault asks for it."""
    fault = simulator.state.callback_faults.take(before_answer=True)
    if fault is not None:
        await change_status(simulator, order_id, "pay", fault)
