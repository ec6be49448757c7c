"""``aurpay verify``: does this invoice fit?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from ..orders import PAYEE, invoice
from .test_decode import INVOICES

if TYPE_CHECKING:
    from .conftest import Run

OTHER = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


NOW = int(datetime.now(UTC).timestamp())


def fresh(**fields: Any) -> str:
    """An invoice on regtest over 20,000 satoshi, of this very moment."""
    return invoice(**{"timestamp": NOW, **fields})


def test_one_that_fits(aurpay: Run) -> None:
    """Each check on a line; what was not asked for is said."""
    done = aurpay("verify", fresh(), "--amount", "0.0002", "--network", "regtest")
    assert (done.code, done.err) == (0, "")
    for check in ("signature", "network", "amount", "timestamp", "expiry"):
        assert f"✓ {check} " in done.out
    assert "no --payee was given" in done.out
    assert "it fits" in done.out


@pytest.mark.parametrize(
    "asked",
    [
        ["--amount", "0.00020000"],
        ["--amount", "0.0002 BTC"],
        ["--amount", "0.0002btc"],
        ["--amount-msat", "20000000"],
    ],
)
def test_ways_to_write_an_amount(aurpay: Run, asked: list[str]) -> None:
    """In BTC, with or without the unit, or in millisatoshi."""
    done = aurpay("verify", fresh(), *asked, "--network", "regtest", "-o", "json")
    assert done.code == 0
    assert done.record["fits"] is True


@pytest.mark.parametrize("before", ["bitcoin:?lightning=", "lightning://", "x"])
@pytest.mark.parametrize("command", ["decode", "verify"])
def test_an_invoice_with_something_before_it_is_not_said_to_be_unpayable(
    aurpay: Run, command: str, before: str
) -> None:
    """It is a whole invoice: the message says what to cut off."""
    asked = ["--amount", "0.0002"] if command == "verify" else []
    done = aurpay(command, before + fresh(), *asked)
    assert done.code == 1
    assert "it cannot be read" in done.out
    assert f"begins at character {len(before)}: cut off all before it" in done.out
    for harmful in ("not be paid", "not pay", "mistyped"):
        assert harmful not in done.out


def test_an_invoice_that_breaks_a_rule_does_not_fit(aurpay: Run) -> None:
    """It can be read, and is not to be paid."""
    vector = next(v for v in INVOICES if v["valid"] and not v["strict"])
    done = aurpay("verify", vector["invoice"], "--amount", "0.0002")
    assert done.code == 1
    assert "it does not fit: do not pay it" in done.out


@pytest.mark.parametrize(
    ("fields", "asked", "failed"),
    [
        ({}, ["--amount-msat", "20000001"], "amount"),
        ({}, ["--amount", "0.0002", "--network", "mainnet"], "network"),
        ({"amount_msat": None}, ["--amount", "0.0002"], "amount"),
        ({"timestamp": NOW - 60, "expiry": 60}, ["--amount", "0.0002"], "expiry"),
        ({}, ["--amount", "0.0002", "--payee", OTHER], "payee"),
    ],
)
def test_one_that_does_not_fit(
    aurpay: Run,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    asked: list[str],
    failed: str,
) -> None:
    """Names the check, makes the others all the same, and ends with 1."""
    monkeypatch.setenv("AURPAY_NETWORK", "regtest")
    done = aurpay("verify", fresh(**fields), *asked, "--output", "json")
    assert done.code == 1
    record = done.record
    assert record["fits"] is False
    assert [c["name"] for c in record["checks"] if c["verdict"] == "failed"] == [failed]
    assert len(record["checks"]) == 6
    people = aurpay("verify", fresh(**fields), *asked)
    assert people.code == 1
    assert f"✗ {failed} " in people.out


def test_one_of_the_future(aurpay: Run) -> None:
    """Is refused as the client refuses it."""
    later = int(datetime.now(UTC).timestamp()) + 4000
    text = invoice(timestamp=later)
    done = aurpay("verify", text, "--amount", "0.0002", "--network", "regtest")
    assert done.code == 1
    assert "in the future" in done.out


def test_pinned_payees(aurpay: Run) -> None:
    """One of several is enough."""
    pins = ["--payee", OTHER, "--payee", PAYEE]
    asked = ["--amount", "0.0002", "--network", "regtest", *pins, "-o", "json"]
    done = aurpay("verify", "-", *asked, stdin=fresh().encode())
    assert done.code == 0
    assert done.record["checks"][-1] == {
        "name": "payee",
        "verdict": "ok",
        "found": PAYEE,
    }


def test_the_main_network_is_expected(aurpay: Run) -> None:
    """Unless something else is said."""
    done = aurpay("verify", fresh(), "--amount", "0.0002")
    assert done.code == 1
    assert "not for mainnet" in done.out


def test_what_is_no_invoice(aurpay: Run) -> None:
    """Fits nothing."""
    done = aurpay("verify", fresh()[:-1], "--amount", "0.0002", "-o", "json")
    assert done.code == 1
    assert done.record["invoice"] is None
    assert [check["name"] for check in done.record["checks"]] == ["signature"]


@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["--amount", "1", "--amount-msat", "1"],
        ["--amount", "1e-4"],
        ["--amount", "0"],
        ["--amount", "0.000000000001"],
        ["--amount", "99999999"],
        ["--amount-msat", "0"],
        ["--amount-msat", "x"],
        ["--amount", "1", "--payee", "03"],
        ["--amount", "1", "--network", "liquid"],
    ],
)
def test_what_cannot_be_expected(aurpay: Run, asked: list[str]) -> None:
    """Is wrong usage: nothing was decided about the invoice."""
    done = aurpay("verify", fresh(), *asked)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_a_network_of_the_environment_that_is_none(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named with its variable."""
    monkeypatch.setenv("AURPAY_NETWORK", "moonnet")
    done = aurpay("verify", fresh(), "--amount", "1", "-o", "json")
    assert (done.code, done.record["code"]) == (2, "configuration")
    assert "AURPAY_NETWORK" in done.record["message"]
