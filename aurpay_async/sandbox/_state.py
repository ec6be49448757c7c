"""The state of a sandbox, in memory or stored in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ._checkouts import Checkout
from ._courier import SentCallback
from ._deliveries import CallbackFaults
from ._faults import Faults
from ._gate import ReceivedRequest
from ._kept import PersistentDict, PersistentList
from ._orders import SandboxOrder
from ._transactions import SandboxWithdrawal

if TYPE_CHECKING:
    from ._journal import SqliteStorage
    from ._kept import Persistent
    from ._rates import Rates


class State:
    """Orders, requests, callbacks, faults and rates of one sandbox."""

    def __init__(self, rates: Rates) -> None:
        self.orders = PersistentDict("order", SandboxOrder)
        self.checkouts = PersistentDict("checkout", Checkout)
        self.withdrawals = PersistentDict("withdrawal", SandboxWithdrawal)
        self.requests = PersistentList("request", ReceivedRequest)
        #: The attempts to deliver callbacks, in the order in which they ended.
        self.callbacks = PersistentList("callback", SentCallback)
        self.faults = Faults()
        self.callback_faults = CallbackFaults()
        self.rates = rates
        self._storage: SqliteStorage | None = None

    def open(self, path: str, *others: Persistent) -> None:
        """Load the state from a file, and store each change there from now on.

        Args:
            path: The file.
            others: Further state to load and store.

        Raises:
            ConfigurationError: if the file is in use, or cannot be read.
        """
        # Imported here because only a sandbox with a file needs SQLite.
        from ._journal import SqliteStorage

        if self._storage is not None:
            raise ConfigurationError(
                "a sandbox with a file opens once; create another Sandbox for the file"
            )
        parts: tuple[Persistent, ...] = (
            *(self.orders, self.checkouts, self.withdrawals),
            *(self.requests, self.callbacks),
            *(self.faults, self.callback_faults, self.rates),
        )
        self._storage = SqliteStorage.open(path)
        try:
            for part in (*parts, *others):
                part.attach(self._storage)
        except ValueError as error:
            self.close()
            raise ConfigurationError(
                f"the file contains a value that this version cannot read: {error}"
            ) from None

    def close(self) -> None:
        """Close the file. The state stays readable."""
        if self._storage is not None:
            self._storage.close()
