"""``aurpay decode``: every published invoice, and what else may be given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import bolt11
from aurpay_async._cli._invoice_view import invoice_rows
from aurpay_async._cli._strictness import check_strictly
from aurpay_async.bolt11 import _invoice
from aurpay_async.errors import InvoiceError

from ..conftest import load
from ..orders import invoice as sign

if TYPE_CHECKING:
    from .conftest import Run

INVOICES: list[dict[str, Any]] = load("bolt11.json")["invoices"]
COFFEE = next(one["invoice"] for one in INVOICES if one["id"] == "bolt-002")

#: The first fifty that the specification and our strict reading allow, and the
#: independent reader knows: it has no signet and no simnet.
GOOD = [
    vector
    for vector in INVOICES
    if vector["strict"] and vector["expected"]["currency"] in {"bc", "tb", "bcrt"}
][:50]


@pytest.mark.parametrize(
    "vector", [pytest.param(vector, id=vector["id"]) for vector in GOOD]
)
def test_an_independent_decoder_says_the_same(
    aurpay: Run, vector: dict[str, Any]
) -> None:
    """The PyPI package bolt11, which shares no line with ours."""
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


def test_fifty_of_them() -> None:
    """No fewer than were asked for."""
    assert len(GOOD) == 50


def test_the_rules_add_up_to_what_decode_says() -> None:
    """For every published invoice: one is broken if decode refuses it, else none."""
    for vector in INVOICES:
        checks = [*check_strictly(vector["invoice"])]
        broken = [check for check in checks if check.problem is not None]
        assert bool(broken) is not vector["strict"], vector["id"]
        if broken:
            problem = refusal(vector["invoice"])
            assert problem in {check.problem for check in broken}, vector["id"]


def refusal(text: str) -> str:
    with pytest.raises(InvoiceError) as caught:
        bolt11.decode(text)
    # The length is said before there is an error.
    return (
        str(caught.value)
        .replace("more than 7089", "more than 7,089")
        .replace(" (at character 7089)", "")
    )


def test_too_long_to_be_looked_at() -> None:
    """What even a lenient reader refuses is not read on."""
    text = "x" * (_invoice.MAX_LENGTH_LENIENT + 1)
    assert [check.name for check in check_strictly(text)] == ["length"]


def test_what_people_see(aurpay: Run) -> None:
    """Each field and each rule on a line of its own."""
    done = aurpay("decode", COFFEE)
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert ["amount", "0.0025", "BTC", "(250,000", "sat)"] in lines
    assert ["description", "1", "cup", "coffee"] in lines
    assert ["✓", "signature", "kept"] in lines
    assert any(line[:3] == ["!", "expired", "2017-06-01"] for line in lines)
    assert "\x1b" not in done.out


def test_people_can_look_at_all_that_is_valid() -> None:
    """Routes, fallbacks, metadata, unknown fields: nothing is left out or fails."""
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


def test_standard_input(aurpay: Run) -> None:
    """With the scheme that wallets use, blanks and a line break."""
    done = aurpay(
        "decode", "-", stdin=b"  lightning:" + COFFEE.upper().encode() + b"\n"
    )
    assert done.code == 0


def test_standard_input_that_is_no_text(aurpay: Run) -> None:
    """No invoice, and no traceback."""
    assert aurpay("decode", "-", stdin=b"\xff\xfe\x00").code == 1


@pytest.mark.parametrize(
    ("text", "code", "rule", "position"),
    [
        (COFFEE[:-1] + "q", "invoice_decode", None, len(COFFEE) - 6),
        ("lnbc0" + COFFEE[9:], "invoice_decode", None, None),
        ("", "invoice_decode", None, 0),
    ],
)
def test_what_cannot_be_read(
    aurpay: Run, text: str, code: str, rule: str | None, position: int | None
) -> None:
    """Says where, and ends with 1."""
    done = aurpay("decode", text, "-o", "json")
    assert done.code == 1
    assert done.record["valid"] is False
    assert done.record["invoice"] is None
    assert (done.record["error"]["code"], done.record["error"]["rule"]) == (code, rule)
    if position is not None:
        assert done.record["error"]["position"] == position


def test_what_can_be_read_and_must_not_be_paid(aurpay: Run) -> None:
    """Shows its fields, names the rule, and ends with 1."""
    vector = next(v for v in INVOICES if v["valid"] and not v["strict"])
    done = aurpay("decode", vector["invoice"], "-o", "json")
    assert done.code == 1
    assert done.record["valid"] is False
    assert done.record["error"]["rule"]
    assert done.record["invoice"]["payee"] == vector["expected"]["payee"]
    assert not all(check["ok"] for check in done.record["checks"])


def test_a_uri_around_an_invoice_is_called_unreadable_not_mistyped(
    aurpay: Run,
) -> None:
    """The checks and the verdict say the same."""
    done = aurpay("decode", f"bitcoin:?lightning={COFFEE}")
    assert done.code == 1
    assert done.out.count("no Lightning prefix") == 2
    assert "cannot be read: no Lightning prefix" in done.out
    assert "must not be paid" not in done.out
    assert "checksum" not in done.out


def test_a_description_is_text_and_nothing_else(aurpay: Run) -> None:
    """An invoice that would clear the screen and reverse the line."""
    text = sign(description="\x1b[2Jpaid\u202e\n✓ signature")
    done = aurpay("decode", text)
    assert "\x1b" not in done.out
    assert r"\x1b[2Jpaid\u202e\n✓ signature" in done.out


def test_one_that_can_still_be_paid(aurpay: Run) -> None:
    """Says for how long; an open amount and a far future are no trouble."""
    text = sign(
        amount_msat=None, timestamp=int(datetime.now(UTC).timestamp()), expiry=7300
    )
    done = aurpay("decode", text)
    assert "in 2 hours" in done.out
    assert "open: the payer chooses it" in done.out
    assert aurpay("decode", text, "-o", "json").record["expired"] is False
