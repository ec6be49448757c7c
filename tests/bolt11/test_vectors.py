"""Every published invoice gets the expected result and values, on both curves."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import bolt11
from aurpay_async.bolt11 import _bech32, _ecdsa, _fields, _invoice
from aurpay_async.errors import InvoiceError, InvoiceInvalidError

from ..conftest import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
#: A zero amount is zero in lnd and absent in eclair; here it is absent unless strict.
ZERO_AMOUNT = "bitcoinex-012"


Reading = dict[str, Any]


def find_differences(
    vectors: Iterable[dict[str, Any]],
    read: Callable[[dict[str, Any]], Reading],
    expect: Callable[[dict[str, Any]], Reading],
) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return differing values by vector and name: the actual and the expected one.

    One test checks all vectors: a test takes longer than an invoice.
    """
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for vector in vectors:
        expected = expect(vector)
        try:
            is_read = read(vector)
        except Exception as error:
            error.add_note(f"while reading {vector['id']}")
            raise
        wrong = {
            name: (is_read.get(name), expected.get(name))
            for name in is_read | expected
            if is_read.get(name) != expected.get(name)
        }
        if wrong:
            found[vector["id"]] = wrong
    return found


def test_all_published_invoices_are_in_the_file() -> None:
    assert len(INVOICES) == 245
    assert sum(vector["strict"] for vector in INVOICES) == 128
    assert sum(vector["valid"] for vector in INVOICES) == 131


def accepts(text: str, *, strict: bool) -> bool:
    try:
        bolt11.decode(text, strict=strict)
    except InvoiceError:
        return False
    return True


def test_find_differences_returns_only_values_that_differ() -> None:
    vectors = [{"id": "good", "x": 1}, {"id": "bad", "x": 2}, {"id": "odd", "x": 3}]
    found = find_differences(
        vectors,
        lambda vector: {"x": vector["x"], "y": 0},
        lambda vector: {"x": 1, "y": 0} if vector["x"] < 3 else {"x": 3},
    )
    assert found == {"bad": {"x": (2, 1)}, "odd": {"y": (0, None)}}
    with pytest.raises(KeyError) as caught:
        find_differences([{"id": "broken"}], lambda vector: vector["x"], dict)
    assert caught.value.__notes__ == ["while reading broken"]


RECOVERED = cache(_ecdsa.recover)


