"""The parsers of an invoice's fields."""

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
from .builder import encode_field, encode_hex

WORDS = load("bolt11.json")["words"]


def encode_digits(vector: dict[str, Any]) -> str:
    return "".join("0123456789abcdefghijklmnopqrstuv"[word] for word in vector["words"])


def select_vectors(*kinds: str) -> pytest.MarkDecorator:
    vectors = [vector for vector in WORDS if vector["what"] in kinds]
    assert vectors
    return pytest.mark.parametrize("vector", vectors)


@select_vectors("expiry", "min_final_cltv_expiry_delta")
def test_published_numbers_are_parsed_like_lnd_and_ldk_do(
    vector: dict[str, Any],
) -> None:
    if vector["value"] is None:
        with pytest.raises(InvoiceInvalidError) as caught:
            _fields.parse_number(encode_digits(vector), strict=False)
        assert caught.value.rule == "number"
    else:
        assert (
            _fields.parse_number(encode_digits(vector), strict=True) == vector["value"]
        )


@select_vectors("fallback")
def test_published_fallback_addresses_are_parsed_or_rejected(
    vector: dict[str, Any],
) -> None:
    if vector["value"] is None:
        with pytest.raises(InvoiceInvalidError) as caught:
            _fields.parse_fallback(encode_digits(vector), "mainnet", strict=False)
        assert caught.value.rule == "fallback"
    else:
        fallback = _fields.parse_fallback(encode_digits(vector), "mainnet", strict=True)
        assert (fallback.version, fallback.address) == (21, None)


@select_vectors("length")
def test_published_field_lengths_are_parsed(vector: dict[str, Any]) -> None:
    content = "0" * vector["value"]
    split = _fields.split(f"d{encode_digits(vector)}{content}", 0, strict=False)
    assert split.known == {"d": content} or split.unknown == [("d", "q" * len(content))]


@select_vectors("description bytes")
def test_a_description_that_is_not_utf_8_is_rejected(vector: dict[str, Any]) -> None:
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.parse_description({"d": encode_hex(vector["hex"])}, strict=False)
    assert caught.value.rule == "description"


def test_a_timestamp_of_six_words_is_rejected() -> None:
    first, second = [v for v in WORDS if v["what"] == "timestamp"]
    assert int(encode_digits(first), 32) == first["value"]
    assert len(encode_digits(second)) < 7


@pytest.mark.parametrize("cut", ["d", "d0", "d01", "dvv" + "0" * 1022])
def test_a_field_that_exceeds_the_invoice_is_rejected_with_its_position(
    cut: str,
) -> None:
    whole = encode_field("x", encode_hex("00"))
    with pytest.raises(InvoiceDecodeError, match="exceeds the invoice") as caught:
        _fields.split(whole + cut, 100, strict=False)
    assert caught.value.position == 100 + len(whole)


def test_repeatable_fields_are_returned_in_order() -> None:
    fields = (
        encode_field("f", "h0")
        + encode_field("r", "0")
        + encode_field("f", "i0")
        + encode_field("f", "j0")
    )
    split = _fields.split(fields, 0, strict=True)
    assert split.all("f") == ["h0", "i0", "j0"]
    assert split.all("r") == ["0"]
    assert split.all("d") == []


@pytest.mark.parametrize("tag", list("pshndmxc9"))
def test_another_repeated_field_is_rejected_if_strict_and_else_ignored(
    tag: str,
) -> None:
    length = {"p": 52, "s": 52, "h": 52, "n": 53}.get(tag, 2)
    fields = encode_field(tag, "1" * length) + encode_field(tag, "2" * length)
    with pytest.raises(InvoiceInvalidError, match="is repeated") as caught:
        _fields.split(fields, 7, strict=True)
    assert caught.value.rule == "field"
    assert f"character {7 + 3 + length}" in str(caught.value)
    split = _fields.split(fields, 0, strict=False)
    assert split.known == {tag: "1" * length}
    assert split.unknown == [(tag, "z" * length)]


@pytest.mark.parametrize("tag", list("pshn"))
@pytest.mark.parametrize("length", [0, 51, 54])
def test_a_hash_of_wrong_length_is_rejected_if_strict_and_else_unknown(
    tag: str, length: int
) -> None:
    fields = encode_field(tag, "0" * length)
    with pytest.raises(InvoiceInvalidError, match="wrong length"):
        _fields.split(fields, 0, strict=True)
    split = _fields.split(fields, 0, strict=False)
    assert (split.known, split.unknown) == ({}, [(tag, "q" * length)])


