"""Callbacks (webhooks) of Aurpay: verify, confirm, and handle each exactly once."""

from __future__ import annotations

from ._identity import Claim, Handled, InboxStore, Kind, MemoryInbox, Reference, Taken
from ._notifications import (
    ConfirmedNotification,
    KnownOrder,
    Notification,
    OrderReader,
    Outcome,
    Reply,
    UnconfirmedNotification,
)
from ._processor import CallbackProcessor
from ._verifier import MAX_BODY, CallbackEvent, CallbackVerifier, OrderHint

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
