"""Replies and log records of callbacks: the reply states no reason, the log does."""

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
    """The response to a callback. It gives a forger no information."""

    #: HTTP status.
    status: int
    #: The body, plain text.
    text: str
    #: The outcome, for the merchant's logs and tests.
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

    Records at WARNING and ERROR are visible in a program that configures no logging.
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
        """Log why a request is rejected, and return the reply.

        Args:
            error: The reason.
            event: The callback, if it is genuine.
            reference: The merchant's own id of the order, if it is known.
            url: The URL that was called, without its query.
        """
        # Scanners send other methods: such a request says nothing about callbacks.
        level = logging.DEBUG if error.rule == "method" else logging.WARNING
        suffix = "" if url is None else f"; url={shown(url)}"
        suffix += _reference_suffix(reference)
        _logger().log(level, "callback rejected: %s%s", error, suffix)
        self._call_hook(error, event)
        default = Reply(401, "refused\n", error.rule)
        return _REPLIES.get(error.rule, default)

    def postpone(
        self, error: BaseException, event: CallbackEvent | None, reference: str | None
    ) -> Reply:
        """Log why a callback is not processed now, and return a 503."""
        message = "callback not processed, answered with 503: %s: %s%s"
        # Only the first line: SQLAlchemy appends the statement and its parameters.
        problem = str(error).partition("\n")[0]
        name = type(error).__name__
        _logger().warning(message, name, problem, _reference_suffix(reference))
        self._call_hook(error, event)
        return NOT_YET

    def fail(
        self, error: BaseException, event: CallbackEvent | None, reference: str | None
    ) -> Reply:
        """Log an exception of the merchant's code or inbox, and return a 500 or 503."""
        if is_temporary(error):
            return self.postpone(error, event, reference)
        message = "callback not processed, answered with 500%s"
        _logger().error(message, _reference_suffix(reference), exc_info=error)
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


def _reference_suffix(reference: str | None) -> str:
    return "" if reference is None else f"; reference={shown(reference)}"


def _logger() -> logging.Logger:
    return logging.getLogger("aurpay_async.callbacks")
