"""Orders in a database: one payable order for each reference, also after a crash.

Needs the extra ``sql`` or ``postgresql``.
"""

from __future__ import annotations

from ._models import (
    Attempt,
    AttemptState,
    Change,
    Failure,
    Health,
    OnChange,
    OrderUpdate,
    Reconciliation,
    may_retry,
)
from ._reconcile import upgrade
from ._store import OrderStore

__all__ = [
    "Attempt",
    "AttemptState",
    "Change",
    "Failure",
    "Health",
    "OnChange",
    "OrderStore",
    "OrderUpdate",
    "Reconciliation",
    "may_retry",
    "upgrade",
]
