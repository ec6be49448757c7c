"""Why a request is not taken for a notification of the platform."""

from __future__ import annotations

from ._base import AurpayError


class CallbackError(AurpayError):
    """A callback was refused, and nothing was done because of it.

    The message tells the operator which check refused it. It never holds what would
    have been right, and is not for whoever sent the request.

    .. versionadded:: 0.1.0
    """

    code = "callback"

    def __init__(self, problem: str, *, rule: str) -> None:
        super().__init__(f"{problem} (rule {rule!r})")
        #: Stable name of the check that refused it.
        self.rule = rule


class CallbackSignatureError(CallbackError):
    """Token or signature are missing, malformed, or not the platform's.

    .. versionadded:: 0.1.0
    """

    code = "callback_signature"


class CallbackStaleError(CallbackError):
    """It was signed too long ago, or in the future.

    .. versionadded:: 0.1.0
    """

    code = "callback_stale"


class ClaimExpiredError(CallbackError):
    """The same notification was handled already, or somebody else is handling it.

    .. versionadded:: 0.1.0
    """

    code = "claim_expired"


class CallbackReferenceError(CallbackError):
    """It was signed for another purpose: another shop, kind, order or price.

    .. versionadded:: 0.1.0
    """

    code = "callback_reference"
