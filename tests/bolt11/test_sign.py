"""Signed invoices, decoded by this package and by independent decoders."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import InvalidRequestError, bolt11

from ..conftest import examples
from .builder import PAYEE

KEY = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"
HASH = "0001020304050607080900010203040506070809000102030405060708090102"
SECRET = "11" * 32
HOP = bolt11.Hop(
    pubkey="029e03a901b85534ff1e92c43c74431f7ce72046060fcf7a95c37e148f78c77255",
    short_channel_id="66051x263430x1800",
    fee_base_msat=1,
    fee_proportional_millionths=20,
    cltv_expiry_delta=3,
)

bytes32 = st.binary(min_size=32, max_size=32).map(bytes.hex)
hops = st.builds(
    bolt11.Hop,
    pubkey=st.sampled_from([PAYEE, HOP.pubkey]),
    short_channel_id=st.tuples(
        st.integers(0, 2**24 - 1), st.integers(0, 2**24 - 1), st.integers(0, 2**16 - 1)
    ).map(lambda parts: "x".join(map(str, parts))),
    fee_base_msat=st.integers(0, 2**32 - 1),
    fee_proportional_millionths=st.integers(0, 2**32 - 1),
    cltv_expiry_delta=st.integers(0, 2**16 - 1),
)
fallbacks = st.one_of(
    st.tuples(st.sampled_from([0, 17, 18]), st.binary(min_size=20, max_size=20)),
    st.tuples(st.integers(2, 16), st.binary(min_size=2, max_size=40)),
    st.tuples(st.just(1), st.binary(min_size=32, max_size=32)),
).map(lambda pair: (pair[0], pair[1].hex()))
fields = st.fixed_dictionaries(
    {
        "payment_hash": bytes32,
        "payment_secret": bytes32,
        "timestamp": st.integers(0, 2**35 - 1),
        "amount_msat": st.none() | st.integers(1, 21_000_000 * 10**11),
        "network": st.sampled_from(["testnet", "signet", "regtest", "simnet"]),
        "description": st.text(max_size=60),
        "expiry": st.none() | st.integers(1, 2**64 - 1),
        "min_final_cltv_expiry": st.none() | st.integers(1, 2**64 - 1),
        "metadata": st.none() | st.binary(max_size=60).map(bytes.hex),
        "name_payee": st.booleans(),
        "fallbacks": st.lists(fallbacks, max_size=2),
        "routes": st.lists(st.lists(hops, min_size=1, max_size=2), max_size=2),
        "features": st.sets(
            st.sampled_from([8, 9, 14, 15, 16, 17, 25, 48, 49, 99, 201])
        ).map(lambda bits: bits | {14} if bits & {16, 17} else bits),
    }
)


@examples(15)
@given(fields)
def test_a_signed_invoice_is_decoded_to_the_same_values(
    given_fields: dict[str, Any],
) -> None:
    invoice = bolt11.decode(bolt11.sign(KEY, **given_fields))
    for name in (
        "payment_hash",
        "payment_secret",
        "timestamp",
        "amount_msat",
        "network",
    ):
        assert getattr(invoice, name) == given_fields[name]
    for name in ("description", "metadata"):
        assert getattr(invoice, name) == given_fields[name]
    for name, default in {"expiry": 3600, "min_final_cltv_expiry": 18}.items():
        expected = given_fields[name]
        assert getattr(invoice, name) == (default if expected is None else expected)
    assert invoice.payee == PAYEE
    assert [(f.version, f.program) for f in invoice.fallbacks] == given_fields[
        "fallbacks"
    ]
    assert [list(route) for route in invoice.routes] == given_fields["routes"]
    assert {feature.bit for feature in invoice.features} == given_fields["features"]
    assert invoice.unknown_fields == ()


def make(**fields: Any) -> str:
    basics = {"payment_hash": HASH, "payment_secret": SECRET, "timestamp": 1496314658}
    return bolt11.sign(KEY, **{**basics, **fields})


def test_a_description_can_be_replaced_by_its_hash() -> None:
    invoice = bolt11.decode(make(description_hash="22" * 32))
    assert (invoice.description, invoice.description_hash) == (None, "22" * 32)


def test_the_same_fields_are_signed_to_the_same_invoice(curve: object) -> None:
    assert make(description="1 cup coffee", amount_msat=250_000_000) == COFFEE


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"network": "mainnet"}, "network"),
        ({"network": "moonnet"}, "network"),
        ({"payment_hash": "00"}, "payment_hash"),
        ({"payment_hash": "zz" * 32}, "payment_hash"),
        ({"payment_secret": ""}, "payment_secret"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": 2**35}, "timestamp"),
        ({"amount_msat": 0}, "amount_msat"),
        ({"amount_msat": 21_000_000 * 10**11 + 1}, "amount_msat"),
        ({"amount_msat": 1.5}, "amount_msat"),
        ({"amount_msat": 1000.0}, "amount_msat"),
        ({"amount_msat": True}, "amount_msat"),
        ({"amount_msat": "1"}, "amount_msat"),
        ({"timestamp": None}, "timestamp"),
        ({"network": []}, "network"),
        ({"description": None}, "description"),
        ({"features": ["a"]}, "features"),
        ({"fallbacks": [("17", "00" * 20)]}, "fallbacks"),
        ({"expiry": 2**64}, "expiry"),
        ({"expiry": -1}, "expiry"),
        ({"expiry": 0}, "expiry"),
        ({"min_final_cltv_expiry": 0}, "min_final_cltv_expiry"),
        ({"features": [8, 17]}, "features"),
        ({"min_final_cltv_expiry": 2**64}, "min_final_cltv_expiry"),
        ({"description": "x" * 640}, "description"),
        ({"description": "x", "description_hash": "22" * 32}, "description_hash"),
        ({"metadata": "x"}, "metadata"),
        ({"fallbacks": [(40, "00")]}, "fallbacks"),
        ({"fallbacks": [(0, "00")]}, "fallbacks"),
        ({"fallbacks": [(17, "xx")]}, "fallbacks"),
        ({"features": [-1]}, "features"),
        ({"features": [5115]}, "features"),
        ({"description": "\ud800"}, "description"),
        ({"routes": [[HOP] * 13]}, "routes"),
        ({"routes": [[]]}, "routes"),
        ({"routes": [[attrs.evolve(HOP, short_channel_id="1x2")]]}, "routes"),
        ({"routes": [[attrs.evolve(HOP, cltv_expiry_delta=2**16)]]}, "routes"),
        ({"routes": [[attrs.evolve(HOP, pubkey="05" * 33)]]}, "routes"),
    ],
)
def test_an_invalid_field_is_rejected_by_the_name_of_its_argument(
    wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make(**wrong)
    assert caught.value.field == field


@pytest.mark.parametrize("key", ["00" * 32, "ff" * 32, "zz", "00"])
def test_an_invalid_private_key_is_rejected_and_not_shown(key: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        bolt11.sign(key, payment_hash=HASH, payment_secret=SECRET, timestamp=0)
    assert caught.value.field == "private_key"
    assert key not in str(caught.value)


COFFEE = (
    "lnbcrt2500u1pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqf"
    "qypqsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygsdq5xysxxats"
    "yp3k7enxv4js9qrsgqv7skdejpru38xnw36dw72nm2cq7s2k6f7zyxn93jgprekp9qhvrh"
    "g6ncpxscv5sksflyf2nj8qqc7953z74nlq2ryxseuqn9ukxgqrqprvfly2"
)

SHOWCASE: dict[str, Any] = {
    "amount_msat": 19_044_000,
    "network": "testnet",
    "description": "ナンセンス 1杯",
    "expiry": 86_400,
    "min_final_cltv_expiry": 80,
    "features": (9, 14, 17),
    "routes": [[HOP]],
    "fallbacks": [(17, "3172b5654f6683c8fb146959d347ce303cae4ca7")],
}


def test_the_pypi_package_bolt11_decodes_our_invoice_to_the_same_values() -> None:
    oracle = pytest.importorskip("bolt11", reason="the group `oracle` is not installed")
    theirs = oracle.decode(make(**SHOWCASE))
    ours = bolt11.decode(make(**SHOWCASE))
    assert theirs.currency == "tb"
    assert theirs.amount_msat == ours.amount_msat == 19_044_000
    assert theirs.date == ours.timestamp
    assert theirs.payment_hash == ours.payment_hash
    assert theirs.payment_secret == ours.payment_secret
    assert theirs.description == ours.description == "ナンセンス 1杯"
    assert theirs.expiry == ours.expiry == 86_400
    assert theirs.min_final_cltv_expiry == ours.min_final_cltv_expiry == 80
    assert theirs.payee == ours.payee == PAYEE
    assert theirs.fallback is not None


@examples(6)
@given(fields)
def test_the_pypi_package_bolt11_agrees_about_random_invoices(
    given_fields: dict[str, Any],
) -> None:
    oracle = pytest.importorskip("bolt11", reason="the group `oracle` is not installed")
    plain = {
        name: given_fields[name]
        for name in ("payment_hash", "payment_secret", "amount_msat", "description")
    }
    signed = make(**plain, timestamp=given_fields["timestamp"] % 2**31)
    theirs, ours = oracle.decode(signed), bolt11.decode(signed)
    assert theirs.payment_hash == ours.payment_hash
    assert theirs.payment_secret == ours.payment_secret
    assert theirs.amount_msat == ours.amount_msat
    assert (theirs.description or "") == ours.description
    assert theirs.payee == ours.payee
    assert theirs.date == ours.timestamp
