"""``aurpay decode``: published invoices, standard input and invalid text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import bolt11
from aurpay_async._cli._views import invoice_rows
from aurpay_async.bolt11 import _invoice
from aurpay_async.bolt11._invoice import check_rules
from aurpay_async.errors import InvoiceError

from ..conftest import load
from ..support.orders import sign_invoice as sign

if TYPE_CHECKING:
    from .conftest import Run

INVOICES: list[dict[str, Any]] = load("bolt11.json")["invoices"]
COFFEE = next(one["invoice"] for one in INVOICES if one["id"] == "bolt-002")

#: The first fifty invoices that strict decoding accepts, on networks that the
#: independent decoder supports.
GOOD = [
    vector
    for vector in INVOICES
    if vector["strict"] and vector["expected"]["currency"] in {"bc", "tb", "bcrt"}
][:50]


@pytest.mark.slow
@pytest.mark.parametrize(
    "vector", [pytest.param(vector, id=vector["id"]) for vector in GOOD]
)
def test_decode_agrees_with_an_independent_decoder(
    aurpay: Run, vector: dict[str, Any]
) -> None:
    oracle = pytest.importorskip("bolt11", reason="the group `oracle` is not installed")
    theirs = oracle.decode(vector["invoice"])
    done = aurpay("decode", vector["invoice"], "--output", "json")
    assert (done.code, done.err) == (0, "")
    ours = done.record["invoice"]
    expected_msat = None if theirs.amount_msat is None else str(theirs.amount_msat)
    assert ours["amount_msat"] == expected_msat
    assert ours["payment_hash"] == theirs.payment_hash
    assert ours["payment_secret"] == theirs.payment_secret
    assert ours["description"] == theirs.description
    assert ours["description_hash"] == theirs.description_hash
    assert ours["payee"] == theirs.payee
    assert ours["expiry"] == (3600 if theirs.expiry is None else theirs.expiry)
    made = datetime.fromisoformat(ours["created_at"]).astimezone(UTC)
    assert made.timestamp() == theirs.date
    assert ours["metadata"] == theirs.metadata


def test_fifty_invoices_are_compared_with_the_independent_decoder() -> None:
    assert len(GOOD) == 50


def test_check_rules_agrees_with_strict_decoding() -> None:
    for vector in INVOICES:
        checks = [*check_rules(vector["invoice"])]
        broken = [check for check in checks if check.problem is not None]
        assert bool(broken) is not vector["strict"], vector["id"]
        if broken:
            problem = decode_error(vector["invoice"])
            assert problem in {check.problem for check in broken}, vector["id"]


def decode_error(text: str) -> str:
    with pytest.raises(InvoiceError) as caught:
        bolt11.decode(text)
    # The check of the length has its own message.
    return (
        str(caught.value)
        .replace("more than 7089", "more than 7,089")
        .replace(" (at character 7089)", "")
    )


def test_check_rules_stops_at_an_excessive_length() -> None:
    text = "x" * (_invoice.MAX_LENGTH_LENIENT + 1)
    assert [check.name for check in check_rules(text)] == ["length"]


def test_decode_shows_each_field_and_each_rule(aurpay: Run) -> None:
    done = aurpay("decode", COFFEE)
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert ["amount", "0.0025", "BTC", "(250,000", "sat)"] in lines
    assert ["description", "1", "cup", "coffee"] in lines
    assert ["✓", "signature", "ok"] in lines
    assert any(line[:3] == ["!", "expired", "2017-06-01"] for line in lines)
    assert "\x1b" not in done.out


def test_invoice_rows_show_every_valid_invoice() -> None:
    seen: set[str] = set()
    for vector in INVOICES:
        if not vector["valid"]:
            continue
        invoice = bolt11.decode(vector["invoice"], strict=vector["strict"])
        rows = [*invoice_rows(invoice, datetime.now(UTC))]
        seen.update(row.name for row in rows)
        values = "\n".join(row.value for row in rows)
        expected = vector["expected"]
        assert expected["payee"] in values
        assert (expected["description"] or "") in values
        for fallback in expected["fallbacks"]:
            assert (fallback["address"] or fallback["program"]) in values
        for route in expected["route_hints"]:
            assert all(hop["short_channel_id"] in values for hop in route)
    assert {"fallback", "route", "metadata", "unknown", "description hash"} <= seen


def test_decode_reads_standard_input(aurpay: Run) -> None:
    done = aurpay(
        "decode", "-", stdin=b"  lightning:" + COFFEE.upper().encode() + b"\n"
    )
    assert done.code == 0


def test_decode_rejects_binary_standard_input(aurpay: Run) -> None:
    assert aurpay("decode", "-", stdin=b"\xff\xfe\x00").code == 1


@pytest.mark.parametrize(
    ("text", "code", "rule", "position"),
    [
        (COFFEE[:-1] + "q", "invoice_decode", None, len(COFFEE) - 6),
        ("lnbc0" + COFFEE[9:], "invoice_decode", None, None),
        ("", "invoice_decode", None, 0),
    ],
)
def test_decode_reports_the_position_of_an_error(
    aurpay: Run, text: str, code: str, rule: str | None, position: int | None
) -> None:
    done = aurpay("decode", text, "-o", "json")
    assert done.code == 1
    assert done.record["valid"] is False
    assert done.record["invoice"] is None
    assert (done.record["error"]["code"], done.record["error"]["rule"]) == (code, rule)
    if position is not None:
        assert done.record["error"]["position"] == position


def test_decode_shows_the_fields_of_an_invalid_invoice(aurpay: Run) -> None:
    vector = next(v for v in INVOICES if v["valid"] and not v["strict"])
    done = aurpay("decode", vector["invoice"], "-o", "json")
    assert done.code == 1
    assert done.record["valid"] is False
    assert done.record["error"]["rule"]
    assert done.record["invoice"]["payee"] == vector["expected"]["payee"]
    assert not all(check["ok"] for check in done.record["checks"])


def test_decode_reports_a_uri_as_undecodable_not_as_mistyped(
    aurpay: Run,
) -> None:
    done = aurpay("decode", f"bitcoin:?lightning={COFFEE}")
    assert done.code == 1
    assert done.out.count("no Lightning prefix") == 2
    assert "cannot be decoded: no Lightning prefix" in done.out
    assert "must not be paid" not in done.out
    assert "checksum" not in done.out


def test_decode_escapes_control_characters_of_a_description(aurpay: Run) -> None:
    text = sign(description="\x1b[2Jpaid\u202e\n✓ signature")
    done = aurpay("decode", text)
    assert "\x1b" not in done.out
    assert r"\x1b[2Jpaid\u202e\n✓ signature" in done.out


def test_decode_shows_the_time_left_of_an_open_amount_invoice(aurpay: Run) -> None:
    text = sign(
        amount_msat=None, timestamp=int(datetime.now(UTC).timestamp()), expiry=7300
    )
    done = aurpay("decode", text)
    assert "in 2 hours" in done.out
    assert "open: the payer chooses it" in done.out
    assert aurpay("decode", text, "-o", "json").record["expired"] is False
