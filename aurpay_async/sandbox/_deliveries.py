"""Callback faults as data: their names, options and meanings.

The same grammar as for faults. The table below is the whole vocabulary; `_postman`
carries it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from ._mishaps import Kind, Mishap, Queue, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The one that waits for an order instead of a callback.
BEFORE_ANSWER: Final = "before-answer"

_TEN_MINUTES: Final = {"seconds": "600"}

KINDS: Final[Mapping[str, Kind]] = {
    "twice": Kind("the same callback again, byte for byte", {"times": "2"}),
    "retry": Kind(
        "signed and sent anew after a pause, until HTTP 200 comes back",
        {"times": "5", "seconds": "1"},
    ),
    "lost": Kind("not sent at all"),
    "late": Kind("sent some time after it was signed", {"seconds": "1"}),
    "stale": Kind("a Date of long ago, signed", _TEN_MINUTES),
    "future": Kind("a Date that is still to come, signed", _TEN_MINUTES),
    "wrong-signature": Kind("signed with another secret"),
    "wrong-token": Kind("another Callback-Token, signed all the same"),
    "no-signature": Kind("without the Signature header"),
    "duplicate-headers": Kind("the Signature header twice, first the right one"),
    "wrong-url": Kind("sent to the signed address with `x=1` added to its query"),
    "added-parameter": Kind(
        "sent to the address with a parameter added to its query; signed is the "
        "address as it is called, or as it was registered",
        {"name": "aurpay_order_id", "signed": "called"},
    ),
    "api-key-only": Kind("an Api-Key in place of Callback-Token, Date and Signature"),
    "unsigned-body": Kind("a POST whose body names another order and amount"),
    "broken-body": Kind("a POST whose body is no JSON"),
    "huge-body": Kind("a POST of two mebibytes"),
    "wrong-method": Kind("a PUT"),
    "both": Kind("right after the order's other callback, both well signed"),
    "at-once": Kind("at the same time as the order's other callback"),
    BEFORE_ANSWER: Kind("the next order is paid before the call that makes it returns"),
}

_CALLBACK_FAULTS: Final = Vocabulary(
    noun="callback fault", find=KINDS.get, hint=f"write one of {', '.join(KINDS)}"
)


@final
class CallbackFaults(Queue[Mishap]):
    """Queued callback faults. Each callback consumes the first one.

    With an empty queue, callbacks are sent normally.

    Example:
        >>> sandbox.callback_faults.push("twice; times=3", "wrong-signature")

    .. versionadded:: 0.1.0
    """

    def __init__(self) -> None:
        super().__init__(_CALLBACK_FAULTS.noun, _CALLBACK_FAULTS.read)

    def take(self, *, before_answer: bool = False) -> Mishap | None:
        """The next one, which is used up; none if that is not one for this moment."""
        if not self._queue:
            return None
        _, mishap = self._queue[0]
        fits = (mishap.name == BEFORE_ANSWER) is before_answer
        return super().take() if fits else None
