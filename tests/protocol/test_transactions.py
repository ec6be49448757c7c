"""Money that moves: rows of the account, and invoices that may be paid."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurpay_async import Effect, Transaction, Withdrawal, bolt11
from aurpay_async._checks import InvoicePolicy
from aurpay_async._protocol import (
    build_list_transactions,
    build_withdraw_lightning,
    parse_list_transactions,
    parse_withdraw_lightning,
    require_payable,
)
from aurpay_async.errors import (
    APIError,
    AurpayError,
    InvalidRequestError,
    InvalidResponseError,
    InvoiceDecodeError,
    InvoiceInvalidError,
    RequestOutcome,
)
from tests.orders import NOW, answer, envelope, invoice

from .samples import json_values, paged, transaction

POLICY = InvoicePolicy(
    network="regtest",
    origin=("https", "dashboard.aurpay.net", 443),
    payees=frozenset({"02" * 33}),
)
PAID = require_payable(invoice(), None, POLICY, NOW.timestamp())


def test_the_request_for_a_page() -> None:
    """Without a slash at its end, unlike the list of orders."""
    request = build_list_transactions(2, 50)
    assert request.path == "/api/v2/tx?page=2&size=50"
    assert (request.method, request.effect) == ("GET", Effect.READ)


def test_a_transaction() -> None:
    """All documented fields; amounts are exact."""
    page = parse_list_transactions(
        answer(envelope(paged([transaction(tx_hash="00")], total=1)))
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
def test_what_was_obtained_may_be_null(absent: bool) -> None:
    """As in the one documented example."""
    row = transaction(obtained=None)
    if absent:
        del row["obtained"]
    page = parse_list_transactions(answer(envelope(paged([row]))))
    assert page.items[0].obtained is None


@pytest.mark.parametrize("field", sorted(set(transaction()) - {"obtained"}))
def test_one_odd_field_of_a_transaction_leaves_the_row_and_all_others(
    field: str,
) -> None:
    """Only a row without an id is rejected, and named."""
    rows = [transaction()] * 3 + [transaction(**{field: [None]})]
    content = answer(envelope(paged(rows)))
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


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(sorted(transaction())), json_values, max_size=2))
def test_any_change_of_a_row_gives_a_row_or_our_error(row: dict[str, Any]) -> None:
    """Typed."""
    content = envelope(paged([transaction(**row)]))
    try:
        page = parse_list_transactions(answer(json.dumps(content).encode()))
    except AurpayError:
        return
    assert isinstance(page.items[0].amount, Decimal | None)
    assert isinstance(page.items[0].obtained, Decimal | None)


@pytest.mark.parametrize("expected", [None, 20_000_000])
@pytest.mark.parametrize("given_as", [str, str.upper, "lightning:{}".format])
def test_an_invoice_that_may_be_paid(expected: int | None, given_as: Any) -> None:
    """In any spelling; what is paid is the text in lower case."""
    paid = require_payable(given_as(invoice()), expected, POLICY, NOW.timestamp())
    assert paid.invoice == bolt11.decode(invoice())
    assert paid.amount_msat == 20_000_000


def test_an_invoice_that_was_decoded_is_decoded_again() -> None:
    """A record can be made by anybody; only its text is signed."""
    decoded = bolt11.decode(invoice())
    assert require_payable(decoded, None, POLICY, NOW.timestamp()).invoice == decoded
    vars(decoded)["amount_msat"] = 1
    paid = require_payable(decoded, None, POLICY, NOW.timestamp())
    assert paid.amount_msat == 20_000_000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            invoice(network="testnet"),
            (
                "invoice: the invoice is for testnet, and not for regtest; "
                "ask for an invoice on the client's network"
            ),
        ),
        (
            invoice(timestamp=int(NOW.timestamp()) - 3600),
            "invoice: the invoice expired 0 s ago; ask for a new invoice",
        ),
        (
            invoice(timestamp=int(NOW.timestamp()) + 301),
            (
                "invoice: the invoice was created 301 s in the future; is this clock "
                "right?; set this machine's clock, or ask for a new invoice"
            ),
        ),
        (
            invoice(amount_msat=None),
            (
                "invoice: it leaves the amount open, and Aurpay does not document "
                "the unit of the amount field beside it; ask for an invoice with an "
                "amount"
            ),
        ),
    ],
    ids=["network", "expiry", "timestamp", "amount"],
)
def test_an_invoice_that_cannot_be_paid_now(text: str, sentence: str) -> None:
    """Each with what to do instead."""
    with pytest.raises(InvalidRequestError) as caught:
        require_payable(text, None, POLICY, NOW.timestamp())
    assert str(caught.value) == sentence
    assert caught.value.field == "invoice"


@pytest.mark.parametrize("expected", [19_999_999, 20_000_001, 20_000])
def test_an_invoice_over_another_amount(expected: int) -> None:
    """To the millisatoshi, and both ways: less is no more expected than more."""
    with pytest.raises(InvalidRequestError) as caught:
        require_payable(invoice(), expected, POLICY, NOW.timestamp())
    assert caught.value.field == "amount"
    assert str(caught.value).startswith(
        f"amount: expected {expected} msat, but the invoice asks for 20000000;"
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("lnbcrt1", InvoiceDecodeError),
        (invoice()[:-1], InvoiceDecodeError),
        (b"lnbcrt1", InvoiceDecodeError),
        (None, InvoiceDecodeError),
        (invoice(features=(8, 14, 100)), InvoiceInvalidError),
    ],
)
def test_what_is_no_invoice(text: Any, kind: type[AurpayError]) -> None:
    """Nothing was sent."""
    with pytest.raises(kind) as caught:
        require_payable(text, None, POLICY, NOW.timestamp())
    assert caught.value.outcome is RequestOutcome.NOT_SENT


def test_an_invoice_is_payable_until_it_expires() -> None:
    """And up to five minutes before it was made: clocks differ."""
    moments = [NOW - timedelta(seconds=300), NOW + timedelta(seconds=3599.9)]
    for moment in moments:
        assert require_payable(invoice(), None, POLICY, moment.timestamp())


def test_the_request_that_withdraws() -> None:
    """One text under a plural name, and no amount beside it."""
    request = build_withdraw_lightning(PAID.invoice)
    assert (request.method, request.path) == ("POST", "/api/bln/withdraw")
    assert request.effect is Effect.TRANSFER
    assert json.loads(request.body) == {"ln_invoices": invoice()}


def test_a_withdrawal() -> None:
    """What was sent, and what the platform says of it."""
    made = parse_withdraw_lightning(answer(envelope({"id": 7})), PAID)
    assert made == Withdrawal(
        invoice=PAID.invoice, amount_msat=20_000_000, data={"id": 7}
    )
    assert "id" not in repr(made)


@pytest.mark.parametrize(
    "content", [envelope(None), envelope([]), envelope({}, result=False), b"<html>"]
)
def test_an_answer_that_says_nothing_of_a_withdrawal(content: object) -> None:
    """It may be paid."""
    with pytest.raises(InvalidResponseError) as caught:
        parse_withdraw_lightning(answer(content), PAID)
    assert caught.value.outcome is RequestOutcome.UNKNOWN


def test_a_refusal_to_withdraw() -> None:
    """Nothing was paid."""
    with pytest.raises(APIError) as caught:
        parse_withdraw_lightning(answer({"code": 5, "message": "balance"}), PAID)
    assert caught.value.outcome is RequestOutcome.REJECTED


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["code", "data", "result", "x"]), json_values))
def test_any_answer_to_a_withdrawal_gives_one_or_our_error(
    outer: dict[str, Any],
) -> None:
    """Over what was sent, whatever the answer says."""
    content = {**envelope({}), **outer}
    try:
        made = parse_withdraw_lightning(answer(json.dumps(content).encode()), PAID)
    except AurpayError:
        return
    assert made.amount_msat == 20_000_000
