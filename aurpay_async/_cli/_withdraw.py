"""``aurpay withdraw``: shows an invoice, asks, and has it paid.

The invoice is decoded and verified before anybody is asked, by the client's own rules;
the client does it once more when it is sent, as time goes by while somebody reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._client import AurpayClient
from .._clock import SystemClock
from .._protocol import require_payable
from ._calling import open_client
from ._confirm import Plan, can_ask, consents, decline, refuse
from ._decode import read_text
from ._invoice_view import invoice_members, what_is_paid
from ._screen import Row
from ._times import amount, msat_to_btc
from ._verify import Expected, make_policy, read_amount

if TYPE_CHECKING:
    from .._protocol._transactions import Payable
    from ._act import Job
    from ._screen import Screen


def withdraw_lightning(
    screen: Screen, given: str, btc: str | None, *, yes: bool
) -> int | Job:
    """Have an invoice paid, if somebody says so who has seen what is in it."""
    if not (yes or can_ask()):
        return refuse(screen, "aurpay decode")
    AurpayClient.from_env()  # says what is missing, before anybody is asked
    payable = _read(given, btc)
    if not consents(screen, _plan(payable), yes=yes):
        return decline(screen)
    return _withdraw(screen, payable)


def _read(given: str, btc: str | None) -> Payable:
    expected = None if btc is None else read_amount(btc, None)
    policy = make_policy(Expected(btc, None, None, ()))
    now = SystemClock().now().timestamp()
    return require_payable(read_text(given), expected, policy, now)


def _plan(payable: Payable) -> Plan:
    return Plan(
        "The invoice to be paid",
        [*what_is_paid(payable.invoice, SystemClock().now())],
        f"Pay {amount(payable.amount_msat)}?",
    )


async def _withdraw(screen: Screen, payable: Payable) -> int:
    async with open_client(screen) as aurpay:
        with screen.waiting("Having it paid"):
            made = await aurpay.withdraw_lightning(payable.invoice)
    screen.record(
        "withdrawal",
        amount=f"{msat_to_btc(made.amount_msat):f}",
        amount_msat=str(made.amount_msat),
        payment_hash=made.invoice.payment_hash,
        data=made.data,
        invoice=invoice_members(made.invoice),
    )
    screen.step(f"taken to be paid: {amount(made.amount_msat)}")
    screen.rows(
        [
            Row("payment hash", made.invoice.payment_hash),
            Row("whether it is paid", "aurpay tx list"),
        ]
    )
    return 0
