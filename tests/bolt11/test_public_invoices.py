"""Public invoices of wallets and services get the expected result, on both curves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from aurpay_async import bolt11
from aurpay_async.errors import InvoiceDecodeError, InvoiceInvalidError

from ..conftest import load

if TYPE_CHECKING:
    from aurpay_async.bolt11._secp256k1 import Curve

INVOICES: list[dict[str, Any]] = load("invoices.json")["invoices"]


def test_every_public_invoice_is_unique_and_has_a_source() -> None:
    assert len({vector["invoice"] for vector in INVOICES}) == 109
    assert all(vector["sources"] for vector in INVOICES)
    verdicts = Counter((vector["strict"], vector["lenient"]) for vector in INVOICES)
    assert verdicts == {
        (None, None): 91,
        ("payment-secret", "payment-secret"): 13,
        ("feature", "feature"): 2,
        ("decode", "decode"): 2,
        ("amount", None): 1,
    }


def test_public_invoices_are_accepted_or_rejected_by_the_expected_rule(
    curve: Curve,
) -> None:
    """One test for all invoices: a test takes longer than an invoice."""
    for mode in ("strict", "lenient"):
        expected = {vector["id"]: vector[mode] for vector in INVOICES}
        assert {
            v["id"]: find_broken_rule(v["invoice"], mode) for v in INVOICES
        } == expected


def find_broken_rule(text: str, mode: str) -> str | None:
    try:
        bolt11.decode(text, strict=mode == "strict")
    except InvoiceInvalidError as error:
        return error.rule
    except InvoiceDecodeError:
        return "decode"
    return None


def test_accepted_public_invoices_have_the_expected_values() -> None:
    """Five independent decoders agree, except for documented differences."""
    accepted = [vector for vector in INVOICES if vector["strict"] is None]
    assert {v["id"]: get_values(bolt11.decode(v["invoice"])) for v in accepted} == {
        vector["id"]: vector["expected"] for vector in accepted
    }


def get_values(invoice: bolt11.Invoice) -> dict[str, Any]:
    plain = (
        "network",
        "amount_msat",
        "timestamp",
        "expiry",
        "payment_hash",
        "payment_secret",
        "description",
        "description_hash",
        "metadata",
        "payee",
        "min_final_cltv_expiry",
    )
    return {
        **{name: getattr(invoice, name) for name in plain},
        "feature_bits": [feature.bit for feature in invoice.features],
        "fallback_addresses": [fallback.address for fallback in invoice.fallbacks],
        "hops_of_routes": [len(route) for route in invoice.routes],
    }
