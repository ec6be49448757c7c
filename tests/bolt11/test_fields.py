"""The fields of an invoice, one reader each."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async.bolt11 import _fields
from aurpay_async.errors import InvoiceDecodeError, InvoiceInvalidError

from ..conftest import VECTORS as VECTORS_FOLDER
from ..conftest import load
from .builder import field, words

WORDS = load("bolt11.json")["words"]


def digits(vector: dict[str, Any]) -> str:
    return "".join("0123456789abcdefghijklmnopqrstuv"[word] for word in vector["words"])


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    vectors = [vector for vector in WORDS if vector["what"] in kinds]
    assert vectors
    return pytest.mark.parametrize("vector", vectors)


@of_kind("expiry", "min_final_cltv_expiry_delta")
def test_the_published_numbers(vector: dict[str, Any]) -> None:
    """As lnd and LDK read them, up to 64 bits."""
    if vector["value"] is None:
        with pytest.raises(InvoiceInvalidError) as caught:
            _fields.read_number(digits(vector), strict=False)
        assert caught.value.rule == "number"
    else:
        assert _fields.read_number(digits(vector), strict=True) == vector["value"]


@of_kind("fallback")
def test_the_published_fallbacks(vector: dict[str, Any]) -> None:
    """Impossible ones are refused; an unknown version is kept without an address."""
    if vector["value"] is None:
        with pytest.raises(InvoiceInvalidError) as caught:
            _fields.read_fallback(digits(vector), "mainnet", strict=False)
        assert caught.value.rule == "fallback"
    else:
        fallback = _fields.read_fallback(digits(vector), "mainnet", strict=True)
        assert (fallback.version, fallback.address) == (21, None)


@of_kind("length")
def test_the_published_lengths(vector: dict[str, Any]) -> None:
    """Two words of length, the higher first."""
    content = "0" * vector["value"]
    split = _fields.split(f"d{digits(vector)}{content}", 0, strict=False)
    assert split.known == {"d": content} or split.unknown == [("d", "q" * len(content))]


@of_kind("description bytes")
def test_the_published_description_that_is_not_utf_8(vector: dict[str, Any]) -> None:
    """Refused with our error, by rule."""
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.read_description(words(vector["hex"]), strict=False)
    assert caught.value.rule == "description"


def test_a_timestamp_needs_seven_words() -> None:
    """The published one is read; that of six words is too short for an invoice."""
    first, second = [v for v in WORDS if v["what"] == "timestamp"]
    assert int(digits(first), 32) == first["value"]
    assert len(digits(second)) < 7


@pytest.mark.parametrize("cut", ["d", "d0", "d01", "dvv" + "0" * 1022])
def test_a_field_that_runs_past_the_end(cut: str) -> None:
    """The position is that of the field, not of the end."""
    whole = field("x", words("00"))
    with pytest.raises(InvoiceDecodeError, match="exceeds the invoice") as caught:
        _fields.split(whole + cut, 100, strict=False)
    assert caught.value.position == 100 + len(whole)


def test_repeatable_fields_are_all_kept_in_order() -> None:
    """`f` and `r` may be given several times, the preferred one first."""
    fields = field("f", "h0") + field("r", "0") + field("f", "i0") + field("f", "j0")
    split = _fields.split(fields, 0, strict=True)
    assert split.all("f") == ["h0", "i0", "j0"]
    assert split.all("r") == ["0"]
    assert split.all("d") == []


@pytest.mark.parametrize("tag", list("pshndmxc9"))
def test_other_fields_may_not_be_repeated(tag: str) -> None:
    """Readers disagree which of two counts: strict refuses, lenient takes the first."""
    length = {"p": 52, "s": 52, "h": 52, "n": 53}.get(tag, 2)
    fields = field(tag, "1" * length) + field(tag, "2" * length)
    with pytest.raises(InvoiceInvalidError, match="is repeated") as caught:
        _fields.split(fields, 7, strict=True)
    assert caught.value.rule == "field"
    assert f"character {7 + 3 + length}" in str(caught.value)
    split = _fields.split(fields, 0, strict=False)
    assert split.known == {tag: "1" * length}
    assert split.unknown == [(tag, "z" * length)]


@pytest.mark.parametrize("tag", list("pshn"))
@pytest.mark.parametrize("length", [0, 51, 54])
def test_hashes_and_keys_have_one_length(tag: str, length: int) -> None:
    """A wrong one is refused, or leniently skipped as BOLT #11 once said."""
    fields = field(tag, "0" * length)
    with pytest.raises(InvoiceInvalidError, match="wrong length"):
        _fields.split(fields, 0, strict=True)
    split = _fields.split(fields, 0, strict=False)
    assert (split.known, split.unknown) == ({}, [(tag, "q" * length)])


@given(st.binary(max_size=100))
def test_bytes_survive(data: bytes) -> None:
    """Eight bits in five, padded with zeros."""
    assert _fields.read_bytes(words(data.hex()), strict=True) == data


@pytest.mark.parametrize("digits", ["01", "0000001", "000", "1"])
def test_padding_is_zero_and_short(digits: str) -> None:
    """What does not fill a byte must be zero, and never a whole word too many."""
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.read_bytes(digits, strict=True)
    assert caught.value.rule == "padding"
    assert len(_fields.read_bytes(digits, strict=False)) == 5 * len(digits) // 8


