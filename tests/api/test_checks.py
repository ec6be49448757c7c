"""Checks of an order against its invoice and its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import NewPayment, bolt11
from aurpay_async._api.checks import (
    InvoicePolicy,
    SeenOrders,
    check_order,
    check_pay_url,
    check_payable,
    check_payment,
)
from aurpay_async._api.models import UncheckedOrder
from aurpay_async._api.payment_models import UncheckedPayment
from aurpay_async._api.wire import structure
from aurpay_async._core.urls import parse_origin

from ..support.orders import NOW, PAYEE, SECRET, build_order, sign_invoice
from .samples import ORDER_ID, payment

if TYPE_CHECKING:
    from aurpay_async._api.checks import CheckResult

NOW_S = NOW.timestamp()
ORIGIN = ("https", "gateway.example", 443)


def check(
    *,
    order_fields: dict[str, Any] | None = None,
    invoice_fields: dict[str, Any] | None = None,
    payees: tuple[str, ...] = (),
    origin: str = "https://dashboard.aurpay.net",
    now: float | None = NOW_S,
    seen: SeenOrders | None = None,
) -> CheckResult:
    """Run the checks on an order that is valid except for the given fields."""
    created = structure(build_order(**(order_fields or {})), UncheckedOrder, "data")
    policy = InvoicePolicy(
        network="regtest",
        origin=parse_origin(origin),
        payees=frozenset(payees),
        seen=seen,
    )
    decoded = bolt11.decode(sign_invoice(**(invoice_fields or {})))
    return check_order(created, decoded, policy, now)


def failed(**fields: Any) -> str | None:
    result = check(**fields)
    return result.failed[0] if result.failed else None


def test_matching_order_and_invoice_pass_all_checks_in_order() -> None:
    assert check() == (
        (
            "signature",
            "network",
            "amount",
            "payment_secret",
            "timestamp",
            "expiry",
            "pay_url",
        ),
        None,
    )


def test_skipped_checks_are_not_among_the_passed_ones() -> None:
    result = check(order_fields={"payment_addr": None})
    assert "payment_secret" not in result.passed
    assert "payee" not in result.passed
    assert "payee" in check(payees=(PAYEE,)).passed


def test_order_id_received_before_fails_the_check_new() -> None:
    seen = SeenOrders()
    assert {"new", "payment_hash"} < {*check(seen=seen).passed}
    seen.add(build_order()["order_id"])
    assert check(seen=seen).failed == (
        "new",
        "an earlier request of this client received the same order",
    )


def test_payment_hash_of_another_order_fails_the_check_payment_hash() -> None:
    """BOLT #11: a hash is paid once, so one of the two orders cannot be paid."""
    seen = SeenOrders()
    seen.add("20251231000000000009", "cd" * 32)
    assert check(seen=seen).failed == (
        "payment_hash",
        "its invoice has the payment hash of order '20251231000000000009'",
    )


@pytest.mark.parametrize("network", ["testnet", "signet", "simnet"])
def test_invoice_of_another_network_fails_the_check_network(network: str) -> None:
    assert failed(invoice_fields={"network": network}) == "network"


def test_network_problem_of_a_mainnet_client_names_the_sandbox_setting() -> None:
    """A client for a test network gets no such hint."""
    created = structure(build_order(), UncheckedOrder, "data")
    policy = InvoicePolicy(network="mainnet", origin=ORIGIN, payees=frozenset())
    result = check_order(created, bolt11.decode(sign_invoice()), policy, NOW_S)
    problem = (
        "the invoice is for regtest, and not for mainnet; if base_url is a sandbox's, "
        'set AURPAY_NETWORK=regtest or network="regtest"'
    )
    assert result.failed == ("network", problem)
    policy = policy._replace(network="signet")
    result = check_order(created, bolt11.decode(sign_invoice()), policy, NOW_S)
    assert result.failed == (
        "network",
        "the invoice is for regtest, and not for signet",
    )


