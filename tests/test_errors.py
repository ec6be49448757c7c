"""The error tree: codes, base classes, messages, and pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from aurpay_async import AurpayClient, RetryPolicy, bolt11, errors
from aurpay_async._api.arguments import NewOrder
from aurpay_async.errors import AurpayError, RequestOutcome
from aurpay_async.testing import MemoryTransport

from .support.orders import sign_invoice

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES: list[AurpayError] = [
    errors.AurpayError("x"),
    errors.ConfigurationError("x"),
    errors.InvalidRequestError("x", field="price", hint="y"),
    errors.TransportError("x", outcome=RequestOutcome.NOT_SENT, final=True),
    errors.ConnectError("x", outcome=RequestOutcome.NOT_SENT),
    errors.ConnectTimeoutError("x", outcome=RequestOutcome.NOT_SENT),
    errors.RequestTimeoutError("x"),
    errors.ConnectionLostError("x"),
    *(
        kind(
            "x",
            status=429,
            outcome=RequestOutcome.REJECTED,
            platform_code=7,
            platform_message="y",
            retry_after=1.5,
            body=b"z",
        )
        for kind in (
            errors.APIError,
            errors.AuthenticationError,
            errors.PermissionDeniedError,
            errors.NotFoundError,
            errors.RateLimitedError,
            errors.ServerError,
        )
    ),
    errors.InvalidResponseError("x", paths=["data.amount"], body=b"z", order_id="1"),
    errors.UntrustedOrderError(
        "x", check="amount", order_id="1", status=200, body=b"z"
    ),
    errors.InvoiceError("x"),
    errors.InvoiceDecodeError("x", position=3),
    errors.InvoiceInvalidError("x", rule="amount"),
    errors.OrderMismatchError("x", order_id="1"),
    errors.PaymentPendingError("x"),
    errors.CallbackError("x", rule="body"),
    errors.CallbackSignatureError("x", rule="signature"),
    errors.CallbackStaleError("x", rule="date"),
    errors.ClaimExpiredError("x", rule="claim"),
    errors.CallbackReferenceError("x", rule="kind"),
    errors.OrderStoreError("x", reference="cart-42"),
    errors.ReferenceConflictError("cart-42", stored="20.00 USD", requested="5 EUR"),
    errors.AlreadyPaidError("x", reference="cart-42"),
    errors.PaymentNeedsReviewError("x", reference="cart-42"),
    errors.OrderNotReadyError("x", reference="cart-42"),
    errors.UnknownOrderError("x"),
    errors.StoreUnavailableError("x", reference="cart-42"),
]


def find_error_classes() -> set[type[AurpayError]]:
    return {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, AurpayError)
    }


def test_there_is_a_sample_of_every_error_class() -> None:
    assert {type(error) for error in SAMPLES} == find_error_classes()


def test_every_error_class_has_a_unique_code() -> None:
    codes = [kind.code for kind in find_error_classes()]
    assert len(set(codes)) == len(codes)
    assert all(code.isascii() and code.islower() for code in codes)


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", ["pickle", "copy", "deepcopy"])
def test_errors_are_copied_and_pickled_with_every_field(
    error: AurpayError, how: str
) -> None:
    error.attempts = 3
    error.retryable = True
    error.sent_at = datetime(2026, 1, 1, tzinfo=UTC)
    error.new_order = NewOrder("20.00", "USD", callback_url="https://shop.example/x?y")
    error.invoice = bolt11.decode(sign_invoice())
    error.advice = "look first"
    error.add_note("a note")
    error.__cause__ = errors.InvoiceInvalidError("deeper", rule="amount")
    ways: dict[str, Callable[[AurpayError], AurpayError]] = {
        "pickle": lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
    }
    copied = ways[how](error)
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert repr(copied) == repr(error)
    assert vars(copied) == vars(error)
    assert copied.args == error.args
    assert str(copied.__cause__) == "deeper (rule 'amount')"


def test_the_cause_of_another_library_is_not_pickled() -> None:
    error = errors.ConnectError("refused")
    error.__cause__ = OSError(lambda: None)
    assert pickle.loads(pickle.dumps(error)).__cause__ is None  # noqa: S301


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ConfigurationError, ValueError),
        (errors.InvalidRequestError, ValueError),
        (errors.RequestTimeoutError, TimeoutError),
        (errors.ConnectTimeoutError, TimeoutError),
        (errors.ConnectTimeoutError, errors.ConnectError),
        (errors.UntrustedOrderError, errors.InvalidResponseError),
    ],
)
def test_errors_are_subclasses_of_the_matching_builtin_errors(
    kind: type, builtin: type
) -> None:
    assert issubclass(kind, builtin)


def test_local_errors_have_the_outcome_not_sent() -> None:
    assert errors.InvalidRequestError("x", field="y").outcome is RequestOutcome.NOT_SENT
    assert errors.ConfigurationError("x").outcome is RequestOutcome.NOT_SENT


def test_errors_of_a_sent_request_have_the_outcome_unknown() -> None:
    assert errors.ConnectionLostError("x").outcome is RequestOutcome.UNKNOWN
    assert errors.InvalidResponseError("x").outcome is RequestOutcome.UNKNOWN


def test_may_have_succeeded_is_false_for_a_query_and_for_a_known_outcome() -> None:
    for outcome in RequestOutcome:
        for writes in (True, False, None):
            error = errors.TransportError("lost", outcome=outcome)
            error.writes = writes
            may_exist = outcome is RequestOutcome.UNKNOWN and writes is not False
            assert error.may_have_succeeded is may_exist


def test_an_order_mismatch_is_found_by_queries_and_cannot_have_succeeded() -> None:
    error = errors.OrderMismatchError("x", order_id="1")
    assert (error.outcome, error.order_id) == (RequestOutcome.UNKNOWN, "1")
    assert not error.may_have_succeeded
    assert str(error) == "x"


async def test_a_failed_create_may_have_succeeded_and_a_failed_query_may_not() -> None:
    lost = [errors.ConnectionLostError("lost") for _ in range(2)]
    client = AurpayClient(
        transport=MemoryTransport(*lost), retry=RetryPolicy(max_attempts=1)
    )
    with pytest.raises(errors.ConnectionLostError):
        await client.create_order("20.00", "USD")
    with pytest.raises(errors.ConnectionLostError):
        await client.get_order("20260101000000000001")
    assert [error.outcome for error in lost] == [RequestOutcome.UNKNOWN] * 2
    assert [error.may_have_succeeded for error in lost] == [True, False]


def test_a_message_has_field_problem_and_hint() -> None:
    error = errors.InvalidRequestError("is too long", field="price", hint="write less")
    assert str(error) == "price: is too long; write less"


def test_advice_is_appended_to_the_message() -> None:
    for kind in (errors.ConnectionLostError, errors.RequestTimeoutError):
        error = kind("lost")
        assert str(error) == "lost"
        error.advice = "look first"
        assert str(error) == "lost; look first"


def test_an_error_stores_16_kib_of_the_raw_response() -> None:
    error = errors.InvalidResponseError("x", body=b"y" * 100_000)
    assert error.body == b"y" * 16_384


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no\x1b[31m", "'no\\x1b[31m'"),
        ("ü\u202e", "'\\xfc\\u202e'"),
        ("x" * 300, repr("x" * 200 + "...")),
        (5, "5"),
        (-1.5, "-1.5"),
        (None, "None"),
        (True, "True"),
        pytest.param(10**5000, "<int>", id="huge"),
        (object(), "<object>"),
        (b"secret", "<bytes>"),
    ],
)
def test_untrusted_values_are_escaped_and_shortened_in_messages(
    text: object, shown: str
) -> None:
    assert errors.shown(text) == shown


def test_each_error_has_the_documented_code() -> None:
    """Programs compare codes, so renaming a class may not change one."""
    codes = """
    aurpay_error configuration invalid_request transport connect connect_timeout
    timeout connection_lost api authentication permission_denied not_found rate_limited
    server invalid_response untrusted_order order_mismatch payment_pending invoice
    invoice_decode invoice_invalid callback callback_signature callback_stale
    claim_expired callback_reference order_store reference_conflict already_paid
    payment_needs_review order_not_ready unknown_order store_unavailable
    """
    assert {kind.code for kind in find_error_classes()} | {"aurpay_error"} == {
        *codes.split()
    }


def test_a_subclass_of_a_program_has_the_code_of_its_base() -> None:
    class OwnError(errors.ConnectError):
        pass

    assert OwnError.code == "connect"
