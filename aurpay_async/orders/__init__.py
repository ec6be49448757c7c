"""Orders that outlive the process: one live order for each reference, whoever dies.

Needs the extra ``sql`` or ``postgresql``.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from ._book import OrderBook
from ._records import Attempt, Change, Failure, News, OnChange, Reconciliation
from ._states import AttemptState
from ._upgrading import upgrade

__all__ = [
    "Attempt",
    "AttemptState",
    "Change",
    "Failure",
    "News",
    "OnChange",
    "OrderBook",
    "Reconciliation",
    "upgrade",
]
