"""Errors of callbacks that were rejected."""

from __future__ import annotations

from ._base import AurpayError


class CallbackError(AurpayError):
    """A callback was rejected, and the handler was not called.

    The message tells the operator which check failed. It never contains the expected
    value. Do not send it to the client that made the request.
    """

    code = "callback"

    def __init__(self, problem: str, *, rule: str) -> None:
        super().__init__(f"{problem} (rule {rule!r})")
        #: Stable name of the check that failed.
        self.rule = rule


class CallbackSignatureError(CallbackError):
    """Token or signature are missing, malformed, or not Aurpay's."""

    code = "callback_signature"


class CallbackStaleError(CallbackError):
    """The callback was signed too long ago, or in the future."""

    code = "callback_stale"


class ClaimExpiredError(CallbackError):
    """The lease of a claim ran out: another process may handle the notification."""

    code = "claim_expired"


class CallbackReferenceError(CallbackError):
    """The reference token belongs to another shop, callback kind, order or price."""

    code = "callback_reference"
