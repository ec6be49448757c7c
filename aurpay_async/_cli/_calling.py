"""A client for requests that create orders or move money, with a report on Ctrl-C."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from .._client import AurpayClient
from .._events import CallEvent
from ..errors import RequestOutcome
from ._advice import LOOK_FOR_MONEY, LOOK_FOR_ORDER
from ._failures import show_failure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .._events import Event
    from ._screen import Output

_CREATING: Final = frozenset({"create_order", "create_payment"})
_TRANSFERRING: Final = frozenset({"refund_order", "withdraw_lightning"})


@asynccontextmanager
async def open_client(output: Output) -> AsyncGenerator[AurpayClient, None]:
    """Open a client configured by the environment.

    If Ctrl-C interrupts it after a request was sent, report what may have happened.
    """
    events: list[Event] = []
    async with AurpayClient.from_env(on_event=events.append) as aurpay:
        try:
            yield aurpay
        except asyncio.CancelledError:
            _warn(output, events)
            raise


def _warn(output: Output, events: list[Event]) -> None:
    unknown = {
        event.operation
        for event in events
        if isinstance(event, CallEvent) and event.outcome is RequestOutcome.UNKNOWN
    }
    if _CREATING & unknown:
        show_failure(
            output,
            "interrupted",
            "interrupted after the request was sent: an order may exist",
            f"{LOOK_FOR_ORDER} list",
            may_exist=True,
        )
    if _TRANSFERRING & unknown:
        show_failure(
            output,
            "interrupted",
            "interrupted after the request was sent: money may have moved",
            f"{LOOK_FOR_MONEY} tx list",
            may_be_paid=True,
        )
