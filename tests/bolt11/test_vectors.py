"""Every published invoice gets its verdict and its values, on both curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import bolt11
from aurpay_async.bolt11 import _bech32, _fields, _hrp, _invoice
from aurpay_async.errors import InvoiceError, InvoiceInvalidError

from ..conftest import load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aurpay_async.bolt11._secp256k1 import Curve

VECTORS = load("bolt11.json")
INVOICES: list[dict[str, Any]] = VECTORS["invoices"]
NETWORKS = {
    "bc": "mainnet",
    "tb": "testnet",
    "tbs": "signet",
    "bcrt": "regtest",
    "sb": "simnet",
}
#: lnd reads a zero amount as zero, eclair as none; we as none, leniently.
ZERO_AMOUNT = "bitcoinex-012"


def each(vectors: Iterable[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "vector", [pytest.param(vector, id=vector["id"]) for vector in vectors]
    )


def test_all_of_them_are_here() -> None:
    """The file holds what was published: none is lost."""
    assert len(INVOICES) == 245
    assert sum(vector["strict"] for vector in INVOICES) == 128
    assert sum(vector["valid"] for vector in INVOICES) == 131


def accepted(text: str, *, strict: bool) -> bool:
    try:
        bolt11.decode(text, strict=strict)
    except InvoiceError:
        return False
    return True


@each(INVOICES)
def test_strict_takes_what_a_payment_sdk_should(
    vector: dict[str, Any], curve: Curve
) -> None:
    """The default mode gives the vector's verdict `strict`."""
    assert accepted(vector["invoice"], strict=True) is vector["strict"]


@each(vector for vector in INVOICES if not vector.get("disputed"))
def test_lenient_takes_what_the_bolt_calls_valid(
    vector: dict[str, Any], curve: Curve
) -> None:
    """strict=False gives the verdict `valid`, where readers agree about it."""
    assert accepted(vector["invoice"], strict=False) is vector["valid"]


@each(vector for vector in INVOICES if vector["strict"] or vector["valid"])
def test_the_values_of_a_good_invoice(vector: dict[str, Any], curve: Curve) -> None:
    """Whatever is taken has every value that the vector expects."""
    invoice = bolt11.decode(vector["invoice"], strict=vector["strict"])
    expected = vector["expected"]
    assert invoice.network == NETWORKS[expected["currency"]]
    assert invoice.amount_msat == expected["amount_msat"]
    assert invoice.timestamp == expected["timestamp"]
    assert invoice.expiry == expected["effective_expiry"]
    assert invoice.payment_hash == expected["payment_hash"]
    assert invoice.payment_secret == expected["payment_secret"]
    assert invoice.description == expected["description"]
    assert invoice.description_hash == expected["description_hash"]
    assert invoice.metadata == expected["metadata"]
    assert invoice.payee == expected["payee"]
    delta = expected["effective_min_final_cltv_expiry_delta"]
    assert invoice.min_final_cltv_expiry == delta
    assert [feature.bit for feature in invoice.features] == expected["feature_bits"]
    assert described(invoice.fallbacks) == expected["fallbacks"]
    assert [described(route) for route in invoice.routes] == expected["route_hints"]
    signature = expected["signature"]
    compact, recovery_id = signature["compact"], signature["recovery_id"]
    assert invoice.signature == f"{compact}{recovery_id:02x}"
    plain = vector["invoice"].lower()
    assert str(invoice) == plain
    assert skipped(invoice) == sorted(
        [*map(str, expected["unknown_tags"]), *expected["skipped_tags"]]
    )
    seconds = min(expected["expires_at"], 253402300799)  # the end of year 9999
    assert int(invoice.expires_at.timestamp()) == seconds


def described(records: tuple[Any, ...]) -> list[dict[str, Any]]:
    import attrs

    return [attrs.asdict(record) for record in records]


def skipped(invoice: bolt11.Invoice) -> list[str]:
    """The unknown fields as the vectors write them: a number, or tag and length."""
    return sorted(
        f"{field.tag}/{len(field.data)}"
        if field.tag in "pshn"
        else str(_bech32.CHARSET.index(field.tag))
        for field in invoice.unknown_fields
    )


@each(vector for vector in INVOICES if vector["decodes"])
def test_what_can_be_read(vector: dict[str, Any], curve: Curve) -> None:
    """What is readable is read right, also where the meaning is refused later."""
    expected = vector["expected"]
    parts = _bech32.decode(vector["invoice"])
    assert parts.hrp == expected["prefix"] + expected["amount_text"]
    network, amount = _hrp.parse(parts.hrp, offset=0, strict=False)
    assert network == NETWORKS[expected["currency"]]
    if vector["id"] != ZERO_AMOUNT:
        assert amount == expected["amount_msat"]
    assert int(parts.digits[:7], 32) == expected["timestamp"]
    assert _invoice.signing_hash(parts).hex() == expected["signing_hash"]
    signed = _invoice._signature(parts)
    assert signed[:64].hex() == expected["signature"]["compact"]
    assert signed[64] == expected["signature"]["recovery_id"]
    assert tags(parts.digits[7:-104]) == expected["tags"]
    fields = _fields.split(parts.digits[7:-104], 0, strict=False)
    payee = _invoice._payee(
        fields.known.get("n"),
        bytes.fromhex(expected["signing_hash"]),
        signed,
        strict=False,
    )
    assert payee == expected["payee"]
    read_alike(fields, expected, network)


def tags(digits: str) -> str:
    """The tags in order, unknown ones as numbers in brackets, as the vectors do."""
    found = ""
    while digits:
        number = int(digits[0], 32)
        tag = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"[number]
        unknown = str(number) if number < 10 else f"({number})"
        found += tag if tag in "pshndmxcfr9" else unknown
        digits = digits[3 + int(digits[1:3], 32) :]
    return found


def read_alike(
    fields: _fields.Fields, expected: dict[str, Any], network: bolt11.Network
) -> None:
    known = fields.known
    for tag, name in {
        "p": "payment_hash",
        "s": "payment_secret",
        "h": "description_hash",
        "m": "metadata",
        "n": "payee_in_n",
    }.items():
        found = _fields.read_bytes(known[tag], strict=False) if tag in known else None
        assert (found and found.hex()) == expected[name]
    for tag, name in {"x": "expiry", "c": "min_final_cltv_expiry_delta"}.items():
        number = _fields.read_number(known[tag], strict=False) if tag in known else None
        assert number == expected[name]
    if "description_bytes" in expected:
        raw = _fields.read_bytes(known["d"], strict=False)
        assert raw.hex() == expected["description_bytes"]
    elif "d" in known:
        text = _fields.read_description(known["d"], strict=False)
        assert text == expected["description"]
    bits = [
        feature.bit for feature in _fields.list_features(int(known.get("9", "0"), 32))
    ]
    assert bits == expected["feature_bits"]
    assert readable_fallbacks(fields, network) == expected["fallbacks"]
    assert readable_routes(fields) == expected["route_hints"]


def readable_fallbacks(
    fields: _fields.Fields, network: bolt11.Network
) -> list[dict[str, Any]]:
    found = []
    for digits in fields.all("f"):
        try:
            found.append(_fields.read_fallback(digits, network, strict=False))
        except InvoiceInvalidError:
            continue
    return described(tuple(found))


def readable_routes(fields: _fields.Fields) -> list[list[dict[str, Any]]]:
    found = []
    for digits in fields.all("r"):
        try:
            found.append(described(_fields.read_route(digits, strict=False)))
        except InvoiceInvalidError:
            continue
    return found
