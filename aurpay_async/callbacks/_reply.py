"""What is answered, and who hears why: the answer says nothing, the log says all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, final

import attrs

from ..errors import CallbackError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._verify import CallbackEvent

#: Whoever fails so has not even tried to look like the platform.
_STRAY: Final = frozenset({"unsigned", "method"})


@attrs.frozen
class Reply:
    """What to answer. Says nothing that helps who is not the platform.

    .. versionadded:: 0.1.0
    """

    #: HTTP status.
    status: int
    #: The body, plain text.
    text: str
    #: For the shop's own logs and tests: what happened.
    outcome: str
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


@final
class Reporter:
    """Tells the log of ``aurpay_async.callbacks``, and a hook of the shop."""

    def __init__(
        self, hook: Callable[[BaseException, CallbackEvent | None], None] | None
    ) -> None:
        self._hook = hook

    def refuse(self, error: CallbackError, event: CallbackEvent | None = None) -> Reply:
        """What to answer to what is not to be believed."""
        self.tell(error, event)
        if error.rule == "method":
            return Reply(405, "GET or POST\n", error.rule, {"Allow": "GET, POST"})
        if error.rule == "move":
            return Reply(409, "refused\n", error.rule)
        return Reply(401, "refused\n", error.rule)

    def tell(self, error: BaseException, event: CallbackEvent | None) -> None:
        """A request was not taken for a payment."""
        # Scanners and link previews call anything; they sign nothing.
        stray = isinstance(error, CallbackError) and error.rule in _STRAY
        level = logging.DEBUG if stray else logging.WARNING
        message = "a callback%s was not taken: %s"
        _logger().log(level, message, _about(event), error)
        self._call_hook(error, event)

    def failed(self, error: BaseException, event: CallbackEvent | None) -> None:
        """The shop's own code, or its database."""
        message = "a callback%s could not be handled"
        _logger().error(message, _about(event), exc_info=error)
        self._call_hook(error, event)

    def _call_hook(self, error: BaseException, event: CallbackEvent | None) -> None:
        if self._hook is None:
            return
        try:
            self._hook(error, event)
        except Exception as broken:  # noqa: BLE001 - a listener disturbs nothing
            _logger().error("on_refused failed", exc_info=broken)


def _about(event: CallbackEvent | None) -> str:
    return "" if event is None else f" for {shown(event.reference)}"


def _logger() -> logging.Logger:
    return logging.getLogger("aurpay_async.callbacks")
