"""Commands `decode`, `verify` and `withdraw`.

The invoice of a withdrawal is verified before the user is asked. The client verifies it
again when it sends the request, because time passes while the user reads.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from .._api.checks import CHECKOUT_ORIGIN, InvoicePolicy, compare_invoice
from .._client import AurpayClient
from .._client.options import require_network, require_payees
from .._core.clock import SystemClock
from .._core.money import MAX_MSAT, NETWORKS, parse_btc
from ..bolt11 import decode
from ..bolt11._invoice import check_rules
from ..errors import (
    InvalidRequestError,
    InvoiceDecodeError,
    InvoiceError,
    InvoiceInvalidError,
    shown,
)
from . import FAILED
from ._errors import open_client
from ._options import (
    Flag,
    InvoiceText,
    NetworkName,
    Plan,
    Several,
    confirm,
    doc,
    require_terminal,
)
from ._output import TEXT, Output, Row, amount, msat_to_btc, until, when
from ._views import invoice_members, invoice_rows, payable_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from .._api.account import Payable
    from .._core.money import Network
    from ..bolt11 import Invoice
    from ._output import Verdict

#: Four times the longest invoice that is decoded.
_MAX_INPUT: Final = 64 * 1024


def decode_invoice(invoice: InvoiceText, /, *, output: Output = TEXT) -> int:
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
    rules = [Row(name, bad or "ok", "problem" if bad else "ok") for name, bad in checks]
    output.rows(rules, "Rules of BOLT #11")
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


_BTC_AMOUNT = re.compile(
    r"([0-9]{1,8}(?:\.[0-9]{1,11})?) ?(?:BTC)?", re.ASCII | re.IGNORECASE
)


class VerifyCheck(NamedTuple):
    name: str
    verdict: Literal["ok", "failed", "skipped"]
    found: str


#: The text for an invoice that passed a check.
_PASSED: Final[dict[str, Callable[[Invoice, datetime], str]]] = {
    "network": lambda invoice, _: invoice.network,
    "amount": lambda invoice, _: amount(invoice.amount_msat or 0),
    "timestamp": lambda invoice, now: when(invoice.created_at, now),
    "expiry": lambda invoice, now: f"payable until {until(invoice.expires_at, now)}",
    "payee": lambda invoice, _: invoice.payee,
}


def verify_invoice(
    invoice: InvoiceText,
    /,
    *,
    btc: Annotated[str | None, doc("Expected amount in BTC.", name="--amount")] = None,
    amount_msat: Annotated[int | None, doc("Expected amount in millisatoshi.")] = None,
    network: Annotated[
        NetworkName | None,
        doc("Expected network. [default: AURPAY_NETWORK, or mainnet]"),
    ] = None,
    payee: Annotated[
        Several, doc("Expected public key of the receiver; may be repeated.")
    ] = (),
    output: Output = TEXT,
) -> int:
    decoded: Invoice | None = None
    failure = "verification failed: do not pay it, and do not show it to a payer"
    msat = parse_amount(btc, amount_msat)
    policy = make_policy(network, payee)
    try:
        decoded = decode(read_invoice_text(invoice))
    except InvoiceError as error:
        checks = [VerifyCheck("signature", "failed", str(error))]
        if isinstance(error, InvoiceDecodeError):
            failure = "it cannot be decoded, so nothing was compared"
    else:
        checks = [*_run_checks(decoded, msat, policy)]
    fits = all(check.verdict != "failed" for check in checks)
    members = None if decoded is None else invoice_members(decoded)
    results = [check._asdict() for check in checks]
    output.json("verdict", fits=fits, checks=results, invoice=members)
    marks: dict[str, Verdict] = {"ok": "ok", "failed": "problem", "skipped": ""}
    output.rows(Row(name, found, marks[verdict]) for name, verdict, found in checks)
    if fits:
        output.status("verified: the invoice is as expected")
        return 0
    output.status(failure, "problem")
    return FAILED


def parse_amount(btc: str | None, msat: int | None) -> int:
    """Return the expected amount in millisatoshi.

    Raises:
        InvalidRequestError: unless exactly one of the two is given, and possible.
    """
    if (btc is None) == (msat is None):
        problem = "give either --amount in BTC or --amount-msat"
        raise InvalidRequestError(problem, field="amount")
    if msat is not None:
        if not 0 < msat <= MAX_MSAT:
            problem = f"must be 1 to {MAX_MSAT} millisatoshi; got {msat}"
            raise InvalidRequestError(problem, field="amount_msat")
        return msat
    match = _BTC_AMOUNT.fullmatch(btc or "")
    if match is None:
        problem, hint = f"not an amount in BTC: {shown(btc)}", 'write it like "0.0001"'
        raise InvalidRequestError(problem, field="amount", hint=hint)
    return parse_btc(match[1])


def make_policy(network: Network | None, payees: Sequence[str]) -> InvoicePolicy:
    """Return the policy for a network (by default the environment's) and payees."""
    name = network or os.environ.get("AURPAY_NETWORK") or NETWORKS[0]
    known, keys = require_network(name, "AURPAY_NETWORK"), require_payees(payees)
    return InvoicePolicy(network=known, origin=CHECKOUT_ORIGIN, payees=keys)


def _run_checks(
    invoice: Invoice, msat: int, policy: InvoicePolicy
) -> Iterator[VerifyCheck]:
    now, expected = SystemClock().now(), msat_to_btc(msat)
    yield VerifyCheck("signature", "ok", "verified; no rule of BOLT #11 is broken")
    checks = compare_invoice(invoice, policy, now.timestamp(), amount=expected)
    for name, problem in checks:
        if problem:
            yield VerifyCheck(name, "failed", str(problem))
        else:
            yield VerifyCheck(name, "ok", _PASSED[name](invoice, now))
    if not policy.payees:
        found = f"{invoice.payee}; no --payee was given"
        yield VerifyCheck("payee", "skipped", found)


def withdraw(
    invoice: InvoiceText,
    /,
    *,
    btc: Annotated[
        str | None,
        doc(
            "Expected amount in BTC; an invoice over another amount is rejected.",
            name="--amount",
        ),
    ] = None,
    yes: Annotated[
        Flag,
        doc(
            "Send it without asking. The invoice is verified, but you do not see "
            "it first: give --amount as well."
        ),
    ] = False,
    output: Output = TEXT,
) -> int:
    if not yes and (code := require_terminal(output, "aurpay decode")):
        return code
    AurpayClient.from_env()  # reports missing settings before the user is asked
    payable = _verify_payable(invoice, btc)
    rows = payable_rows(payable.invoice, SystemClock().now())
    plan = Plan("Invoice to pay", rows, f"Pay {amount(payable.amount_msat)}?")
    declined = confirm(output, plan, yes=yes)
    return declined or asyncio.run(_send_withdrawal(output, payable))


def _verify_payable(invoice: str, btc: str | None) -> Payable:
    from .._api.account import require_payable  # imports cattrs, which is slow

    expected = None if btc is None else parse_amount(btc, None)
    now = SystemClock().now().timestamp()
    text = read_invoice_text(invoice)
    return require_payable(text, expected, make_policy(None, ()), now)


async def _send_withdrawal(output: Output, payable: Payable) -> int:
    async with open_client(output) as aurpay:
        with output.waiting("Paying the invoice"):
            withdrawal = await aurpay.withdraw_lightning(payable.invoice)
        output.json(
            "withdrawal",
            amount=msat_to_btc(withdrawal.amount_msat),
            amount_msat=str(withdrawal.amount_msat),
            payment_hash=withdrawal.invoice.payment_hash,
            data=withdrawal.data,
            invoice=invoice_members(withdrawal.invoice),
        )
        paid = "`aurpay tx list` shows whether it is paid"
        output.status(f"accepted for payment: {amount(withdrawal.amount_msat)}; {paid}")
        output.rows([Row("payment hash", withdrawal.invoice.payment_hash)])
    return 0