@pytest.mark.parametrize(("digits", "value"), [("01", 1), ("0", 0), ("00", 0)])
def test_a_number_that_begins_with_zero_is_read_leniently_only(
    digits: str, value: int
) -> None:
    """Zero itself has no digits: that is its "minimum data_length"."""
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.read_number(digits, strict=True)
    assert caught.value.rule == "number"
    assert _fields.read_number(digits, strict=False) == value
    assert _fields.read_number("", strict=True) == 0


@pytest.mark.parametrize("bits", [{8, 17}, {9, 16}, {16, 17, 25}])
@pytest.mark.parametrize("strict", [True, False])
def test_basic_mpp_without_payment_secret_is_rejected(
    bits: set[int], strict: bool
) -> None:
    """Whether the one or the other is optional makes no difference."""
    digits = digits_of(sum(1 << bit for bit in bits))
    with pytest.raises(InvoiceInvalidError, match="basic_mpp without") as caught:
        _fields.read_features(digits, strict=strict)
    assert caught.value.rule == "feature"
    for secret in (14, 15):
        with_secret = digits_of(sum(1 << bit for bit in bits | {secret}))
        assert len(_fields.read_features(with_secret, strict=strict)) == len(bits) + 1


def test_dependencies_are_those_of_bolt_9_for_features_of_invoices() -> None:
    """The published table, whose context "9" marks features of invoices."""
    rows = re.findall(
        r"^\| (\d+)/\d+ +\| `(\w+)` +\|[^|]*\| (\S*) +\|([^|]*)\|",
        (VECTORS_FOLDER / "bolts/09-features.md").read_text("utf-8"),
        re.MULTILINE,
    )
    bit_of = {name: int(bit) for bit, name, _, _ in rows}
    in_invoices = [row for row in rows if "9" in row[2]]
    assert len(in_invoices) == 4
    assert {
        int(bit): bit_of[needed.strip(" `")]
        for bit, _, _, needed in in_invoices
        if needed.strip()
    } == _fields._DEPENDENCIES
    assert {int(bit): name for bit, name, _, _ in in_invoices}.items() <= (
        _fields._FEATURE_NAMES.items()
    )


@pytest.mark.parametrize("version", [0, 16, 17, 19, 31])
def test_padding_of_a_fallback_is_zero_for_every_version(version: int) -> None:
    """Readers disagree about it for versions that are not known yet."""
    digits = "0123456789abcdefghijklmnopqrstuv"[version] + words("02" * 21)
    assert digits.endswith("8")  # of which two bits are padding
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.read_fallback(f"{digits[:-1]}9", "mainnet", strict=True)
    assert caught.value.rule == "padding"


def test_features_are_named_and_told_apart() -> None:
    """Even bits are required, odd ones optional; both bear the name of the pair."""
    bits = (1 << 9) | (1 << 14) | (1 << 99)
    first, second, third = _fields.read_features(digits_of(bits), strict=True)
    assert (first.bit, first.name, first.required) == (9, "var_onion_optin", False)
    assert (second.bit, second.name, second.required) == (14, "payment_secret", True)
    assert (third.bit, third.name, third.required) == (99, None, False)


def test_features_of_chance_are_not_kept() -> None:
    """Whoever writes invoices cannot fill this process's memory."""
    _fields._read_usual.cache_clear()
    long = digits_of(sum(1 << bit for bit in range(1, 1001, 2)))
    assert len(_fields.read_features(long, strict=True)) == 500
    assert _fields._read_usual.cache_info().currsize == 0
    _fields.read_features(digits_of(1 << 9), strict=True)
    assert _fields._read_usual.cache_info().currsize == 1


def digits_of(number: int) -> str:
    """A number as base-32 digits."""
    found = ""
    while number:
        number, digit = divmod(number, 32)
        found = "0123456789abcdefghijklmnopqrstuv"[digit] + found
    return found


@pytest.mark.parametrize("length", [0, 1, 50, 52, 101])
def test_a_route_is_whole_hops(length: int) -> None:
    """Of 51 bytes each, and at least one."""
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.read_route(words("02" * length), strict=True)
    assert caught.value.rule == "route"


@pytest.mark.parametrize(
    ("network", "version", "program", "address"),
    [
        ("mainnet", 17, "00" * 20, "1111111111111111111114oLvT2"),
        (
            "mainnet",
            18,
            "8f55563b9a19f321c211e9b9f38cdf686ea07845",
            "3EktnHQD7RiAE6uzMj2ZifT9YgRrkSgzQX",
        ),
        (
            "testnet",
            17,
            "3172b5654f6683c8fb146959d347ce303cae4ca7",
            "mk2QpYatsKicvFVuTAQLBryyccRXMUaGHP",
        ),
        (
            "regtest",
            0,
            "751e76e8199196d454941c45d1b3a323f1433bd6",
            "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
        ),
        (
            "signet",
            0,
            "751e76e8199196d454941c45d1b3a323f1433bd6",
            "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx",
        ),
    ],
)
def test_fallback_addresses(
    network: Any, version: int, program: str, address: str
) -> None:
    """As wallets write them, on each network."""
    digits = "0123456789abcdefghijklmnopqrstuv"[version] + words(program)
    fallback = _fields.read_fallback(digits, network, strict=True)
    assert (fallback.version, fallback.program, fallback.address) == (
        version,
        program,
        address,
    )
