"""What is answered, and what is logged: the reply gives no reason, the log does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, final

import attrs

from ..errors import shown
from ._failures import is_exit, is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..errors import CallbackError
    from ._event import CallbackEvent

#: Seconds after which a callback that cannot be processed now may be delivered again.
RETRY_AFTER: Final = {"Retry-After": "5"}


@attrs.frozen
class Reply:
    """What to answer. It tells a forger nothing.

    .. versionadded:: 0.1.0
    """

    #: HTTP status.
    status: int
    #: The body, plain text.
    text: str
    #: For the merchant's own logs and tests: what happened.
    outcome: str
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


NOT_YET: Final = Reply(503, "not yet\n", "not_yet", RETRY_AFTER)

#: The replies to rejections that are not a 401, by their rule.
_REPLIES: Final[Mapping[str, Reply]] = {
    "method": Reply(405, "GET or POST\n", "method", {"Allow": "GET, POST"}),
    "move": Reply(409, "refused\n", "move"),
    "too_large": Reply(413, "too large\n", "too_large"),
}


@final
class RejectionLog:
    """Logs to ``aurpay_async.callbacks``, and calls the merchant's hook.

    What it logs at WARNING and ERROR is visible in a program that sets up no logging.
    """

    def __init__(
        self, hook: Callable[[BaseException, CallbackEvent | None], None] | None
    ) -> None:
        self._hook = hook

    def reject(
        self,
        error: CallbackError,
        event: CallbackEvent | None = None,
        *,
        reference: str | None = None,
        url: str | None = None,
    ) -> Reply:
        """Log why a request is not taken for a callback, and return the reply.

        Args:
            error: The reason.
            event: The callback, if it is genuine.
            reference: The merchant's id of what is paid, if it is known.
            url: What was called, without its query.
        """
        # A wrong method is a scanner's, and tells nothing of callbacks that fail.
        level = logging.DEBUG if error.rule == "method" else logging.WARNING
        where = "" if url is None else f"; url={shown(url)}"
        about = _about(reference)
        _logger().log(level, "callback rejected: %s%s%s", error, where, about)
        self._call_hook(error, event)
        default = Reply(401, "refused\n", error.rule)
        return _REPLIES.get(error.rule, default)

    def postpone(
        self, error: BaseException, event: CallbackEvent | None, reference: str | None
    ) -> Reply:
        """Log why a callback is not processed now, and return the reply: call again."""
        message = "callback not processed, answered with 503: %s: %s%s"
        # The first line: SQLAlchemy adds the statement and its parameters below.
        problem = str(error).partition("\n")[0]
        name = type(error).__name__
        _logger().warning(message, name, problem, _about(reference))
        self._call_hook(error, event)
        return NOT_YET

    def fail(
        self, error: BaseException, event: CallbackEvent | None, reference: str | None
    ) -> Reply:
        """Log an exception of the merchant's code or inbox, and return the reply."""
        if is_temporary(error):
            return self.postpone(error, event, reference)
        message = "callback not processed, answered with 500%s"
        _logger().error(message, _about(reference), exc_info=error)
        self._call_hook(error, event)
        return Reply(500, "failed\n", "failed")

    def _call_hook(self, error: BaseException, event: CallbackEvent | None) -> None:
        if self._hook is None:
            return
        try:
            self._hook(error, event)
        except BaseException as broken:
            if is_exit(broken):
                raise
            _logger().error("on_rejected raised", exc_info=broken)


def _about(reference: str | None) -> str:
    return "" if reference is None else f"; reference={shown(reference)}"


def _logger() -> logging.Logger:
    return logging.getLogger("aurpay_async.callbacks")
