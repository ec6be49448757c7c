"""Callbacks of the platform: authenticated, counted once, confirmed.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from ._dispatch import Dispatcher
from ._event import CallbackEvent
from ._hint import MAX_BODY, OrderHint
from ._notice import (
    ConfirmedNotice,
    KnownOrder,
    Notice,
    OrderReader,
    Outcome,
    UnconfirmedNotice,
)
from ._reference import Reference
from ._replay import Claim, Handled, Kind, MemoryReplayStore, ReplayStore, Taken
from ._reply import Reply
from ._verify import CallbackVerifier

__all__ = [
    "MAX_BODY",
    "CallbackEvent",
    "CallbackVerifier",
    "Claim",
    "ConfirmedNotice",
    "Dispatcher",
    "Handled",
    "Kind",
    "KnownOrder",
    "MemoryReplayStore",
    "Notice",
    "OrderHint",
    "OrderReader",
    "Outcome",
    "Reference",
    "ReplayStore",
    "Reply",
    "Taken",
    "UnconfirmedNotice",
]
