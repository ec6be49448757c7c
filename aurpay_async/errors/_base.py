"""The base class of all errors, the outcome of a request, and formatting."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .._models import NewOrder
    from ..bolt11 import Invoice

#: Bytes of a raw response that an error stores: more than any documented response has
#: (the longest is under 2 KiB), and little enough to log and pickle.
MAX_ERROR_BODY: Final = 16 * 1024

#: Characters of an untrusted string that a message shows.
_MAX_SHOWN: Final = 200


class RequestOutcome(Enum):
    """The outcome of a failed request: whether it may have taken effect at Aurpay."""

    #: Nothing was sent, so nothing was created. Retrying is safe.
    NOT_SENT = "not_sent"
    #: Aurpay rejected the request: nothing was created. A retry is rejected again.
    REJECTED = "rejected"
    #: The request was sent and no usable response was received. Query Aurpay before a
    #: retry.
    UNKNOWN = "unknown"


class AurpayError(Exception):
    """The base class of every error that this SDK raises.

    All of them can be pickled and copied with every field.
    """

    #: Stable identifier for programs; the message is for people and may change.
    code: ClassVar[str] = "aurpay_error"

    #: Whether the request was sent, rejected, or may have taken effect.
    outcome: RequestOutcome = RequestOutcome.NOT_SENT
    #: Number of attempts.
    attempts: int = 0
    #: Whether the same call can be repeated without a duplicate effect.
    retryable: bool = False
    #: Start of the last attempt (aware, UTC); ``None`` if nothing was sent.
    sent_at: datetime | None = None
    #: The order's id, if the response still contained it.
    order_id: str | None = None
    #: The order that the call was to create, if it was such a call.
    new_order: NewOrder | None = None
    #: The decoded invoice that was to be paid, if the call was a withdrawal.
    invoice: Invoice | None = None
    #: A likely cause that was detected: the local clock is wrong. Part of the message.
    diagnosis: str | None = None
    #: What to check before a retry, if money may have been sent. Part of the message.
    advice: str | None = None
    #: Whether the call was to create something or to transfer money; ``None`` if the
    #: error was not raised by a call. The message of such a call ends with `outcome`,
    #: and with the reference and `order_id` if they are known.
    writes: bool | None = None

    @property
    def may_have_succeeded(self) -> bool:
        """Return whether the call may have taken effect at Aurpay despite this error.

        True if `outcome` is ``UNKNOWN`` and the call was no query: query Aurpay before
        you repeat it, or the payer may get two orders and you may pay twice.
        """
        return self.outcome is RequestOutcome.UNKNOWN and self.writes is not False

    def __str__(self) -> str:
        parts = [super().__str__(), self.diagnosis, self.advice]
        if self.writes:
            reference = None if self.new_order is None else self.new_order.reference
            facts = {"reference": reference, "order_id": self.order_id}
            outcome = f"outcome={self.outcome.value}"
            parts.append(outcome + format_facts(facts))
        return "; ".join(part for part in parts if part is not None)

    def __reduce__(self) -> tuple[object, ...]:
        # The default calls the class with `args` alone, and our constructors have
        # required keyword arguments. A cause of another library may not be picklable.
        cause = self.__cause__ if isinstance(self.__cause__, AurpayError) else None
        return _rebuild, (type(self), self.args, self.__dict__.copy(), cause)


def _rebuild(
    cls: type[AurpayError],
    args: tuple[object, ...],
    fields: dict[str, object],
    cause: AurpayError | None,
) -> AurpayError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    error.__cause__ = cause
    return error


def format_facts(facts: Mapping[str, str | None]) -> str:
    """Format facts as `` name=value`` for messages and logs, without unknown ones."""
    known = (f" {name}={shown(fact)}" for name, fact in facts.items() if fact)
    return "".join(known)


def shown(value: object) -> str:
    """Return an untrusted value for a message: short, escaped, strings in quotes."""
    if isinstance(value, str):
        text = str.__str__(value)
        return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")
    if value is None or type(value) in {bool, float}:
        return repr(value)
    if type(value) is int and abs(value) < 10**30:  # a longer one is not readable
        return repr(value)
    # The repr() of any other object may be long, fail, or show a secret.
    return f"<{type(value).__name__}>"
