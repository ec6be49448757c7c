"""The error tree: what is what, and nothing lost on the way to another process."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from aurpay_async import AurpayClient, RetryPolicy, bolt11, errors
from aurpay_async._models import NewOrder
from aurpay_async.errors import AurpayError, RequestOutcome
from aurpay_async.testing import MemoryTransport

from .orders import invoice

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


def classes() -> set[type[AurpayError]]:
    return {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, AurpayError)
    }


def test_there_is_a_sample_of_every_class() -> None:
    """So that a new error cannot be forgotten below."""
    assert {type(error) for error in SAMPLES} == classes()


def test_every_class_has_a_code_of_its_own() -> None:
    """Stable text for programs."""
    codes = [kind.code for kind in classes()]
    assert len(set(codes)) == len(codes)
    assert all(code.isascii() and code.islower() for code in codes)


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", ["pickle", "copy", "deepcopy"])
def test_errors_travel_with_all_they_hold(error: AurpayError, how: str) -> None:
    """To another process, into a queue, through a retry library."""
    error.attempts = 3
    error.retryable = True
    error.sent_at = datetime(2026, 1, 1, tzinfo=UTC)
    error.new_order = NewOrder("20.00", "USD", callback_url="https://shop.example/x?y")
    error.invoice = bolt11.decode(invoice())
    error.advice = "look first"
    error.add_note("a note")
    error.__cause__ = errors.InvoiceInvalidError("deeper", rule="amount")
    ways: dict[str, Callable[[AurpayError], AurpayError]] = {
        "pickle": lambda error: pickle.loads(pickle.dumps(error)),  # noqa: S301
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
    }
    twin = ways[how](error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert repr(twin) == repr(error)
    assert vars(twin) == vars(error)
    assert twin.args == error.args
    assert str(twin.__cause__) == "deeper (rule 'amount')"


def test_a_foreign_cause_stays_behind() -> None:
    """It might not pickle, and the message says what it was."""
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
def test_errors_are_what_python_calls_them(kind: type, builtin: type) -> None:
    """So that `except TimeoutError` does what it says."""
    assert issubclass(kind, builtin)


def test_before_anything_is_sent_nothing_exists() -> None:
    """The default is the truth for everything that happens locally."""
    assert errors.InvalidRequestError("x", field="y").outcome is RequestOutcome.NOT_SENT
    assert errors.ConfigurationError("x").outcome is RequestOutcome.NOT_SENT


def test_when_in_doubt_it_may_exist() -> None:
    """The default of what happens on the wire is to look first."""
    assert errors.ConnectionLostError("x").outcome is RequestOutcome.UNKNOWN
    assert errors.InvalidResponseError("x").outcome is RequestOutcome.UNKNOWN


def test_only_a_query_of_unknown_outcome_cannot_have_succeeded() -> None:
    for outcome in RequestOutcome:
        for writes in (True, False, None):
            error = errors.TransportError("lost", outcome=outcome)
            error.writes = writes
            may_exist = outcome is RequestOutcome.UNKNOWN and writes is not False
            assert error.may_have_succeeded is may_exist


async def test_a_call_tells_its_error_whether_it_was_a_query() -> None:
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


def test_a_hint_is_part_of_the_message() -> None:
    """Field, problem, and what to write."""
    error = errors.InvalidRequestError("is too long", field="price", hint="write less")
    assert str(error) == "price: is too long; write less"


def test_advice_is_part_of_the_message() -> None:
    """Where there is some; for every kind."""
    for kind in (errors.ConnectionLostError, errors.RequestTimeoutError):
        error = kind("lost")
        assert str(error) == "lost"
        error.advice = "look first"
        assert str(error) == "lost; look first"


def test_a_raw_answer_is_kept_but_not_all_of_it() -> None:
    """16 KiB: more than a documented answer has."""
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
def test_text_from_outside_is_escaped_and_short(text: object, shown: str) -> None:
    """Before it is part of any message."""
    assert errors.shown(text) == shown
