"""Orders that outlive the process: one live order for each reference, whoever dies.

Needs the extra ``sql`` or ``postgresql``.

.. versionadded:: 0.1.0
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
