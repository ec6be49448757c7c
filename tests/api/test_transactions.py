"""Transactions of the account, and invoices that the merchant pays."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import Effect, Transaction, Withdrawal, bolt11
from aurpay_async._api.account import (
    build_list_transactions,
    build_withdraw_lightning,
    parse_list_transactions,
    parse_withdraw_lightning,
    require_payable,
)
from aurpay_async._api.checks import InvoicePolicy
from aurpay_async.errors import (
    APIError,
    AurpayError,
    InvalidRequestError,
    InvalidResponseError,
    InvoiceDecodeError,
    InvoiceInvalidError,
    RequestOutcome,
)

from ..conftest import examples
from ..support.orders import NOW, build_response, sign_invoice, wrap_data
from .samples import json_values, paged, transaction

POLICY = InvoicePolicy(
    network="regtest",
    origin=("https", "dashboard.aurpay.net", 443),
    payees=frozenset({"02" * 33}),
)
PAID = require_payable(sign_invoice(), None, POLICY, NOW.timestamp())


def test_list_transactions_sends_a_path_without_a_trailing_slash() -> None:
    request = build_list_transactions(2, 50)
    assert request.path == "/api/v2/tx?page=2&size=50"
    assert (request.method, request.effect) == ("GET", Effect.READ)


def test_transaction_is_parsed_with_exact_amounts() -> None:
    page = parse_list_transactions(
        build_response(wrap_data(paged([transaction(tx_hash="00")], total=1)))
    )
    assert page.items == (
        Transaction(
            user_id="mct-bea5c44da875",
            tx_id="ca1f0db3-0a3d-47c5-94ed-c94193aa1934",
            tx_type="ORDER",
            status="SUCCESS",
            chain="BTC",
            coin="BTC",
            amount=Decimal("0.00102549"),
            obtained=Decimal("0.00101729"),
            fee=Decimal("0.00000820392"),
            extra={"tx_hash": "00"},
        ),
    )


@pytest.mark.parametrize("absent", [True, False])
def test_obtained_amount_of_a_transaction_may_be_null(absent: bool) -> None:
    row = transaction(obtained=None)
    if absent:
        del row["obtained"]
    page = parse_list_transactions(build_response(wrap_data(paged([row]))))
    assert page.items[0].obtained is None


@pytest.mark.parametrize("field", sorted(set(transaction()) - {"obtained"}))
def test_malformed_field_of_a_transaction_hides_no_row(
    field: str,
) -> None:
    """Only a row without an id is rejected, and named."""
    rows = [transaction()] * 3 + [transaction(**{field: [None]})]
    content = build_response(wrap_data(paged(rows)))
    if field == "tx_id":
        with pytest.raises(InvalidResponseError) as caught:
            parse_list_transactions(content)
        assert caught.value.paths == ("data.data[3].tx_id",)
        return
    *good, odd = parse_list_transactions(content).items
    assert len(good) == 3
    name = {"currency": "coin"}.get(field, field)
    assert not getattr(odd, name)
    assert odd.extra == {field: [None]}


@examples(15)
@given(st.dictionaries(st.sampled_from(sorted(transaction())), json_values, max_size=2))
def test_any_changed_transaction_gives_a_typed_row_or_an_error(
    row: dict[str, Any],
) -> None:
    content = wrap_data(paged([transaction(**row)]))
    try:
        page = parse_list_transactions(build_response(json.dumps(content).encode()))
    except AurpayError:
        return
    assert isinstance(page.items[0].amount, Decimal | None)
    assert isinstance(page.items[0].obtained, Decimal | None)


@pytest.mark.parametrize("expected", [None, 20_000_000])
@pytest.mark.parametrize("given_as", [str, str.upper, "lightning:{}".format])
def test_payable_invoice_is_accepted_in_any_spelling(
    expected: int | None, given_as: Any
) -> None:
    paid = require_payable(given_as(sign_invoice()), expected, POLICY, NOW.timestamp())
    assert paid.invoice == bolt11.decode(sign_invoice())
    assert paid.amount_msat == 20_000_000


def test_decoded_invoice_is_decoded_again_before_a_withdrawal() -> None:
    """A caller can construct any record; only the encoded invoice is signed."""
    decoded = bolt11.decode(sign_invoice())
    assert require_payable(decoded, None, POLICY, NOW.timestamp()).invoice == decoded
    vars(decoded)["amount_msat"] = 1
    paid = require_payable(decoded, None, POLICY, NOW.timestamp())
    assert paid.amount_msat == 20_000_000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            sign_invoice(network="testnet"),
            (
                "invoice: the invoice is for testnet, and not for regtest; "
                "ask the payee for an invoice on the client's network"
            ),
        ),
        (
            sign_invoice(timestamp=int(NOW.timestamp()) - 3600),
            "invoice: the invoice expired 0 s ago; ask the payee for a new invoice",
        ),
        (
            sign_invoice(timestamp=int(NOW.timestamp()) + 301),
            (
                "invoice: the invoice was created 301 s in the future; is this clock "
                "right?; set this machine's clock, or ask the payee for a new invoice"
            ),
        ),
        (
            sign_invoice(amount_msat=None),
            (
                "invoice: it leaves the amount open, and Aurpay does not document "
                "the unit of the amount field beside it; ask the payee for an "
                "invoice with an amount"
            ),
        ),
    ],
    ids=["network", "expiry", "timestamp", "amount"],
)
def test_invoice_that_cannot_be_paid_now_is_rejected_with_a_hint(
    text: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        require_payable(text, None, POLICY, NOW.timestamp())
    assert str(caught.value) == sentence
    assert caught.value.field == "invoice"


@pytest.mark.parametrize("expected", [19_999_999, 20_000_001, 20_000])
def test_invoice_of_another_amount_than_expected_is_rejected(expected: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        require_payable(sign_invoice(), expected, POLICY, NOW.timestamp())
    assert caught.value.field == "amount"
    assert str(caught.value).startswith(
        f"amount: expected {expected} msat, but the invoice asks for 20000000;"
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("lnbcrt1", InvoiceDecodeError),
        (sign_invoice()[:-1], InvoiceDecodeError),
        (b"lnbcrt1", InvoiceDecodeError),
        (None, InvoiceDecodeError),
        (sign_invoice(features=(8, 14, 100)), InvoiceInvalidError),
    ],
)
def test_undecodable_invoice_is_not_payable(text: Any, kind: type[AurpayError]) -> None:
    with pytest.raises(kind) as caught:
        require_payable(text, None, POLICY, NOW.timestamp())
    assert caught.value.outcome is RequestOutcome.NOT_SENT


def test_invoice_is_payable_until_it_expires_and_within_the_clock_skew() -> None:
    moments = [NOW - timedelta(seconds=300), NOW + timedelta(seconds=3599.9)]
    for moment in moments:
        assert require_payable(sign_invoice(), None, POLICY, moment.timestamp())


def test_withdraw_sends_the_encoded_invoice_and_no_amount() -> None:
    request = build_withdraw_lightning(PAID.invoice)
    assert (request.method, request.path) == ("POST", "/api/bln/withdraw")
    assert request.effect is Effect.TRANSFER
    assert json.loads(request.body) == {"ln_invoices": sign_invoice()}


def test_withdrawal_has_the_sent_invoice_and_the_response() -> None:
    created = parse_withdraw_lightning(build_response(wrap_data({"id": 7})), PAID)
    assert created == Withdrawal(
        invoice=PAID.invoice, amount_msat=20_000_000, data={"id": 7}
    )
    assert "id" not in repr(created)


@pytest.mark.parametrize(
    "content", [wrap_data(None), wrap_data([]), wrap_data({}, result=False), b"<html>"]
)
def test_malformed_withdrawal_response_leaves_the_outcome_unknown(
    content: object,
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        parse_withdraw_lightning(build_response(content), PAID)
    assert caught.value.outcome is RequestOutcome.UNKNOWN


def test_rejected_withdrawal_raises_api_error() -> None:
    with pytest.raises(APIError) as caught:
        parse_withdraw_lightning(
            build_response({"code": 5, "message": "balance"}), PAID
        )
    assert caught.value.outcome is RequestOutcome.REJECTED


@examples(15)
@given(st.dictionaries(st.sampled_from(["code", "data", "result", "x"]), json_values))
def test_any_withdrawal_response_gives_the_sent_invoice_or_an_error(
    outer: dict[str, Any],
) -> None:
    content = {**wrap_data({}), **outer}
    try:
        created = parse_withdraw_lightning(
            build_response(json.dumps(content).encode()), PAID
        )
    except AurpayError:
        return
    assert created.amount_msat == 20_000_000
