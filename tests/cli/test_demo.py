"""``aurpay demo``: from the order to its confirmed callback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from aurpay_async import bolt11
from aurpay_async._cli import sandbox
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from .conftest import Done, Run


@pytest.fixture
def done(aurpay: Run) -> Done:
    return aurpay("demo")


def test_demo_shows_the_order_and_its_checks(done: Done) -> None:
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


def test_demo_shows_the_payment_and_its_callback(done: Done) -> None:
    after = done.out[done.out.index("  Payment\n") :]
    assert re.search(r"✓ callback +GET http://\S+/aurpay/callback, .* 200", after)
    for what in ("paid", "verified", "reference", "confirmed", "polling"):
        assert re.search(rf"✓ {what} ", after)
    assert "confirms the status SUCCESS" in after
    assert "✗" not in done.out
    assert "sandbox and shop stopped" in after


def test_demo_in_a_pipe_gives_the_reason_for_no_qr_code(done: Done) -> None:
    assert "no QR code here: it needs a terminal with colours" in done.out


def test_demo_prints_one_json_object(aurpay: Run) -> None:
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


def test_demo_fails_if_the_callback_is_lost(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unlucky(Sandbox):
        async def start(self) -> None:
            await super().start()
            self.callback_faults.push("lost")

    monkeypatch.setattr(sandbox, "Sandbox", Unlucky)
    done = aurpay("demo")
    assert done.code == 1
    assert re.search(r"✗ callback .* None", done.out)
    assert "confirmed" not in done.out
    assert aurpay("demo", "-o", "json").record["callback"]["error"] == "not sent: lost"
