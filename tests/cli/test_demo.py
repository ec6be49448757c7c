"""``aurpay demo``: from the order to its confirmed callback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from aurpay_async import bolt11
from aurpay_async._cli import _demo
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from .conftest import Done, Run


@pytest.fixture
def done(aurpay: Run) -> Done:
    return aurpay("demo")


def test_it_shows_an_order_and_what_was_checked(done: Done) -> None:
    """In a pipe: no colours, no control characters, a clean end."""
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    invoice = re.search(r"^lnbcrt\w+$", done.out, re.MULTILINE)
    assert invoice
    assert bolt11.decode(invoice[0]).amount_msat == 20_000_000
    for check in (
        "signature",
        "network",
        "amount",
        "payment_secret",
        "timestamp",
        "expiry",
        "payee",
        "pay_url",
    ):
        assert re.search(rf"✓ {check} ", done.out)
    assert "20.00 USD" in done.out
    assert re.search(
        r"✓ checkout page: http://127\.0\.0\.1:\d+/#/cashier/\d+", done.out
    )


def test_it_shows_the_payment_and_its_callback(done: Done) -> None:
    """Sent to a shop, verified and confirmed there; then everything is shut down."""
    after = done.out[done.out.index("The payment") :]
    assert re.search(r"✓ callback +GET http://\S+/aurpay/callback, .* 200", after)
    for what in ("paid", "verified", "reference", "confirmed", "waiting"):
        assert re.search(rf"✓ {what} ", after)
    assert "says SUCCESS" in after
    assert "✗" not in done.out
    assert "all is shut down" in after


def test_a_demo_in_a_pipe_says_why_it_has_no_qr_code(done: Done) -> None:
    """It could be inverted: nothing is known of what is behind the characters."""
    assert "no QR code here: it needs a terminal with colours" in done.out


def test_as_json(aurpay: Run) -> None:
    """One object."""
    done = aurpay("demo", "--output", "json")
    assert (done.code, done.err) == (0, "")
    assert done.record["paid"] is True
    assert done.record["order"]["amount"] == "0.00020000"
    assert done.record["callback"] == {
        "method": "GET",
        "status": 200,
        "error": None,
        "confirmed": True,
    }
    assert done.record["payment"] == {"outcome": "paid", "status": "SUCCESS"}
    assert done.record["seconds"] < 10


def test_a_callback_that_does_not_arrive(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is shown as what it is: the demonstration has failed."""

    class Unlucky(Sandbox):
        async def start(self) -> None:
            await super().start()
            self.callback_faults.push("lost")

    monkeypatch.setattr(_demo, "Sandbox", Unlucky)
    done = aurpay("demo")
    assert done.code == 1
    assert re.search(r"✗ callback .* None", done.out)
    assert "confirmed" not in done.out
    assert aurpay("demo", "-o", "json").record["callback"]["error"] == "not sent: lost"
