"""Decoding: rules, errors, accepted forms, and bounded time."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import bolt11
from aurpay_async.bolt11 import _bech32
from aurpay_async.errors import InvoiceDecodeError, InvoiceError, InvoiceInvalidError

from ..conftest import examples
from .builder import (
    BASICS,
    PAYEE,
    PAYMENT_HASH,
    PAYMENT_SECRET,
    TIMESTAMP,
    build,
    encode_hex,
    encode_text,
)

if TYPE_CHECKING:
    from aurpay_async.bolt11._secp256k1 import Curve

GOOD = build(*BASICS)
P, S, D = BASICS


def find_broken_rule(invoice: str, *, strict: bool = True) -> str:
    with pytest.raises(InvoiceInvalidError) as caught:
        bolt11.decode(invoice, strict=strict)
    return caught.value.rule


def test_absent_fields_have_the_defaults_of_bolt_11(curve: Curve) -> None:
    invoice = bolt11.decode(GOOD)
    assert invoice.network == "regtest"
    assert invoice.amount_msat is None
    assert invoice.timestamp == TIMESTAMP
    assert invoice.expiry == 3600
    assert invoice.payment_hash == PAYMENT_HASH
    assert invoice.payment_secret == PAYMENT_SECRET
    assert invoice.description == "1 cup coffee"
    assert invoice.description_hash is None
    assert invoice.metadata is None
    assert invoice.payee == PAYEE
    assert invoice.min_final_cltv_expiry == 18
    assert not invoice.fallbacks + invoice.routes
    assert not invoice.features + invoice.unknown_fields
    assert len(bytes.fromhex(invoice.signature)) == 65


def test_times_of_an_invoice_are_aware_and_in_utc() -> None:
    invoice = bolt11.decode(GOOD)
    assert invoice.created_at == datetime(2017, 6, 1, 10, 57, 38, tzinfo=UTC)
    assert invoice.expires_at == datetime(2017, 6, 1, 11, 57, 38, tzinfo=UTC)


def test_an_expiry_of_64_bits_ends_at_the_last_datetime() -> None:
    invoice = bolt11.decode(build(*BASICS, ("x", "f" + "v" * 12)))
    assert invoice.expiry == 2**64 - 1
    assert invoice.expires_at == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "form",
    [
        GOOD.upper(),
        f"lightning:{GOOD}",
        f"LIGHTNING:{GOOD.upper()}",
        f"LightNing:{GOOD}",
        f"LIGHTNING:{GOOD}",
    ],
)
def test_upper_case_and_the_lightning_scheme_are_accepted(form: str) -> None:
    invoice = bolt11.decode(form)
    assert invoice == bolt11.decode(GOOD)
    assert str(invoice) == invoice.text == GOOD
    assert invoice.uri == f"lightning:{GOOD}"


@pytest.mark.parametrize(
    ("before", "after", "position"),
    [
        ("bitcoin:?lightning=", "", 0),
        ("BITCOIN:BC1QXY?amount=0.1&lightning=", "", 0),
        ("bitcoin:1BoatSLRHtKNngkdXEeobR76b53LETtpyT?lightning=", "&label=x", 0),
        ("lightning://", "", 10),
        ("lightning:lightning:", "", 10),
        ("lightning: ", "\n", 10),
        (" ", "", 0),
        ("\ufeff", "", 0),
        ('"', '"', 0),
    ],
)
def test_an_invoice_inside_a_longer_string_is_rejected_with_its_position(
    before: str, after: str, position: int
) -> None:
    for good in (GOOD, GOOD.upper()):
        whole = before + good + after
        with pytest.raises(InvoiceDecodeError, match="no Lightning prefix") as caught:
            bolt11.decode(whole)
        assert caught.value.position == position
        start, end = len(before), len(before + good)
        message = str(caught.value)
        assert f"begins at character {start}: cut off all before it" in message
        assert (f"and all from character {end} on" in message) is bool(after)
        assert "checksum" not in message


@pytest.mark.parametrize(
    "other",
    ["", "x", "lnurl1dp68gurn8ghj7", "lno1qgsqvgnwgcg35z6ee2h3y", "bitcoin:bc1q", "ln"],
)
def test_a_string_without_a_lightning_prefix_is_rejected_with_the_known_prefixes(
    other: str,
) -> None:
    with pytest.raises(InvoiceDecodeError, match=r"no Lightning prefix \(lnbc, ") as e:
        bolt11.decode(other)
    assert e.value.position == 0
    assert "cut off" not in str(e.value)


def test_a_line_break_after_an_invoice_is_rejected_with_its_position() -> None:
    with pytest.raises(InvoiceDecodeError, match="not a bech32 character") as caught:
        bolt11.decode(f"{GOOD}\n")
    assert caught.value.position == len(GOOD)


def test_bytes_are_rejected_instead_of_decoded() -> None:
    with pytest.raises(InvoiceDecodeError, match="not bytes"):
        bolt11.decode(GOOD.encode())  # type: ignore[arg-type]


def test_a_position_includes_the_lightning_scheme() -> None:
    broken = f"lightning:{GOOD[:9]}b{GOOD[10:]}"
    with pytest.raises(InvoiceDecodeError) as caught:
        bolt11.decode(broken)
    assert caught.value.position == 19
    assert broken[19] == "b"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ((S, D), "payment-hash"),
        ((P, D), "payment-secret"),
        ((P, S), "description"),
        ((*BASICS, ("h", encode_hex("00" * 32))), "description"),
        ((P, S, ("d", encode_hex("ff"))), "description"),
        ((*BASICS, ("f", "")), "fallback"),
        ((*BASICS, ("r", "")), "route"),
        ((*BASICS, ("r", encode_hex("05" * 51))), "route"),
        ((*BASICS, ("n", encode_hex("05" * 33))), "payee"),
        ((*BASICS, ("n", encode_hex("02" + PAYMENT_HASH))), "signature"),
        ((*BASICS, ("9", "10")), None),
        ((*BASICS, ("9", "1000")), None),
        ((*BASICS, ("9", "100000000000000000000")), "feature"),
        ((*BASICS, ("9", "4080")), "feature"),
    ],
)
def test_an_invoice_that_must_not_be_paid_is_rejected_in_both_modes(
    fields: tuple[tuple[str, str], ...], rule: str | None, curve: Curve
) -> None:
    invoice = build(*fields)
    if rule is None:
        assert bolt11.decode(invoice).features
        return
    assert find_broken_rule(invoice) == rule
    assert find_broken_rule(invoice, strict=False) == rule


@pytest.mark.parametrize(
    ("hrp", "fields", "rule"),
    [
        ("lnbcrt", (*BASICS, P), "field"),
        ("lnbcrt", (*BASICS, S), "field"),
        ("lnbcrt", (*BASICS, D), "field"),
        ("lnbcrt", (*BASICS, ("p", "0" * 51)), "field"),
        ("lnbcrt", (*BASICS, ("x", "01")), "number"),
        ("lnbcrt", (*BASICS, ("x", "0")), "number"),
        ("lnbcrt", (*BASICS, ("c", "0")), "number"),
        ("lnbcrt", (*BASICS, ("f", "kvvvv")), "padding"),
        ("lnbcrt", (*BASICS, ("c", "001")), "number"),
        ("lnbcrt", (P, S, ("d", encode_text("x")[:-1] + "1")), "padding"),
        ("lnbcrt", (P, S, ("d", encode_text("x") + "0")), "padding"),
        ("lnbcrt", (*BASICS, ("9", "")), "number"),
        ("lnbcrt", (*BASICS, ("9", "0")), "number"),
        ("lnbcrt", (*BASICS, ("9", "0g8")), "number"),
        ("lnbcrt", (*BASICS, ("f", "1" + encode_hex("6162"))), "fallback"),
        ("lnbcrt0m", BASICS, "amount"),
        ("lnbcrt01m", BASICS, "amount"),
    ],
)
def test_an_invoice_that_breaks_a_rule_for_writers_is_rejected_if_strict(
    hrp: str, fields: tuple[tuple[str, str], ...], rule: str
) -> None:
    invoice = build(*fields, hrp=hrp)
    assert find_broken_rule(invoice) == rule
    assert bolt11.decode(invoice, strict=False).payment_hash == PAYMENT_HASH


def test_the_length_of_an_invoice_is_limited_in_both_modes() -> None:
    long = build(*BASICS, ("m", "0" * 1000), *[("t", "0" * 1000)] * 5)
    assert 6000 < len(long) <= 7089
    assert bolt11.decode(long).metadata == "00" * 625
    longer = build(*BASICS, *[("t", "0" * 1000)] * 8)
    with pytest.raises(InvoiceDecodeError, match="more than 7089") as caught:
        bolt11.decode(longer)
    assert caught.value.position == 7089
    assert len(bolt11.decode(longer, strict=False).unknown_fields) == 8
    longest = build(*BASICS, *[("t", "0" * 1000)] * 17)
    with pytest.raises(InvoiceDecodeError, match="more than 16384"):
        bolt11.decode(longest, strict=False)


def test_an_invoice_too_short_for_a_signature_is_rejected() -> None:
    with pytest.raises(InvoiceDecodeError, match="too short"):
        bolt11.decode(_bech32.encode("lnbcrt", "0" * 110))


def test_the_signature_must_be_of_the_named_payee(curve: Curve) -> None:
    """In strict mode the recovery id has to agree as well."""
    named = build(*BASICS, ("n", encode_hex(PAYEE)))
    assert bolt11.decode(named).payee == PAYEE
    parts = _bech32.decode(named)
    for recovery_id in (*range(8), 27, 31, 128, 255):
        changed = parts.value >> 8 << 8 | recovery_id
        digits = _bech32.to_digits(changed, len(parts.digits))
        text = _bech32.encode("lnbcrt", digits)
        other = bolt11.decode(text, strict=False)
        assert other.payee == PAYEE
        assert other.signature.endswith(f"{recovery_id:02x}")
        if text != named:
            assert find_broken_rule(text) == "signature"


def test_a_high_s_signature_is_accepted_only_without_a_named_payee(
    curve: Curve,
) -> None:
    assert bolt11.decode(build(*BASICS, high_s=True)).payee == PAYEE
    assert (
        find_broken_rule(build(*BASICS, ("n", encode_hex(PAYEE)), high_s=True))
        == "signature"
    )


def test_a_recovery_id_above_three_is_rejected(curve: Curve) -> None:
    parts = _bech32.decode(GOOD)
    digits = _bech32.to_digits(parts.value >> 8 << 8 | 4, len(parts.digits))
    assert find_broken_rule(_bech32.encode("lnbcrt", digits)) == "signature"


def test_stray_words_before_the_signature_are_rejected() -> None:
    with pytest.raises(InvoiceDecodeError, match="exceeds the invoice") as caught:
        bolt11.decode(build(*BASICS, tail="00"))
    assert caught.value.position == len(build(*BASICS)) - 110


def test_unknown_fields_are_returned_as_bech32_characters() -> None:
    invoice = bolt11.decode(build(*BASICS, ("t", encode_hex("c0ffee")), ("q", "")))
    assert invoice.unknown_fields == (
        ("t", _bech32.to_chars(encode_hex("c0ffee"))),
        ("q", ""),
    )


def test_an_invoice_is_immutable_and_can_be_copied_and_pickled() -> None:
    invoice = bolt11.decode(GOOD)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        invoice.amount_msat = 1  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(invoice)) == copy.deepcopy(invoice) == invoice  # noqa: S301
    assert hash(invoice) == hash(copy.copy(invoice))


def test_the_repr_of_an_invoice_does_not_contain_its_description() -> None:
    invoice = bolt11.decode(build(P, S, ("d", encode_text("\x1b[31m<script>"))))
    assert repr(invoice) == (
        f"Invoice(network='regtest', amount_msat=None, payment_hash='{PAYMENT_HASH}', "
        f"payee='{PAYEE}')"
    )


@given(st.text(max_size=400))
def test_any_string_raises_only_invoice_errors(anything: str) -> None:
    with pytest.raises(InvoiceError):
        bolt11.decode(anything)
    with pytest.raises(InvoiceError):
        bolt11.decode(f"lnbc1{anything}", strict=False)


@examples(100)
@given(
    st.text("qpzry9x8gf2tvdw0s3jn54khce6mua7l", max_size=300),
    st.sampled_from(["lnbc", "lnbcrt20u", "lntb1p", "lnbc0", "lnsb10p"]),
    st.booleans(),
)
def test_random_characters_with_a_valid_checksum_raise_only_invoice_errors(
    data: str, hrp: str, strict: bool
) -> None:
    digits = data.translate(str.maketrans(_bech32.CHARSET, _bech32.DIGITS))
    invoice = _bech32.encode(hrp, digits)
    try:
        decoded = bolt11.decode(invoice, strict=strict)
    except InvoiceError as error:
        assert isinstance(error, InvoiceDecodeError | InvoiceInvalidError)
    else:
        assert decoded.text == invoice


@given(st.data(), st.booleans())
def test_random_fields_in_a_valid_invoice_raise_only_invoice_errors(
    data: st.DataObject, strict: bool
) -> None:
    tag = st.sampled_from("pshndmxcfr9qt")
    content = st.text("0123456789abcdefghijklmnopqrstuv", max_size=90)
    more = data.draw(st.lists(st.tuples(tag, content), max_size=4))
    invoice = build(*BASICS, *more)
    try:
        decoded = bolt11.decode(invoice, strict=strict)
    except InvoiceError:
        return
    assert decoded.text == invoice
    assert repr(decoded)
    assert decoded.expires_at > decoded.created_at or decoded.expiry == 0


LONGEST = 200_000


@pytest.mark.parametrize(
    "long",
    [
        "lnbc1" + "q" * LONGEST,
        "1" * LONGEST,
        "lnbc" + "9" * LONGEST + "m1" + "q" * 200,
        "Q" * (LONGEST // 2) + "q" * (LONGEST // 2),
        "\U0001f4a9" * LONGEST,
        "lightning:" * (LONGEST // 10),
    ],
    ids=["data", "separators", "amount", "mixed", "emoji", "schemes"],
)
def test_a_very_long_string_is_rejected_by_its_length(long: str) -> None:
    with pytest.raises(InvoiceDecodeError, match="more than"):
        bolt11.decode(long)
    with pytest.raises(InvoiceDecodeError, match="more than"):
        bolt11.decode(long, strict=False)


def test_an_invoice_of_maximum_length_full_of_routes_is_decoded(curve: Curve) -> None:
    hop = encode_hex(PAYEE + "00" * 18)
    invoice = build(*BASICS, *[("r", hop)] * 185)
    assert 15_500 < len(invoice) <= 16_384
    assert len(bolt11.decode(invoice, strict=False).routes) == 185