@given(st.binary(max_size=100))
def test_bytes_survive_a_round_trip_through_digits(data: bytes) -> None:
    assert _fields.parse_bytes(encode_hex(data.hex()), strict=True) == data


@pytest.mark.parametrize("digits", ["01", "0000001", "000", "1"])
def test_padding_that_is_not_zero_or_too_long_is_rejected_if_strict(
    digits: str,
) -> None:
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.parse_bytes(digits, strict=True)
    assert caught.value.rule == "padding"
    assert len(_fields.parse_bytes(digits, strict=False)) == 5 * len(digits) // 8


@pytest.mark.parametrize(("digits", "value"), [("01", 1), ("0", 0), ("00", 0)])
def test_a_number_with_a_leading_zero_is_rejected_if_strict(
    digits: str, value: int
) -> None:
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.parse_number(digits, strict=True)
    assert caught.value.rule == "number"
    assert _fields.parse_number(digits, strict=False) == value
    assert _fields.parse_number("", strict=True) == 0


@pytest.mark.parametrize("bits", [{8, 17}, {9, 16}, {16, 17, 25}])
@pytest.mark.parametrize("strict", [True, False])
def test_basic_mpp_without_payment_secret_is_rejected(
    bits: set[int], strict: bool
) -> None:
    digits = encode_number(sum(1 << bit for bit in bits))
    with pytest.raises(InvoiceInvalidError, match="basic_mpp without") as caught:
        _fields.parse_features(digits, strict=strict)
    assert caught.value.rule == "feature"
    for secret in (14, 15):
        with_secret = encode_number(sum(1 << bit for bit in bits | {secret}))
        assert len(_fields.parse_features(with_secret, strict=strict)) == len(bits) + 1


def test_dependencies_are_those_of_bolt_9_for_features_of_invoices() -> None:
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
def test_padding_of_a_fallback_must_be_zero_for_every_version(version: int) -> None:
    digits = "0123456789abcdefghijklmnopqrstuv"[version] + encode_hex("02" * 21)
    assert digits.endswith("8")  # of which two bits are padding
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.parse_fallback(f"{digits[:-1]}9", "mainnet", strict=True)
    assert caught.value.rule == "padding"


def test_features_have_a_name_and_are_required_or_optional() -> None:
    bits = (1 << 9) | (1 << 14) | (1 << 99)
    first, second, third = _fields.parse_features(encode_number(bits), strict=True)
    assert (first.bit, first.name, first.required) == (9, "var_onion_optin", False)
    assert (second.bit, second.name, second.required) == (14, "payment_secret", True)
    assert (third.bit, third.name, third.required) == (99, None, False)


def test_long_feature_fields_are_not_cached() -> None:
    _fields._parse_cached_features.cache_clear()
    long = encode_number(sum(1 << bit for bit in range(1, 1001, 2)))
    assert len(_fields.parse_features(long, strict=True)) == 500
    assert _fields._parse_cached_features.cache_info().currsize == 0
    _fields.parse_features(encode_number(1 << 9), strict=True)
    assert _fields._parse_cached_features.cache_info().currsize == 1


def encode_number(number: int) -> str:
    """Return a number as base-32 digits."""
    found = ""
    while number:
        number, digit = divmod(number, 32)
        found = "0123456789abcdefghijklmnopqrstuv"[digit] + found
    return found


@pytest.mark.parametrize("length", [0, 1, 50, 52, 101])
def test_a_route_without_whole_hops_is_rejected(length: int) -> None:
    with pytest.raises(InvoiceInvalidError) as caught:
        _fields.parse_route(encode_hex("02" * length), strict=True)
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
def test_fallback_addresses_are_encoded_for_each_network(
    network: Any, version: int, program: str, address: str
) -> None:
    digits = "0123456789abcdefghijklmnopqrstuv"[version] + encode_hex(program)
    fallback = _fields.parse_fallback(digits, network, strict=True)
    assert (fallback.version, fallback.program, fallback.address) == (
        version,
        program,
        address,
    )
