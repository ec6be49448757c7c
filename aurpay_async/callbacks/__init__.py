"""Callbacks (webhooks) of Aurpay: verify, confirm, and handle each exactly once."""

from __future__ import annotations

from ._dispatch import CallbackProcessor
from ._event import CallbackEvent
from ._hint import MAX_BODY, OrderHint
from ._notice import (
    ConfirmedNotification,
    KnownOrder,
    Notification,
    OrderReader,
    Outcome,
    UnconfirmedNotification,
)
from ._reference import Reference
from ._replay import Claim, Handled, InboxStore, Kind, MemoryInbox, Taken
from ._reply import Reply
from ._verify import CallbackVerifier

__all__ = [
    "MAX_BODY",
    "CallbackEvent",
    "CallbackProcessor",
    "CallbackVerifier",
    "Claim",
    "ConfirmedNotification",
    "Handled",
    "InboxStore",
    "Kind",
    "KnownOrder",
    "MemoryInbox",
    "Notification",
    "OrderHint",
    "OrderReader",
    "Outcome",
    "Reference",
    "Reply",
    "Taken",
    "UnconfirmedNotification",
]
