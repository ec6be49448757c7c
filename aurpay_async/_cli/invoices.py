"""``aurpay decode``: decode an invoice, and check each rule of BOLT #11."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from .._clock import SystemClock
from ..bolt11 import decode
from ..errors import InvoiceDecodeError, InvoiceError, InvoiceInvalidError
from ._arguments import InvoiceText, OutputOption  # noqa: TC001 - read by cyclopts
from ._failures import FAILED
from ._invoice_view import invoice_members, invoice_rows
from ._screen import Output, Row
from ._strictness import check_rules

if TYPE_CHECKING:
    from ..bolt11 import Invoice
    from ._strictness import RuleCheck

#: Four times the longest invoice that is decoded.
_MAX_INPUT: Final = 64 * 1024


def decode_invoice(
    invoice: InvoiceText, /, *, output_format: OutputOption = "text"
) -> int:
    """Show an invoice, and return 1 if it breaks a rule."""
    output = Output(output_format)
    text = read_invoice_text(invoice)
    decoded, error = _decode_leniently(text)
    checks = [*check_rules(text)]
    now = SystemClock().now()
    output.json(
        "invoice",
        valid=error is None,
        expired=None if decoded is None else decoded.expires_at <= now,
        error=None if error is None else _error_members(error),
        checks=[{"name": name, "ok": not bad, "problem": bad} for name, bad in checks],
        invoice=None if decoded is None else invoice_members(decoded),
    )
    if decoded is not None:
        output.rows(invoice_rows(decoded, now), "Invoice")
    output.rows(map(_rule_row, checks), "Rules of BOLT #11")
    if error is None:
        output.status("valid; `aurpay verify` compares it with what you expect")
        return 0
    unreadable = isinstance(error, InvoiceDecodeError)
    verdict = "it cannot be decoded" if unreadable else "it must not be paid"
    output.status(f"{verdict}: {error}", "problem")
    return FAILED


def read_invoice_text(given: str) -> str:
    """Return an argument without surrounding space; ``-`` reads standard input."""
    if given != "-":
        return given.strip()
    return sys.stdin.buffer.read(_MAX_INPUT).decode("utf-8", "replace").strip()


def _decode_leniently(text: str) -> tuple[Invoice | None, InvoiceError | None]:
    """Return the invoice if it can be decoded, and the rule that it breaks first."""
    try:
        return decode(text), None
    except InvoiceError as error:
        problem = error
    try:
        return decode(text, strict=False), problem
    except InvoiceError:
        return None, problem


def _error_members(error: InvoiceError) -> dict[str, object]:
    return {
        "code": error.code,
        "message": str(error),
        "rule": error.rule if isinstance(error, InvoiceInvalidError) else None,
        "position": error.position if isinstance(error, InvoiceDecodeError) else None,
    }


def _rule_row(check: RuleCheck) -> Row:
    if check.problem is None:
        return Row(check.name, "ok", "ok")
    return Row(check.name, check.problem, "problem")
