"""The parts of one sandbox, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from ._activity import ActivityFeed
from ._cashier import Cashier
from ._checkouts import Checkouts
from ._clocks import SandboxClock
from ._courier import Courier
from ._deadlines import Deadlines
from ._gate import Gate
from ._ledger import Ledger
from ._letters import Writer
from ._seeds import drawing
from ._state import State
from ._withdrawals import Withdrawals

if TYPE_CHECKING:
    from .._urls import Origin
    from ._answers import Amounts
    from ._asgi import AsgiApp
    from ._settings import Settings


@final
class Bank:
    """Everything but its HTTP."""

    def __init__(self, settings: Settings) -> None:
        clock, draw = settings.clock, drawing(settings.seed)
        self.clock = clock
        self.amounts: Amounts = settings.amounts
        self.api_key_in_callbacks = settings.api_key_in_callbacks
        self.reach = settings.reach
        self.state = State(settings.rates)
        self.gate = Gate(
            api_key=settings.api_key,
            api_token=settings.api_token,
            api_secret=settings.api_secret,
        )
        self.ledger = Ledger(
            settings.rates,
            orders=self.state.orders,
            draw=draw,
            life=settings.order_life,
        )
        self.checkouts = Checkouts(
            self.ledger, settings.rates, self.state.checkouts, draw
        )
        self.withdrawals = Withdrawals(self.state.orders, self.state.withdrawals)
        self._writer = Writer(
            token=settings.callback_token,
            secret=settings.callback_secret,
            posts=settings.post_callbacks,
        )
        self.activity = ActivityFeed(clock)
        self._courier = Courier(
            clock, self.reach, self.state.callbacks, self.activity.report_callback
        )
        self.cashier = Cashier(
            self.ledger, self._writer, self._courier, clock, self.state.callback_faults
        )
        self.deadlines = Deadlines(
            self.state.orders, self.cashier, clock, count=settings.speed > 0
        )
        self._db = settings.db

    def open(self, own_port: int) -> None:
        """Take over what the file has, if there is one, and begin.

        Args:
            own_port: Where the sandbox listens, and where no callback goes.

        Raises:
            ConfigurationError: if the file cannot be used.
        """
        if self._db is not None:
            own = (self.clock,) if isinstance(self.clock, SandboxClock) else ()
            self.state.open(self._db, *own)
        self._courier.open(own_port)
        self.deadlines.open()

    def deliver_to(self, app: AsgiApp, origin: Origin) -> None:
        """Deliver callbacks to `origin` into an application of this process."""
        self._courier.deliver_to(app, origin)

    async def stop(self) -> None:
        """Deliver nothing more, and let nothing time out."""
        await self._courier.close()
        await self.deadlines.close()

    def close(self) -> None:
        """Let go of the file."""
        self.state.close()
