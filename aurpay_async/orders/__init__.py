"""Orders in a database: one payable order for each reference, also after a crash.

Needs the extra ``sql`` or ``postgresql``.
"""

from __future__ import annotations

from ._records import Attempt, Change, Failure, OnChange, OrderUpdate, Reconciliation
from ._states import AttemptState
from ._store import OrderStore
from ._upgrading import upgrade

__all__ = [
    "Attempt",
    "AttemptState",
    "Change",
    "Failure",
    "OnChange",
    "OrderStore",
    "OrderUpdate",
    "Reconciliation",
    "upgrade",
]
