"""``aurpay verify``: verify an invoice with the checks of the client."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from ..support.orders import PAYEE, sign_invoice
from .test_decode import INVOICES

if TYPE_CHECKING:
    from .conftest import Run

OTHER = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


NOW = int(datetime.now(UTC).timestamp())


def sign_now(**fields: Any) -> str:
    """Sign a regtest invoice over 20,000 satoshi now."""
    return sign_invoice(**{"timestamp": NOW, **fields})


def test_verify_shows_each_check_of_a_matching_invoice(aurpay: Run) -> None:
    done = aurpay("verify", sign_now(), "--amount", "0.0002", "--network", "regtest")
    assert (done.code, done.err) == (0, "")
    for check in ("signature", "network", "amount", "timestamp", "expiry"):
        assert f"✓ {check} " in done.out
    assert "no --payee was given" in done.out
    assert "verified: the invoice is as expected" in done.out


@pytest.mark.parametrize(
    "asked",
    [
        ["--amount", "0.00020000"],
        ["--amount", "0.0002 BTC"],
        ["--amount", "0.0002btc"],
        ["--amount-msat", "20000000"],
    ],
)
def test_verify_accepts_amounts_in_btc_and_millisatoshi(
    aurpay: Run, asked: list[str]
) -> None:
    done = aurpay("verify", sign_now(), *asked, "--network", "regtest", "-o", "json")
    assert done.code == 0
    assert done.record["fits"] is True


@pytest.mark.parametrize("before", ["bitcoin:?lightning=", "lightning://", "x"])
@pytest.mark.parametrize("command", ["decode", "verify"])
def test_invoice_with_a_prefix_is_reported_as_undecodable(
    aurpay: Run, command: str, before: str
) -> None:
    asked = ["--amount", "0.0002"] if command == "verify" else []
    done = aurpay(command, before + sign_now(), *asked)
    assert done.code == 1
    assert "it cannot be decoded" in done.out
    assert f"begins at character {len(before)}: cut off all before it" in done.out
    for harmful in ("not be paid", "not pay", "mistyped"):
        assert harmful not in done.out


def test_verify_fails_for_an_invoice_that_breaks_a_rule(aurpay: Run) -> None:
    vector = next(v for v in INVOICES if v["valid"] and not v["strict"])
    done = aurpay("verify", vector["invoice"], "--amount", "0.0002")
    assert done.code == 1
    assert "verification failed: do not pay it" in done.out


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
def test_verify_names_the_failed_check_and_runs_the_others(
    aurpay: Run,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    asked: list[str],
    failed: str,
) -> None:
    monkeypatch.setenv("AURPAY_NETWORK", "regtest")
    done = aurpay("verify", sign_now(**fields), *asked, "--output", "json")
    assert done.code == 1
    record = done.record
    assert record["fits"] is False
    assert [c["name"] for c in record["checks"] if c["verdict"] == "failed"] == [failed]
    assert len(record["checks"]) == 6
    people = aurpay("verify", sign_now(**fields), *asked)
    assert people.code == 1
    assert f"✗ {failed} " in people.out


def test_verify_fails_for_an_invoice_of_the_future(aurpay: Run) -> None:
    later = int(datetime.now(UTC).timestamp()) + 4000
    text = sign_invoice(timestamp=later)
    done = aurpay("verify", text, "--amount", "0.0002", "--network", "regtest")
    assert done.code == 1
    assert "in the future" in done.out


def test_verify_accepts_one_of_several_payees(aurpay: Run) -> None:
    pins = ["--payee", OTHER, "--payee", PAYEE]
    asked = ["--amount", "0.0002", "--network", "regtest", *pins, "-o", "json"]
    done = aurpay("verify", "-", *asked, stdin=sign_now().encode())
    assert done.code == 0
    assert done.record["checks"][-1] == {
        "name": "payee",
        "verdict": "ok",
        "found": PAYEE,
    }


def test_verify_expects_mainnet_by_default(aurpay: Run) -> None:
    done = aurpay("verify", sign_now(), "--amount", "0.0002")
    assert done.code == 1
    assert "not for mainnet" in done.out


def test_verify_fails_for_text_that_is_not_an_invoice(aurpay: Run) -> None:
    done = aurpay("verify", sign_now()[:-1], "--amount", "0.0002", "-o", "json")
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
def test_verify_rejects_invalid_expectations(aurpay: Run, asked: list[str]) -> None:
    done = aurpay("verify", sign_now(), *asked)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_verify_rejects_an_invalid_network_of_the_environment(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_NETWORK", "moonnet")
    done = aurpay("verify", sign_now(), "--amount", "1", "-o", "json")
    assert (done.code, done.record["code"]) == (2, "configuration")
    assert "AURPAY_NETWORK" in done.record["message"]
