"""The simulated Aurpay: the parts of one sandbox without its HTTP server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, final

from ._activity import ActivityFeed
from ._cashier import change_status
from ._checkouts import Checkouts
from ._clocks import SandboxClock
from ._courier import CallbackSender
from ._deadlines import Deadlines
from ._gate import Authenticator
from ._ledger import Ledger
from ._seeds import random_source
from ._state import State
from ._withdrawals import Withdrawals

if TYPE_CHECKING:
    from .._urls import Origin
    from ._answers import Amounts
    from ._asgi import AsgiApp
    from ._settings import Settings


@final
class Simulator:
    """Ledger, clock, faults, callbacks and storage of one sandbox."""

    def __init__(self, settings: Settings) -> None:
        clock, random_bytes = settings.clock, random_source(settings.seed)
        self.clock = clock
        self.amounts: Amounts = settings.amounts
        self.api_key_in_callbacks = settings.api_key_in_callbacks
        self.host_policy = settings.host_policy
        self.state = State(settings.rates)
        self.authenticator = Authenticator(
            api_key=settings.api_key,
            api_token=settings.api_token,
            api_secret=settings.api_secret,
        )
        self.ledger = Ledger(
            settings.rates,
            orders=self.state.orders,
            random_bytes=random_bytes,
            time_to_pay=settings.time_to_pay,
        )
        self.checkouts = Checkouts(
            self.ledger, settings.rates, self.state.checkouts, random_bytes
        )
        self.withdrawals = Withdrawals(self.state.orders, self.state.withdrawals)
        self.activity = ActivityFeed(clock)
        self.callback_sender = CallbackSender(
            settings, self.state.callbacks, self.activity.report_callback
        )
        self.deadlines = Deadlines(
            self.state.orders,
            partial(change_status, self, change="expire"),
            clock,
            is_enabled=settings.speed > 0,
        )
        self._db = settings.db

    def open(self, own_port: int) -> None:
        """Load the stored state, if there is a file, and start callbacks and timeouts.

        Args:
            own_port: The port of the sandbox itself, to which no callback is sent.

        Raises:
            ConfigurationError: if the file cannot be used.
        """
        if self._db is not None:
            own = (self.clock,) if isinstance(self.clock, SandboxClock) else ()
            self.state.open(self._db, *own)
        self.callback_sender.open(own_port)
        self.deadlines.open()

    def deliver_to(self, app: AsgiApp, origin: Origin) -> None:
        """Deliver callbacks to `origin` into an application of this process."""
        self.callback_sender.deliver_to(app, origin)

    async def stop(self) -> None:
        """Stop sending callbacks and timing out orders."""
        await self.callback_sender.close()
        await self.deadlines.close()

    def close(self) -> None:
        """Close the file."""
        self.state.close()
