"""A client for calls that change something: who interrupts them hears what is left."""

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
    from ._screen import Screen

#: What these may have made, or moved.
_ORDERS: Final = frozenset({"create_order", "create_payment"})
_MONEY: Final = frozenset({"refund_order", "withdraw_lightning"})


@asynccontextmanager
async def open_client(screen: Screen) -> AsyncGenerator[AurpayClient, None]:
    """A client of the environment. Ctrl-C says what may have happened by then."""
    left: list[CallEvent] = []

    def note(event: Event) -> None:
        if isinstance(event, CallEvent) and event.outcome is RequestOutcome.UNKNOWN:
            left.append(event)

    async with AurpayClient.from_env(on_event=note) as aurpay:
        try:
            yield aurpay
        except asyncio.CancelledError:
            _warn(screen, {event.operation for event in left})
            raise


def _warn(screen: Screen, left: set[str]) -> None:
    if _ORDERS & left:
        show_failure(
            screen,
            "interrupted",
            "interrupted after the request had left: an order may exist",
            f"{LOOK_FOR_ORDER} list",
            may_exist=True,
        )
    if _MONEY & left:
        show_failure(
            screen,
            "interrupted",
            "interrupted after the request had left: money may have moved",
            f"{LOOK_FOR_MONEY} tx list",
            may_be_paid=True,
        )
