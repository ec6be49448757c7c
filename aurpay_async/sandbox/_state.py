"""All that a sandbox remembers, in one place; with a file, beyond its own end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ._checkouts import Checkout
from ._courier import SentCallback
from ._deliveries import CallbackFaults
from ._faults import Faults
from ._gate import ReceivedRequest
from ._kept import Log, Table
from ._orders import SandboxOrder
from ._transactions import SandboxWithdrawal

if TYPE_CHECKING:
    from ._journal import Journal
    from ._kept import Kept
    from ._rates import Rates


class State:
    """What there is, and what has happened."""

    def __init__(self, rates: Rates) -> None:
        self.orders = Table("order", SandboxOrder)
        self.checkouts = Table("checkout", Checkout)
        self.withdrawals = Table("withdrawal", SandboxWithdrawal)
        self.requests = Log("request", ReceivedRequest)
        #: The attempts to deliver, in the order in which they ended.
        self.callbacks = Log("callback", SentCallback)
        self.faults = Faults()
        self.callback_faults = CallbackFaults()
        self.rates = rates
        self._journal: Journal | None = None

    def open(self, path: str, *others: Kept) -> None:
        """Take over what a file has, and keep everything there from now on.

        Raises:
            ConfigurationError: if the file is in use, or cannot be read.
        """
        # Here and not above: SQLite is for those who want a file.
        from ._journal import Journal

        if self._journal is not None:
            raise ConfigurationError(
                "a sandbox with a file is opened once; make another one for the file"
            )
        parts: tuple[Kept, ...] = (
            *(self.orders, self.checkouts, self.withdrawals),
            *(self.requests, self.callbacks),
            *(self.faults, self.callback_faults, self.rates),
        )
        self._journal = Journal.open(path)
        try:
            for part in (*parts, *others):
                part.keep(self._journal)
        except ValueError as error:
            self.close()
            raise ConfigurationError(
                f"the file holds something that this version cannot read: {error}"
            ) from None

    def close(self) -> None:
        """Let go of the file. What is remembered stays readable."""
        if self._journal is not None:
            self._journal.close()