@pytest.fixture
def each_curve(curve: Curve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache recovered keys in plain Python, which takes milliseconds for one."""
    if curve is _ecdsa:
        monkeypatch.setattr(_ecdsa, "recover", RECOVERED)


@pytest.mark.usefixtures("each_curve")
def test_strict_mode_accepts_the_published_invoices_that_a_payment_sdk_should() -> None:
    accepted = {v["id"] for v in INVOICES if accepts(v["invoice"], strict=True)}
    assert accepted == {v["id"] for v in INVOICES if v["strict"]}


@pytest.mark.usefixtures("each_curve")
def test_lenient_mode_accepts_the_published_invoices_that_bolt_11_calls_valid() -> None:
    agreed = [v for v in INVOICES if not v.get("disputed")]
    accepted = {v["id"] for v in agreed if accepts(v["invoice"], strict=False)}
    assert accepted == {v["id"] for v in agreed if v["valid"]}


@pytest.mark.usefixtures("each_curve")
def test_accepted_published_invoices_have_the_expected_values() -> None:
    good = [v for v in INVOICES if v["strict"] or v["valid"]]
    assert find_differences(good, decode_values, get_expected_values) == {}


def decode_values(vector: dict[str, Any]) -> Reading:
    invoice = bolt11.decode(vector["invoice"], strict=vector["strict"])
    return {
        **{name: getattr(invoice, name) for name in SAME_NAMES},
        "network": invoice.network,
        "expiry": invoice.expiry,
        "min_final_cltv_expiry": invoice.min_final_cltv_expiry,
        "features": [feature.bit for feature in invoice.features],
        "fallbacks": convert_to_dicts(invoice.fallbacks),
        "routes": [convert_to_dicts(route) for route in invoice.routes],
        "signature": invoice.signature,
        "text": str(invoice),
        "skipped": list_skipped(invoice),
        "expires_at": int(invoice.expires_at.timestamp()),
    }


#: Names that our invoices and the vectors share.
SAME_NAMES = [
    "amount_msat",
    "timestamp",
    "payment_hash",
    "payment_secret",
    "description",
    "description_hash",
    "metadata",
    "payee",
]


def get_expected_values(vector: dict[str, Any]) -> Reading:
    expected = vector["expected"]
    signature = expected["signature"]
    unknown = [*map(str, expected["unknown_tags"]), *expected["skipped_tags"]]
    return {
        **{name: expected[name] for name in SAME_NAMES},
        "network": NETWORKS[expected["currency"]],
        "expiry": expected["effective_expiry"],
        "min_final_cltv_expiry": expected["effective_min_final_cltv_expiry_delta"],
        "features": expected["feature_bits"],
        "fallbacks": expected["fallbacks"],
        "routes": expected["route_hints"],
        "signature": f"{signature['compact']}{signature['recovery_id']:02x}",
        "text": vector["invoice"].lower(),
        "skipped": sorted(unknown),
        # datetime ends with the year 9999.
        "expires_at": min(expected["expires_at"], 253402300799),
    }


def convert_to_dicts(records: tuple[Any, ...]) -> list[dict[str, Any]]:
    import attrs

    return [attrs.asdict(record) for record in records]


def list_skipped(invoice: bolt11.Invoice) -> list[str]:
    """Return unknown fields in the form of the vectors: a number, or tag and length."""
    return sorted(
        f"{field.tag}/{len(field.data)}"
        if field.tag in "pshn"
        else str(_bech32.CHARSET.index(field.tag))
        for field in invoice.unknown_fields
    )


@pytest.mark.usefixtures("each_curve")
def test_decodable_published_invoices_have_the_expected_parts() -> None:
    readable = [v for v in INVOICES if v["decodes"]]
    assert find_differences(readable, decode_parts, get_expected_parts) == {}


def decode_parts(vector: dict[str, Any]) -> Reading:
    parts = _bech32.decode(vector["invoice"])
    network, amount = _bech32.parse_hrp(parts.hrp, offset=0, strict=False)
    digest = _invoice.digest(parts.hrp, parts.value >> 520, len(parts.digits) - 104)
    signed = _invoice._signature(parts)
    fields = _fields.split(parts.digits[7:-104], 0, strict=False)
    named = fields.known.get("n")
    return {
        "hrp": parts.hrp,
        "network": network,
        "amount_msat": 0 if vector["id"] == ZERO_AMOUNT else amount,
        "timestamp": int(parts.digits[:7], 32),
        "signing_hash": digest.hex(),
        "compact": signed[:64].hex(),
        "recovery_id": signed[64],
        "tags": list_tags(parts.digits[7:-104]),
        "payee": _invoice._payee(parts, signed, named, strict=False),
        **parse_fields(fields, network),
    }


def get_expected_parts(vector: dict[str, Any]) -> Reading:
    expected = vector["expected"]
    return {
        "hrp": expected["prefix"] + expected["amount_text"],
        "network": NETWORKS[expected["currency"]],
        "compact": expected["signature"]["compact"],
        "recovery_id": expected["signature"]["recovery_id"],
        # Only where it is not UTF-8.
        "description_bytes": expected.get("description_bytes"),
        **{name: expected[name] for name in SAME_PARTS},
    }


#: Names that the parts above and the vectors share.
SAME_PARTS = [
    "amount_msat",
    "timestamp",
    "signing_hash",
    "tags",
    "payee",
    "payment_hash",
    "payment_secret",
    "description_hash",
    "metadata",
    "payee_in_n",
    "expiry",
    "min_final_cltv_expiry_delta",
    "description",
    "feature_bits",
    "fallbacks",
    "route_hints",
]


def list_tags(digits: str) -> str:
    """Return the tags in the form of the vectors: unknown ones as numbers."""
    found = ""
    while digits:
        number = int(digits[0], 32)
        tag = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"[number]
        unknown = str(number) if number < 10 else f"({number})"
        found += tag if tag in "pshndmxcfr9" else unknown
        digits = digits[3 + int(digits[1:3], 32) :]
    return found


def parse_fields(fields: _fields.Fields, network: bolt11.Network) -> Reading:
    known = fields.known
    raw = {
        name: _fields.parse_bytes(known[tag], strict=False).hex()
        for tag, name in {
            "p": "payment_hash",
            "s": "payment_secret",
            "h": "description_hash",
            "m": "metadata",
            "n": "payee_in_n",
        }.items()
        if tag in known
    }
    numbers = {
        name: _fields.parse_number(known[tag], strict=False)
        for tag, name in {"x": "expiry", "c": "min_final_cltv_expiry_delta"}.items()
        if tag in known
    }
    features = _fields.list_features(int(known.get("9", "0"), 32))
    return {
        **raw,
        **numbers,
        **(parse_description(known["d"]) if "d" in known else {}),
        "feature_bits": [feature.bit for feature in features],
        "fallbacks": parse_valid_fallbacks(fields, network),
        "route_hints": parse_valid_routes(fields),
    }


def parse_description(digits: str) -> Reading:
    """Return the description, or its bytes if it is not UTF-8."""
    try:
        return {"description": _fields.parse_description({"d": digits}, strict=False)}
    except InvoiceInvalidError:
        return {"description_bytes": _fields.parse_bytes(digits, strict=False).hex()}


def parse_valid_fallbacks(
    fields: _fields.Fields, network: bolt11.Network
) -> list[dict[str, Any]]:
    found = []
    for digits in fields.all("f"):
        try:
            found.append(_fields.parse_fallback(digits, network, strict=False))
        except InvoiceInvalidError:
            continue
    return convert_to_dicts(tuple(found))


def parse_valid_routes(fields: _fields.Fields) -> list[list[dict[str, Any]]]:
    found = []
    for digits in fields.all("r"):
        try:
            found.append(convert_to_dicts(_fields.parse_route(digits, strict=False)))
        except InvoiceInvalidError:
            continue
    return found
