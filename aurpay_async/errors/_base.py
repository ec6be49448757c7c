"""The root of the tree, and what all of it shares."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .._models import NewOrder
    from ..bolt11 import Invoice

#: An error keeps this much of a raw answer: more than any documented answer needs
#: (the longest is under 2 KiB), little enough to log, pickle and send around.
MAX_KEPT_BODY: Final = 16 * 1024

#: Characters of outside text that one message shows.
_MAX_SHOWN: Final = 200


class RequestOutcome(Enum):
    """How far a failed request got. Tells whether what it asked for may exist.

    .. versionadded:: 0.1.0
    """

    #: Nothing left this process. Nothing exists; trying again is safe.
    NOT_SENT = "not_sent"
    #: The platform said no. Nothing exists; the same request will be refused again.
    REJECTED = "rejected"
    #: The request left and no trustworthy answer came. Look before trying again.
    UNKNOWN = "unknown"


class AurpayError(Exception):
    """The root of every error that this SDK raises.

    All of them pickle and copy with every field.

    .. versionadded:: 0.1.0
    """

    #: Stable text for programs; the message is for people and may change.
    code: ClassVar[str] = "aurpay_error"

    #: How far the request got.
    outcome: RequestOutcome = RequestOutcome.NOT_SENT
    #: How many attempts were made.
    attempts: int = 0
    #: Whether the very same call may be made again without doing anything twice.
    retryable: bool = False
    #: When the last attempt began (aware, UTC), unless nothing was sent.
    sent_at: datetime | None = None
    #: The order that this is about, where the platform's answer still showed it.
    order_id: str | None = None
    #: What was asked for, if the call was to create an order.
    new_order: NewOrder | None = None
    #: What was to be paid, if the call was to withdraw; decoded.
    invoice: Invoice | None = None
    #: What may be the cause, where that was noticed: a local clock that is wrong. It is
    #: part of the message.
    diagnosis: str | None = None
    #: Where to look before the same is tried again, if money may have moved. It is
    #: part of the message.
    advice: str | None = None
    #: Whether the call was to create something or to move money. Its message then ends
    #: with `outcome`, and with the reference and `order_id` where they are known.
    writes: bool = False

    def __str__(self) -> str:
        parts = [super().__str__(), self.diagnosis, self.advice]
        if self.writes:
            reference = None if self.new_order is None else self.new_order.reference
            facts = {"reference": reference, "order_id": self.order_id}
            outcome = f"outcome={self.outcome.value}"
            parts.append(outcome + format_facts(facts))
        return "; ".join(part for part in parts if part is not None)

    def __reduce__(self) -> tuple[object, ...]:
        # The default calls the class with `args` alone; our constructors want more.
        # A cause of our own goes along; a foreign one might not pickle.
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
    """Format facts for a log line; those that are not known are left out."""
    known = (f" {name}={shown(fact)}" for name, fact in facts.items() if fact)
    return "".join(known)


def shown(value: object) -> str:
    """A value from outside for a message: bounded, escaped; a text in quotes."""
    if isinstance(value, str):
        text = str.__str__(value)
        return ascii(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")
    if value is None or type(value) in {bool, float}:
        return repr(value)
    if type(value) is int and abs(value) < 10**30:  # longer ones say nothing
        return repr(value)
    # No repr() of anything else: it may be long, fail, or show a secret.
    return f"<{type(value).__name__}>"
