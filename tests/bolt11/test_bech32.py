"""Bech32: the checksum against the reference, and the positions in errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async.bolt11 import _bech32
from aurpay_async.errors import InvoiceDecodeError

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def compute_remainder(values: list[int]) -> int:
    """Return the remainder, with the loop of BIP 173."""
    generator = [0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i in range(5):
            checksum ^= generator[i] if top >> i & 1 else 0
    return checksum


def compute_checksum(hrp: str, data: list[int]) -> list[int]:
    """Return the six values of BIP 173."""
    expanded = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    value = compute_remainder([*expanded, *data, 0, 0, 0, 0, 0, 0]) ^ 1
    return [value >> 5 * (5 - i) & 31 for i in range(6)]


def encode(hrp: str, data: list[int]) -> str:
    full = data + compute_checksum(hrp, data)
    return hrp + "1" + "".join(CHARSET[value] for value in full)


@pytest.mark.parametrize(
    "text",
    [
        "A12UEL5L",
        "a12uel5l",
        "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
        "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
        "11qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqc8247j",
        "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
        "?1ezyfcl",
    ],
)
def test_the_valid_examples_of_bip_173_are_decoded(text: str) -> None:
    assert _bech32.decode(text).text == text.lower()


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("pzry9x0s0muk", 12, "separator"),
        ("1pzry9x0s0muk", 0, "no prefix before"),
        ("x1b4n0q5v", 2, "not a bech32"),
        ("li1dgmt3", 8, "fewer than six"),
        ("A1G7SGD8", 2, "checksum"),
        ("10a06t8", 0, "no prefix before"),
        ("1qzzfhee", 0, "no prefix before"),
        ("lnbcrt1qqqqqÿqqqqqq", 12, "not an ASCII"),
        ("lnbcrt1qqqqKqqqqqq", 11, "mixed"),
        ("LNBCRT1QQqQQQQQQ", 9, "mixed"),
        ("", 0, "separator"),
        ("lnbc1qq qqqqqqqqq", 7, "not a bech32"),
        ("lnbc1qq_qqqqqqqqq", 7, "not a bech32"),
        ("lnbc1+qqqqqqqqqqq", 5, "not a bech32"),
        ("LNBC1QQ\u212aQQQQQQQQ", 7, "not an ASCII"),
    ],
)
def test_a_bech32_error_has_the_position_of_the_first_invalid_character(
    text: str, position: int, problem: str
) -> None:
    with pytest.raises(InvoiceDecodeError, match=problem) as caught:
        _bech32.decode(text)
    assert caught.value.position == position


def test_the_offset_is_added_to_the_position_of_a_bech32_error() -> None:
    with pytest.raises(InvoiceDecodeError) as caught:
        _bech32.decode("x1b4n0q5v", offset=10)
    assert caught.value.position == 12


data = st.lists(st.integers(0, 31), max_size=900)
prefixes = st.text("abcdefghijklmnopqrstuvwxyz0123456789!?", min_size=1, max_size=40)


@given(prefixes, data)
def test_the_checksum_equals_that_of_the_bip_173_reference(
    hrp: str, values: list[int]
) -> None:
    text = encode(hrp, values)
    parts = _bech32.decode(text)
    assert (parts.text, parts.hrp) == (text, hrp)
    assert [int(digit, 32) for digit in parts.digits] == values
    assert parts.value == int(parts.digits or "0", 32)
    assert _bech32.encode(hrp, parts.digits) == text


@given(prefixes, data, st.data())
def test_the_checksum_detects_any_single_wrong_character(
    hrp: str, values: list[int], draw: st.DataObject
) -> None:
    text = encode(hrp, values)
    first = len(hrp) + 1
    position = draw.draw(st.integers(first, len(text) - 1))
    other = draw.draw(st.sampled_from(CHARSET.replace(text[position], "")))
    broken = text[:position] + other + text[position + 1 :]
    with pytest.raises(InvoiceDecodeError, match="checksum"):
        _bech32.decode(broken)


def test_x_to_the_124_has_the_remainder_of_the_short_sum() -> None:
    """x**124 and x**36 + x**35 + x**27 + x**17 + x**5 + 1 have the same remainder."""

    def remainder(power: int) -> int:
        # The reference starts with the remainder 1, so that this is x**power.
        return compute_remainder([0] * power)

    short = 0
    for power in (36, 35, 27, 17, 5, 0):
        short ^= remainder(power)
    assert remainder(124) == short


@pytest.mark.parametrize(
    ("version", "program", "address"),
    [
        # BIP 173 and BIP 350.
        (
            0,
            "751e76e8199196d454941c45d1b3a323f1433bd6",
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        ),
        (
            1,
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ),
        (16, "751e", "bc1sw50qgdz25j"),
    ],
)
def test_segwit_addresses_use_bech32_for_version_0_and_bech32m_above(
    version: int, program: str, address: str
) -> None:
    assert _bech32.encode_segwit("bc", version, bytes.fromhex(program)) == address
