"""The prefix of an invoice: network and amount."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async.bolt11 import _hrp
from aurpay_async.errors import InvoiceDecodeError, InvoiceError, InvoiceInvalidError

from ..conftest import load

VECTORS = load("bolt11.json")
#: Two sources contradict each other: an empty amount never reaches this function.
AMOUNTS = [vector for vector in VECTORS["amounts"] if vector["text"]]


def amount(text: str, *, strict: bool = True) -> int | None:
    return _hrp.parse_hrp(f"lnbc{text}", offset=0, strict=strict)[1]


@pytest.mark.parametrize("vector", AMOUNTS, ids=[v["text"] for v in AMOUNTS])
def test_the_published_amounts(vector: dict[str, object]) -> None:
    """As the test suites of lnd, eclair and bolt11.js have them."""
    if vector["valid"]:
        assert amount(str(vector["text"]), strict=False) == vector["msat"]
    else:
        with pytest.raises(InvoiceError):
            amount(str(vector["text"]), strict=False)


@pytest.mark.parametrize("vector", VECTORS["amount_encoding"])
def test_the_published_encodings(vector: dict[str, object]) -> None:
    """The shortest spelling is chosen."""
    assert _hrp.format_amount(int(str(vector["msat"]))) == vector["text"]


@given(st.integers(1, 21_000_000 * 10**11))
def test_every_amount_survives_the_round_trip(msat: int) -> None:
    """From one millisatoshi to all bitcoins."""
    assert amount(_hrp.format_amount(msat)) == msat


@given(st.text("0123456789munp", max_size=25))
def test_any_amount_is_read_exactly_or_refused(text: str) -> None:
    """What is read is the product that BOLT #11 defines, in whole millisatoshi."""
    try:
        msat = amount(text)
    except InvoiceError:
        return
    if text == "":
        assert msat is None
        return
    unit = {"m": 10**8, "u": 10**5, "n": 100}.get(text[-1])
    if unit:
        assert msat == int(text[:-1]) * unit
    elif text[-1] == "p":
        assert msat == int(text[:-2])
        assert text[-2] == "0"
    else:
        assert msat == int(text) * 10**11


@pytest.mark.parametrize(
    ("prefix", "network"),
    [
        ("lnbc", "mainnet"),
        ("lntb", "testnet"),
        ("lntbs", "signet"),
        ("lnbcrt", "regtest"),
        ("lnsb", "simnet"),
    ],
)
def test_networks(prefix: str, network: str) -> None:
    """Longer prefixes are not taken for shorter ones."""
    assert _hrp.parse_hrp(prefix, offset=0, strict=True) == (network, None)
    assert _hrp.parse_hrp(f"{prefix}20m", offset=0, strict=True) == (network, 2 * 10**9)


@pytest.mark.parametrize("hrp", ["ln", "lnx", "lnbcx", "bc", "lnbct", "xlnbc", "lnbcr"])
def test_other_prefixes_are_refused(hrp: str) -> None:
    """The message lists what is known."""
    with pytest.raises(InvoiceDecodeError, match="lnbc, lnbcrt, lnsb, lntb, lntbs"):
        _hrp.parse_hrp(hrp, offset=0, strict=False)


@pytest.mark.parametrize("text", ["20x", "2.5m", "20mm", "1" * 21, "20m20", "1٣"])
def test_a_malformed_amount_names_its_place(text: str) -> None:
    """Behind the prefix, and behind whatever stands before that."""
    with pytest.raises(InvoiceDecodeError, match="20 digits") as caught:
        _hrp.parse_hrp(f"lnbcrt{text}", offset=10, strict=False)
    assert caught.value.position == 16


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("15p", "finer"),
        ("21000001", "all bitcoins"),
        ("99999999999999999999", "all bitcoins"),
        ("0", "zero"),
        ("0m", "zero"),
        ("020m", "leading zeros"),
    ],
)
def test_an_amount_that_breaks_a_rule(text: str, problem: str) -> None:
    """The rule is called `amount`."""
    with pytest.raises(InvoiceInvalidError, match=problem) as caught:
        amount(text)
    assert caught.value.rule == "amount"


def test_leniently_zeros_are_read() -> None:
    """BOLT #11 forbids them to writers alone; zero says nothing about the amount."""
    assert amount("020m", strict=False) == 2 * 10**9
    assert amount("0", strict=False) is None