@pytest.mark.parametrize(
    ("amount", "msat"),
    [
        ("0.00020000", 19_999_999),
        ("0.00020000", 20_000_001),
        ("0.00020000", 200_000_000),
        ("0.00020000", None),
        ("0.00020001", 20_000_000),
        ("0.000200000000000001", 20_000_000),
        ("0", 20_000_000),
        ("-0.00020000", 20_000_000),
        ("21000001", 20_000_000),
    ],
)
def test_invoice_of_another_or_no_amount_fails_the_check_amount(
    amount: str, msat: int | None
) -> None:
    assert (
        failed(order_fields={"amount": amount}, invoice_fields={"amount_msat": msat})
        == "amount"
    )


@pytest.mark.parametrize(
    ("amount", "msat"),
    [("0.0002", 20_000_000), ("2E-4", 20_000_000), ("0.00000000001", 1)],
)
def test_amount_is_compared_as_a_number(amount: str, msat: int) -> None:
    assert (
        failed(order_fields={"amount": amount}, invoice_fields={"amount_msat": msat})
        is None
    )


@pytest.mark.parametrize(
    "payment_addr", ["cd" * 32, "", SECRET[:-2], SECRET + "00", "x"]
)
def test_different_payment_addr_fails_the_check_payment_secret(
    payment_addr: str,
) -> None:
    assert failed(order_fields={"payment_addr": payment_addr}) == "payment_secret"


def test_payment_addr_is_compared_without_regard_to_case() -> None:
    assert failed(order_fields={"payment_addr": SECRET.upper()}) is None


@pytest.mark.parametrize(
    ("offset", "check_name"),
    [
        (-300, None),
        (-301, "timestamp"),
        (-(10**9), "timestamp"),
        (0, None),
        (3599, None),
        (3600, "expiry"),
        (10**9, "expiry"),
    ],
)
def test_expired_and_future_invoices_fail_the_checks_of_time(
    offset: int, check_name: str | None
) -> None:
    assert failed(now=NOW_S + offset) == check_name


def test_checks_of_time_are_skipped_for_a_stored_order() -> None:
    result = check(now=None, payees=(PAYEE,))
    assert result.failed is None
    assert result.passed == (
        "signature",
        "network",
        "amount",
        "payment_secret",
        "payee",
        "pay_url",
    )


def test_payee_that_is_not_pinned_fails_the_check_payee() -> None:
    other = "02" + "11" * 32
    assert failed(payees=(other, PAYEE)) is None
    assert failed(payees=(other,)) == "payee"


@pytest.mark.parametrize(
    "pay_url",
    [
        "https://dashboard.aurpay.net/#/cashier/1",
        "https://DASHBOARD.aurpay.net/#/cashier/1",
        "https://dashboard.aurpay.net:443/",
        "https://gateway.example:8443/checkout?order=1",
    ],
)
def test_pay_url_of_aurpay_and_of_the_clients_origin_pass(pay_url: str) -> None:
    origin = "https://gateway.example:8443"
    assert failed(order_fields={"pay_url": pay_url}, origin=origin) is None


@pytest.mark.parametrize(
    "pay_url",
    [
        "http://dashboard.aurpay.net/#/cashier/1",
        "https://dashboard.aurpay.net:8443/",
        "https://dashboard.aurpay.net.evil.example/",
        "https://dashboard.aurpay.net@evil.example/",
        "https://evil.example/https://dashboard.aurpay.net/",
        "https://evil.example\\@dashboard.aurpay.net/",
        "https://aurpay.net/",
        "https://dashboard.aurpay.net./",
        "https://gateway.example/",
        "//dashboard.aurpay.net/",
        "javascript:alert(1)",
        "data:text/html,x",
        "lightning:lnbc1",
        "https://dashboard.aurpay.net/ evil",
        'https://dashboard.aurpay.net/#"><script>alert(1)</script>',
        "https://dashboard.aurpay.net/#'onload=alert(1)",
        "https://dashboard.aurpay.net/#\u3164",
        "",
    ],
)
def test_pay_url_of_another_origin_fails_the_check_pay_url(pay_url: str) -> None:
    origin = "https://gateway.example:8443"
    assert failed(order_fields={"pay_url": pay_url}, origin=origin) == "pay_url"


