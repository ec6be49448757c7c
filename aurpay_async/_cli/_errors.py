"""Failures of a command, recovery hints and exit codes.

If an order may exist or money may have moved, the hint is to search first.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from contextlib import asynccontextmanager, suppress
from inspect import iscoroutine
from shlex import join, quote
from typing import TYPE_CHECKING, Final

from .._api.payment_models import NewPayment
from .._client import AurpayClient
from .._core.events import CallEvent
from .._core.json import pick
from ..errors import (
    APIError,
    AurpayError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    InvoiceDecodeError,
    InvoiceError,
    NotFoundError,
    OrderMismatchError,
    OrderStoreError,
    RateLimitedError,
    RequestOutcome,
    StoreUnavailableError,
    UnknownOrderError,
    UntrustedOrderError,
)
from . import FAILED, OUTCOME_UNKNOWN, USAGE
from ._output import TEXT, Output, Row, amount, moment, without_passwords

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime
    from inspect import BoundArguments

    from .._api.arguments import NewOrder
    from .._core.events import Event
    from ._output import OutputFormat

_SHOW_NOTHING: Final = "Show nothing to the payer, and report the order to Aurpay."

#: The usual cause is a sandbox, if AURPAY_NETWORK is not set.
_OTHER_NETWORK: Final = (
    "Show nothing to the payer. If the base URL is a sandbox's, set "
    "AURPAY_NETWORK=regtest; else report the order to Aurpay."
)
_FIX_CAUSE: Final = "Fix the cause and try again."
_OTHER_PORT: Final = "Choose another port, or let --port 0 take a free one."

#: The most specific type of error comes first.
_HINTS: Final[Mapping[type[AurpayError], str]] = {
    UntrustedOrderError: _SHOW_NOTHING,
    InvalidRequestError: "Nothing was sent: change it as the message says.",
    StoreUnavailableError: (
        "Check that the database runs, and that AURPAY_DATABASE or --database names "
        "it; then run the command again, which is safe."
    ),
    UnknownOrderError: (
        "Check the name, and that AURPAY_DATABASE names its database. An order that is "
        "only a candidate of an attempt is found by its reference."
    ),
    OrderStoreError: "Nothing was changed: `aurpay store show` shows the attempt.",
    OrderMismatchError: (
        "Fulfil nothing. Nothing was changed: Aurpay's order is not the expected one."
    ),
    ConfigurationError: (
        "Set or correct it; `aurpay doctor` checks the client's settings."
    ),
    AuthenticationError: (
        "Compare the credentials with Aurpay's dashboard: mistyped, or revoked? "
        "`aurpay doctor` checks the clock."
    ),
    NotFoundError: "Check the id, and that it belongs to this account and base URL.",
    RateLimitedError: "Nothing was done: wait, then try again.",
    ConnectError: "Nothing was sent: try again; `aurpay doctor` finds the cause.",
    InvoiceDecodeError: "Give one BOLT #11 invoice alone: it could not be decoded.",
    InvoiceError: "Do not pay it.",
}

_HINT_BY_OUTCOME: Final = {
    RequestOutcome.NOT_SENT: "Nothing was sent: it is safe to try again.",
    RequestOutcome.REJECTED: "Nothing was done: fix the cause before you try again.",
    RequestOutcome.UNKNOWN: "The request changes nothing: it is safe to try again.",
}

#: Hints that end with a command; the caller appends its subcommand and options.
LOOK_FOR_ORDER: Final = "Query Aurpay before you create another: aurpay order"
LOOK_FOR_MONEY: Final = "Query Aurpay before you try again: aurpay"


def may_exist(error: AurpayError) -> bool:
    """Return whether a failed request may have created an order."""
    return error.new_order is not None and error.outcome is RequestOutcome.UNKNOWN


def may_be_paid(error: AurpayError) -> bool:
    """Return whether a failed request may have moved money: the client then advises."""
    return error.advice is not None and error.outcome is RequestOutcome.UNKNOWN


def recovery_hint(error: AurpayError) -> str:
    """Return what to do: first of all, search for an order or for a transfer."""
    if error.advice is not None:
        return _look_for_money(error) if may_be_paid(error) else error.advice
    if error.new_order is not None and may_exist(error):
        if isinstance(error, UntrustedOrderError):
            return _OTHER_NETWORK if error.check == "network" else _SHOW_NOTHING
        return _look_for_order(error.new_order, error.order_id, error.sent_at)
    if isinstance(error, APIError) and error.retry_after is not None:
        return f"Wait {error.retry_after:.0f} seconds, as Aurpay requests."
    hints = (hint for kind, hint in _HINTS.items() if isinstance(error, kind))
    return next(hints, _HINT_BY_OUTCOME[error.outcome])


def _look_for_money(error: AurpayError) -> str:
    if error.order_id is None:
        return f"{LOOK_FOR_MONEY} tx list"
    # The id is from outside, and the user copies the line into a shell.
    order_id = quote(error.order_id)
    return f"{LOOK_FOR_MONEY} order show {order_id}, and aurpay tx list"


def _look_for_order(
    order: NewOrder, order_id: str | None, sent_at: datetime | None
) -> str:
    if order_id is not None:
        return f"{LOOK_FOR_ORDER} show {quote(order_id)}"
    if sent_at is None:
        return f"{LOOK_FOR_ORDER} list"
    words = [f"{order.price:f}", order.currency]
    words += ["--sent-at", sent_at.isoformat(timespec="seconds")]
    if isinstance(order, NewPayment):
        words += ["--chain", order.chain, "--coin", order.coin]
    return f"{LOOK_FOR_ORDER} find {join(words)}"


def exit_code(error: AurpayError) -> int:
    if may_exist(error) or may_be_paid(error):
        return OUTCOME_UNKNOWN
    is_usage = isinstance(error, InvalidRequestError | ConfigurationError)
    return USAGE if is_usage else FAILED


def show_error(output: Output, error: AurpayError) -> None:
    # Without outcome, order and advice, which have their rows.
    message = Exception.__str__(error)
    if error.diagnosis is not None:
        message = f"{message}; {error.diagnosis}"
    name = type(error).__name__
    members = {
        **pick(error, "code attempts retryable sent_at order_id"),
        "error": name,
        "message": message,
        "outcome": error.outcome.value,
        "may_exist": may_exist(error),
        "may_be_paid": may_be_paid(error),
        "new_order": error.new_order and _request_members(error.new_order),
        "payment_hash": error.invoice and error.invoice.payment_hash,
        "advice": recovery_hint(error),
    }
    _show(output, members, f"{name} ({error.code}): {message}", _rows(error))


_MEMBERS: Final = (
    "code error message outcome may_exist may_be_paid attempts retryable sent_at "
    "order_id new_order payment_hash advice"
)

#: The members of a failure that is not an error of the SDK, in the order of the JSON.
_NO_ERROR: Final[dict[str, object]] = {
    **dict.fromkeys(_MEMBERS.split()),
    **dict.fromkeys(("may_exist", "may_be_paid", "retryable"), False),
}


def show_failure(
    output: Output, code: str, message: str, advice: str, **effects: bool
) -> None:
    """Show a failure that is not an error of the SDK, with the same JSON keys.

    `effects` is ``may_exist`` or ``may_be_paid``, after a request of unknown outcome.
    """
    members = {"code": code, "message": message, "advice": advice, **effects}
    if effects:
        members["outcome"] = RequestOutcome.UNKNOWN.value
    _show(output, members, message, [Row("do", advice)])


def _show(
    output: Output, members: Mapping[str, object], title: str, rows: Iterable[Row]
) -> None:
    """Show a failure, on standard error if standard output cannot be written."""
    try:
        output.json("error", **{**_NO_ERROR, **members})
    except OSError:
        output = Output("text")
    with suppress(OSError):  # the exit code says it, too
        output.error(title, rows)


def _rows(error: AurpayError) -> Iterator[Row]:
    new_order, invoice = error.new_order, error.invoice
    if new_order is not None:
        yield _outcome_row(error, "no order exists", "an order may exist")
        yield Row("requested", _describe_request(new_order))
    elif invoice is not None or may_be_paid(error):
        yield _outcome_row(error, "no money has moved", "money may have moved")
    if invoice is not None:
        yield Row("amount", amount(invoice.amount_msat or 0))
        yield Row("payment hash", invoice.payment_hash)
    if error.sent_at is not None:
        yield Row("sent at", moment(error.sent_at))
    if error.order_id is not None:
        yield Row("order", error.order_id)
    yield Row("do", recovery_hint(error))


def _outcome_row(error: AurpayError, nothing: str, something: str) -> Row:
    effect = something if error.outcome is RequestOutcome.UNKNOWN else nothing
    return Row("outcome", f"{error.outcome.value}: {effect}")


def _describe_request(order: NewOrder) -> str:
    coin = f" in {order.coin}" if isinstance(order, NewPayment) else ""
    named = "" if order.reference is None else f", reference {order.reference}"
    return f"{order.price:f} {order.currency}{coin}{named}"


def _request_members(order: NewOrder) -> dict[str, object]:
    return {
        **pick(order, "price currency"),
        "chain": getattr(order, "chain", None),  # of a payment
        "coin": getattr(order, "coin", None),
        **pick(order, "reference attempt_id"),
    }


_ORDER: Final = ("may_exist", "an order may exist", f"{LOOK_FOR_ORDER} list")
_MONEY: Final = ("may_be_paid", "money may have moved", f"{LOOK_FOR_MONEY} tx list")

#: What a request of an operation may have done if it was interrupted.
_EFFECTS: Final = {
    **dict.fromkeys(("create_order", "create_payment"), _ORDER),
    **dict.fromkeys(("refund_order", "withdraw_lightning"), _MONEY),
}


@asynccontextmanager
async def open_client(output: Output) -> AsyncGenerator[AurpayClient, None]:
    """Open a client configured by the environment.

    If Ctrl-C interrupts it after a request was sent, or if its result cannot be
    written, report what may have happened.
    """
    events: list[Event] = []
    async with AurpayClient.from_env(on_event=events.append) as aurpay:
        try:
            yield aurpay
        except AurpayError:
            raise
        except asyncio.CancelledError:
            _warn(output, "interrupted", "interrupted", _sent(events, _UNKNOWN))
            raise
        except OSError as error:
            problem = f"the result cannot be written ({_describe(error)})"
            sent = _sent(events, {*_UNKNOWN, None})
            if _warn(Output("text"), "os", problem, sent):
                raise _OutputLostError from error
            raise


_UNKNOWN: Final = frozenset({RequestOutcome.UNKNOWN})


class _OutputLostError(Exception):
    """The result of a request that changes something could not be written."""


def _sent(
    events: list[Event], outcomes: AbstractSet[RequestOutcome | None]
) -> set[str]:
    """Return the operations with one of these outcomes; None is success."""
    calls = [event for event in events if isinstance(event, CallEvent)]
    return {call.operation for call in calls if call.outcome in outcomes}


def _warn(output: Output, code: str, problem: str, sent: set[str]) -> bool:
    """Report an order or a transfer that may exist, and return whether one may."""
    for operation in sent & _EFFECTS.keys():
        key, effect, advice = _EFFECTS[operation]
        message = f"{problem} after the request was sent: {effect}"
        show_failure(output, code, message, advice, **{key: True})
        return True
    return False


def _describe(error: OSError) -> str:
    """Return the reason: a socket's message is long, a file's message has its name."""
    return error.strerror or str(error)


def run_command(command: Callable[..., object], bound: BoundArguments) -> int:
    """Run a command with its arguments, and return the exit code.

    A command that asks at the terminal is a plain function that starts its own event
    loop afterwards: while a loop runs, the first Ctrl-C does not end a prompt.
    """
    # The command shows errors itself, so its log records are not printed as well.
    logger = logging.getLogger("aurpay_async")
    logger.handlers = logger.handlers or [logging.NullHandler()]
    output = Output()
    # The functions of cyclopts behind --help and the like have other parameters.
    if getattr(bound.signature.parameters.get("output"), "default", None) is TEXT:
        output = bound.arguments.setdefault("output", output)
    try:
        result = command(*bound.args, **bound.kwargs)
        if iscoroutine(result):
            result = asyncio.run(result)
    except AurpayError as error:
        show_error(output, error)
        return exit_code(error)
    except _OutputLostError:
        return OUTCOME_UNKNOWN
    except BrokenPipeError:
        raise  # the reader closed the pipe, so no message would arrive
    except OSError as error:
        message = f"{type(error).__name__}: {_describe(error)}"
        in_use = error.errno == errno.EADDRINUSE
        show_failure(output, "os", message, _OTHER_PORT if in_use else _FIX_CAUSE)
        return FAILED
    return result if isinstance(result, int) else 0


def show_usage_error(output_format: OutputFormat, message: str) -> int:
    advice = "Run it with --help to see examples."
    problem = without_passwords(message)  # an argument may be the URL of a database
    show_failure(Output(output_format), "usage", problem, advice)
    return USAGE
