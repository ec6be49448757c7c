"""Errors of BOLT #11 invoices."""

from __future__ import annotations

from ._base import AurpayError


class InvoiceError(AurpayError):
    """A string is not an invoice that can be paid."""

    code = "invoice"


class InvoiceDecodeError(InvoiceError):
    """The string cannot be decoded as a BOLT #11 invoice."""

    code = "invoice_decode"

    def __init__(self, problem: str, *, position: int) -> None:
        super().__init__(f"{problem} (at character {position})")
        #: Index of the first invalid character in the given string.
        self.position = position


class InvoiceInvalidError(InvoiceError):
    """The invoice can be decoded, but breaks a rule."""

    code = "invoice_invalid"

    def __init__(self, problem: str, *, rule: str) -> None:
        super().__init__(f"{problem} (rule {rule!r})")
        #: Stable name of the broken rule.
        self.rule = rule
