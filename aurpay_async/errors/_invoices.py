"""Why a text is no invoice that may be paid."""

from __future__ import annotations

from ._base import AurpayError


class InvoiceError(AurpayError):
    """A text is no invoice that may be paid.

    .. versionadded:: 0.1.0
    """

    code = "invoice"


class InvoiceDecodeError(InvoiceError):
    """The text cannot be read as a BOLT #11 invoice.

    .. versionadded:: 0.1.0
    """

    code = "invoice_decode"

    def __init__(self, problem: str, *, position: int) -> None:
        super().__init__(f"{problem} (at character {position})")
        #: Index of the character, in the text as given, where reading ended.
        self.position = position


class InvoiceInvalidError(InvoiceError):
    """The invoice can be read, but breaks a rule.

    .. versionadded:: 0.1.0
    """

    code = "invoice_invalid"

    def __init__(self, problem: str, *, rule: str) -> None:
        super().__init__(f"{problem} (rule {rule!r})")
        #: Stable name of the rule that is broken.
        self.rule = rule