def test_checks_stop_at_the_first_failure() -> None:
    result = check(order_fields={"amount": "1", "pay_url": "x"})
    assert result.passed == ("signature", "network")
    assert result.failed is not None
    assert "100000000000 msat" in result.failed[1]


def test_payment_is_compared_with_its_request_up_to_the_first_failure() -> None:
    requested = NewPayment(18, "USD", chain="ETH", coin="USDT-ERC20")
    policy = InvoicePolicy(network="mainnet", origin=ORIGIN, payees=frozenset())

    def result(**fields: Any) -> CheckResult:
        created = structure(
            payment(**{"amount": "18.0123", **fields}), UncheckedPayment, "data"
        )
        return check_payment(created, requested, policy)

    assert result(chain="ETH", currency="USDT-ERC20") == (
        ("price", "currency", "chain", "coin", "amount", "address", "pay_url"),
        None,
    )
    assert result(pay_url=None).passed == ("price", "currency", "amount", "address")
    seen = SeenOrders()
    seen.add(ORDER_ID)
    policy = policy._replace(seen=seen)
    assert result().failed == (
        "new",
        "an earlier request of this client received the same order",
    )
    policy = policy._replace(seen=SeenOrders())
    assert result().passed[:2] == ("new", "price")
    policy = policy._replace(seen=None)
    assert result(vs_price="18.000000000000000001") == (
        (),
        ("price", "requested 18, the order is for 18.000000000000000001"),
    )
    assert result(chain="T\u202eRX", address="") == (
        ("price", "currency"),
        ("chain", "requested ETH, the order is for 'T\\u202eRX'"),
    )
    assert result(address="a b").failed == (
        "address",
        "the address is empty, too long, or contains an invalid character",
    )


def test_payable_checks_ignore_the_pinned_payees() -> None:
    """They are Aurpay's, and the merchant may withdraw to anyone."""
    policy = InvoicePolicy(
        network="regtest", origin=ORIGIN, payees=frozenset({"02" * 33})
    )
    decoded = bolt11.decode(sign_invoice())
    assert check_payable(decoded, policy, NOW_S) == (
        ("signature", "network", "timestamp", "expiry"),
        None,
    )
    assert check_payable(decoded, policy._replace(network="signet"), NOW_S).failed == (
        "network",
        "the invoice is for regtest, and not for signet",
    )
    late = check_payable(decoded, policy, NOW_S + 3600).failed
    assert late == ("expiry", "the invoice expired 0 s ago")


def test_check_pay_url_accepts_the_client_and_aurpay() -> None:
    policy = InvoicePolicy(network="mainnet", origin=ORIGIN, payees=frozenset())
    assert check_pay_url("https://gateway.example/pay#/x", policy) is None
    assert check_pay_url("https://dashboard.aurpay.net/", policy) is None
    assert check_pay_url("https://evil.example/", policy) == (
        "pay_url has the origin https://evil.example"
    )


def test_check_pay_url_accepts_configured_origins_exactly() -> None:
    policy = InvoicePolicy(
        network="mainnet",
        origin=ORIGIN,
        payees=frozenset(),
        pay_url_origins=frozenset({parse_origin("https://pay.example")}),
    )
    assert check_pay_url("https://pay.example/#/cashier/1", policy) is None
    for url in (
        "https://pay.example:8443/",
        "http://pay.example/",
        "https://a.pay.example/",
        "https://pay.example.evil.example/",
    ):
        assert check_pay_url(url, policy) is not None
