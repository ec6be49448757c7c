"""The prefix of an invoice: network and amount."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async.bolt11 import _bech32
from aurpay_async.errors import InvoiceDecodeError, InvoiceError, InvoiceInvalidError

from ..conftest import load

VECTORS = load("bolt11.json")
#: Two sources contradict each other: an empty amount never reaches this function.
AMOUNTS = [vector for vector in VECTORS["amounts"] if vector["text"]]


def parse_amount(text: str, *, strict: bool = True) -> int | None:
    return _bech32.parse_hrp(f"lnbc{text}", offset=0, strict=strict)[1]


@pytest.mark.parametrize("vector", AMOUNTS, ids=[v["text"] for v in AMOUNTS])
def test_published_amounts_are_parsed_like_other_implementations_do(
    vector: dict[str, object],
) -> None:
    if vector["valid"]:
        assert parse_amount(str(vector["text"]), strict=False) == vector["msat"]
    else:
        with pytest.raises(InvoiceError):
            parse_amount(str(vector["text"]), strict=False)


@pytest.mark.parametrize("vector", VECTORS["amount_encoding"])
def test_amounts_are_formatted_in_the_shortest_form(vector: dict[str, object]) -> None:
    assert _bech32.format_amount(int(str(vector["msat"]))) == vector["text"]


@given(st.integers(1, 21_000_000 * 10**11))
def test_every_amount_survives_a_round_trip(msat: int) -> None:
    assert parse_amount(_bech32.format_amount(msat)) == msat


@given(st.text("0123456789munp", max_size=25))
def test_any_amount_is_parsed_exactly_or_rejected(text: str) -> None:
    try:
        msat = parse_amount(text)
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
def test_prefixes_of_all_networks_are_distinguished(prefix: str, network: str) -> None:
    assert _bech32.parse_hrp(prefix, offset=0, strict=True) == (network, None)
    assert _bech32.parse_hrp(f"{prefix}20m", offset=0, strict=True) == (
        network,
        2 * 10**9,
    )


@pytest.mark.parametrize("hrp", ["ln", "lnx", "lnbcx", "bc", "lnbct", "xlnbc", "lnbcr"])
def test_an_unknown_prefix_is_rejected_with_the_known_ones(hrp: str) -> None:
    with pytest.raises(InvoiceDecodeError, match="lnbc, lnbcrt, lnsb, lntb, lntbs"):
        _bech32.parse_hrp(hrp, offset=0, strict=False)


@pytest.mark.parametrize("text", ["20x", "2.5m", "20mm", "1" * 21, "20m20", "1٣"])
def test_an_error_about_a_malformed_amount_has_its_position(text: str) -> None:
    with pytest.raises(InvoiceDecodeError, match="20 digits") as caught:
        _bech32.parse_hrp(f"lnbcrt{text}", offset=10, strict=False)
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
def test_an_amount_that_breaks_a_rule_is_rejected(text: str, problem: str) -> None:
    with pytest.raises(InvoiceInvalidError, match=problem) as caught:
        parse_amount(text)
    assert caught.value.rule == "amount"


def test_zeros_in_an_amount_are_accepted_unless_strict() -> None:
    assert parse_amount("020m", strict=False) == 2 * 10**9
    assert parse_amount("0", strict=False) is None
