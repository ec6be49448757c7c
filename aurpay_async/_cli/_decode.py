"""``aurpay decode``: what an invoice says, and which rules it keeps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from .. import bolt11
from .._clock import SystemClock
from ..errors import InvoiceDecodeError, InvoiceError, InvoiceInvalidError
from ._failures import FAILED
from ._invoice_view import invoice_members, invoice_rows
from ._screen import Row
from ._strictness import check_strictly

if TYPE_CHECKING:
    from ._screen import Screen
    from ._strictness import Check

#: Four times what the longest invoice has: all else is refused anyway.
_MAX_INPUT: Final = 64 * 1024


def decode_invoice(screen: Screen, given: str) -> int:
    """Show an invoice; it is a no if it breaks a rule."""
    text = read_text(given)
    invoice, error = _read(text)
    checks = [*check_strictly(text)]
    now = SystemClock().now()
    screen.record(
        "invoice",
        valid=error is None,
        expired=None if invoice is None else invoice.expires_at <= now,
        error=None if error is None else _error_members(error),
        checks=[{"name": name, "ok": not bad, "problem": bad} for name, bad in checks],
        invoice=None if invoice is None else invoice_members(invoice),
    )
    if invoice is not None:
        screen.title("The invoice")
        screen.rows(invoice_rows(invoice, now))
    screen.title("The rules of BOLT #11")
    screen.rows(map(_check_row, checks))
    if error is None:
        screen.step("it breaks no rule; `aurpay verify` says whether it fits")
        return 0
    unreadable = isinstance(error, InvoiceDecodeError)
    verdict = "it cannot be read" if unreadable else "it must not be paid"
    screen.step(f"{verdict}: {error}", "problem")
    return FAILED


def read_text(given: str) -> str:
    """The invoice that was given; ``-`` stands for standard input."""
    if given != "-":
        return given.strip()
    return sys.stdin.buffer.read(_MAX_INPUT).decode("utf-8", "replace").strip()


def _read(text: str) -> tuple[bolt11.Invoice | None, InvoiceError | None]:
    """The invoice as far as it can be read, and why it must not be paid."""
    try:
        return bolt11.decode(text), None
    except InvoiceError as error:
        problem = error
    try:
        return bolt11.decode(text, strict=False), problem
    except InvoiceError:
        return None, problem


def _error_members(error: InvoiceError) -> dict[str, object]:
    return {
        "code": error.code,
        "message": str(error),
        "rule": error.rule if isinstance(error, InvoiceInvalidError) else None,
        "position": error.position if isinstance(error, InvoiceDecodeError) else None,
    }


def _check_row(check: Check) -> Row:
    if check.problem is None:
        return Row(check.name, "kept", "ok")
    return Row(check.name, check.problem, "problem")
