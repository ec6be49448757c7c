"""Callback faults as data: their names, options and meanings.

`_postman` and `_letters` apply them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from ._mishaps import FaultQueue, FaultRegistry, FaultSpec, FaultType

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The fault that applies to the next created order instead of the next callback.
BEFORE_ANSWER: Final = "before-answer"

_TEN_MINUTES: Final = {"seconds": "600"}

CALLBACK_FAULTS: Final[Mapping[str, FaultType]] = {
    "twice": FaultType("sent several times, byte for byte the same", {"times": "2"}),
    "retry": FaultType(
        "signed and sent again after a pause, until the shop answers with HTTP 200",
        {"times": "5", "seconds": "1"},
    ),
    "lost": FaultType("not sent"),
    "late": FaultType("sent some time after it was signed", {"seconds": "1"}),
    "stale": FaultType("signed with a Date in the past", _TEN_MINUTES),
    "future": FaultType("signed with a Date in the future", _TEN_MINUTES),
    "wrong-signature": FaultType("signed with another secret"),
    "wrong-token": FaultType("with another Callback-Token, and a valid signature"),
    "no-signature": FaultType("without the Signature header"),
    "duplicate-headers": FaultType(
        "with two Signature headers, of which the first is valid"
    ),
    "wrong-url": FaultType("sent to the signed URL with `x=1` added to its query"),
    "added-parameter": FaultType(
        "sent with a parameter added to the query; the signature covers the called "
        "URL, or the registered one",
        {"name": "aurpay_order_id", "signed": "called"},
    ),
    "api-key-only": FaultType(
        "with an Api-Key instead of Callback-Token, Date and Signature"
    ),
    "unsigned-body": FaultType("a POST with another order and amount in its body"),
    "broken-body": FaultType("a POST with a body that is not JSON"),
    "huge-body": FaultType("a POST of 2 MiB"),
    "wrong-method": FaultType("a PUT"),
    "both": FaultType(
        "right after the order's other callback, both with valid signatures"
    ),
    "at-once": FaultType("at the same time as the order's other callback"),
    BEFORE_ANSWER: FaultType(
        "the next order is paid before its create call is answered"
    ),
}

_CALLBACK_FAULT_REGISTRY: Final = FaultRegistry(
    noun="callback fault",
    find=CALLBACK_FAULTS.get,
    hint=f"use one of {', '.join(CALLBACK_FAULTS)}",
)


@final
class CallbackFaults(FaultQueue[FaultSpec]):
    """Queued callback faults. Each callback consumes the first one.

    With an empty queue, callbacks are sent normally.

    Example:
        >>> sandbox.callback_faults.push("twice; times=3", "wrong-signature")
    """

    def __init__(self) -> None:
        super().__init__(_CALLBACK_FAULT_REGISTRY.noun, _CALLBACK_FAULT_REGISTRY.parse)

    def take(self, *, before_answer: bool = False) -> FaultSpec | None:
        """Remove and return the next fault, if it applies at this moment.

        Args:
            before_answer: Whether an order was created and is not answered yet.
        """
        if not self._queue:
            return None
        _, fault = self._queue[0]
        applies = (fault.name == BEFORE_ANSWER) is before_answer
        return super().take() if applies else None
