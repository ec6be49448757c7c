"""`process` and `poll` do not raise, and do not wait without a limit."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from aurpay_async.callbacks import MemoryInbox, Reply
from aurpay_async.errors import (
    AuthenticationError,
    OrderNotReadyError,
    RequestOutcome,
    ServerError,
    StoreUnavailableError,
)

from ..support.loop_time import advance_loop
from .samples import ATTEMPT_ID, SECRET, signed, url
from .test_failures import build_error
from .test_processor import ORDER_ID, BrokenInbox, Shop, StoredOrder

if TYPE_CHECKING:
    from aurpay_async import Order
    from aurpay_async.callbacks import (
        CallbackEvent,
        Claim,
        Handled,
        Kind,
        Notification,
        Reference,
        Taken,
    )
    from aurpay_async.callbacks._processor import Delivery

FAILED = Reply(500, "failed\n", "failed")
NOT_YET = Reply(503, "not yet\n", "not_yet", {"Retry-After": "5"})

#: Exceptions of task groups, and exceptions that are no `Exception`.
UNUSUAL = [
    BaseExceptionGroup("x", [asyncio.CancelledError(), ValueError()]),
    ExceptionGroup("x", [ValueError()]),
    asyncio.CancelledError(),
    BaseException("x"),
]
any_exception = pytest.mark.parametrize(
    "error", UNUSUAL, ids=lambda error: type(error).__name__
)


class RaisingInbox(MemoryInbox):  # type: ignore[misc]
    """An inbox that raises `error` at one step."""

    def __init__(self, at: str, error: BaseException) -> None:
        super().__init__()
        self.at, self.error = at, error

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = timedelta(minutes=1)
    ) -> Claim | Taken:
        if self.at == "claim":
            raise self.error
        return await super().claim(key, kind, lease)

    async def confirm(
        self, claim: Claim, handled: Handled, connection: object = None
    ) -> None:
        if self.at == "confirm":
            raise self.error
        await super().confirm(claim, handled, connection)  # type: ignore[arg-type]

    async def release(self, claim: Claim) -> None:
        if self.at == "release":
            raise self.error
        await super().release(claim)


@any_exception
async def test_any_exception_of_a_handler_is_answered_with_500(
    error: BaseException,
) -> None:
    shop = Shop()
    shop.failure = error
    for reply in (shop.receive(), shop.processor.poll(StoredOrder())):
        assert await reply == FAILED
        assert shop.rejections.pop() is error
    shop.failure = None
    assert (await shop.receive()).outcome == "paid"


@any_exception
async def test_any_exception_of_lookup_is_answered_with_500(
    error: BaseException,
) -> None:
    async def broken(_: Reference) -> StoredOrder | None:
        raise error

    shop = Shop()
    shop.finder = broken
    assert await shop.receive() == FAILED


@any_exception
async def test_any_foreign_exception_of_the_reader_is_answered_with_500(
    error: BaseException,
) -> None:
    class Reader:
        async def get_order(self, _: str) -> Order:
            raise error

    shop = Shop(reader=Reader())
    assert await shop.receive() == FAILED
    assert await shop.processor.poll(StoredOrder()) == FAILED


@any_exception
@pytest.mark.parametrize("at", ["claim", "confirm", "release"])
async def test_any_exception_of_the_inbox_is_answered_with_500(
    at: str, error: BaseException
) -> None:
    shop = Shop(inbox=RaisingInbox(at, error))
    shop.failure = ValueError() if at == "release" else None
    assert await shop.receive() == FAILED
    assert await shop.processor.poll(StoredOrder()) in (FAILED, BUSY)


BUSY = Reply(503, "being handled\n", "busy", {"Retry-After": "5"})


@any_exception
async def test_any_exception_of_on_rejected_is_logged_and_the_reply_stays(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: BaseException, __: CallbackEvent | None) -> None:
        raise error

    shop = Shop(on_rejected=broken)
    assert (await shop.receive(headers={})).status == 401
    shop.failure = ValueError("the merchant's")
    assert (await shop.receive()).status == 500
    logged = [r.exc_info[1] for r in caplog.records if r.exc_info]
    assert logged == [error, shop.failure, error]


@pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt])
def test_exit_in_on_rejected_ends_the_program(exit_: type[BaseException]) -> None:
    def leave(_: BaseException, __: CallbackEvent | None) -> None:
        raise exit_

    async def main() -> None:
        await Shop(on_rejected=leave).receive(headers={})

    with pytest.raises(exit_):
        asyncio.run(main())


@pytest.mark.parametrize("step", ["handler", "release"])
def test_exit_in_handler_or_inbox_ends_the_program(step: str) -> None:
    async def main() -> None:
        shop = Shop(inbox=RaisingInbox(step, SystemExit(3)))
        shop.failure = SystemExit(3) if step == "handler" else ValueError()
        await shop.receive()

    with pytest.raises(SystemExit):
        asyncio.run(main())


def test_closed_coroutine_awaits_nothing_more() -> None:
    async def waits(_: Notification) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        shop = Shop()
        shop.handler = waits
        call = deliver_good_callback(shop).run()
        call.send(None)
        call.close()

    asyncio.run(main())


def deliver_good_callback(shop: Shop) -> Delivery:
    """Return the delivery that `process` creates for a valid request."""
    event = shop.processor._verifier.verify(
        method="GET", url=url(), headers=signed(url())
    )
    assert event.token is not None
    return shop.processor._delivery(
        token=event.token, event=event, polled=None, clock=shop.clock
    )


class SilentInbox(BrokenInbox):
    """An inbox that never answers at one step, as if its connection had broken."""

    def __init__(self, at: str) -> None:
        super().__init__("")
        self.silent_at = at

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = timedelta(0)
    ) -> Claim:
        await self.wait("claim")
        return await super().claim(key, kind, lease)

    async def confirm(
        self, claim: Claim, handled: Handled, connection: object = None
    ) -> None:
        await self.wait("confirm")

    async def release(self, claim: Claim) -> None:
        await self.wait("release")

    async def wait(self, at: str) -> None:
        if at == self.silent_at:
            advance_loop(60)
            await asyncio.Event().wait()


async def test_inbox_that_hangs_at_the_claim_is_answered_within_the_lease(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(inbox=SilentInbox("claim"), lease=timedelta(seconds=30))
    assert await shop.receive() == NOT_YET
    assert await shop.processor.poll(StoredOrder()) == NOT_YET
    assert "the inbox did not answer within the lease" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("at", "status"), [("confirm", 503), ("release", 500)], ids=["confirm", "release"]
)
async def test_inbox_that_hangs_after_the_handler_is_answered_after_a_limit(
    at: str,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(inbox=SilentInbox(at))
    shop.failure = ValueError() if at == "release" else None
    assert (await shop.receive()).status == status
    if at == "confirm":
        assert "calls the handler again" in caplog.text


async def test_lookup_that_hangs_is_answered_with_503_and_its_claim_is_released() -> (
    None
):
    async def silent(_: Reference) -> StoredOrder | None:
        advance_loop(30)
        await asyncio.Event().wait()
        raise AssertionError

    shop = Shop(lease=timedelta(seconds=30))
    shop.finder = silent
    assert await shop.receive() == NOT_YET
    assert len(shop.inbox) == 0  # the claim was given back


async def test_timeout_error_of_a_handler_or_reader_is_not_the_end_of_the_lease() -> (
    None
):
    class Reader:
        async def get_order(self, _: str) -> Order:
            raise TimeoutError("the warehouse")

    shop = Shop()
    shop.failure = TimeoutError("the warehouse")
    assert await shop.receive() == FAILED
    assert shop.rejections == [shop.failure]
    assert await Shop(reader=Reader()).receive() == FAILED


def build_outage_error() -> ServerError:
    """Return the error that the client raises during an outage of Aurpay."""
    error = ServerError("down", status=503, outcome=RequestOutcome.UNKNOWN)
    error.retryable = True
    return error


async def test_lookup_during_an_outage_of_aurpay_is_answered_with_503_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def query_aurpay(_: Reference) -> StoredOrder | None:
        raise build_outage_error()

    shop = Shop()
    shop.finder = query_aurpay
    assert await shop.receive() == NOT_YET
    assert shop.clock.sleeps == []
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.message == (
        "callback not processed, answered with 503: ServerError: down; "
        f"reference='cart-42' attempt_id='{ATTEMPT_ID}' outcome='not_yet'"
    )


async def test_read_back_during_an_outage_of_aurpay_is_answered_with_503() -> None:
    shop = Shop()
    shop.order = build_outage_error()
    assert await shop.receive() == NOT_YET


async def test_lookup_with_wrong_credentials_is_answered_with_500() -> None:
    async def unauthorized(_: Reference) -> StoredOrder | None:
        raise AuthenticationError("no", status=401, outcome=RequestOutcome.REJECTED)

    shop = Shop()
    shop.finder = unauthorized
    assert await shop.receive() == FAILED


@pytest.mark.parametrize(
    "error",
    [StoreUnavailableError("away"), build_error("40001"), build_error("40P01")],
    ids=["unavailable", "40001", "40P01"],
)
async def test_serialization_failures_of_the_database_are_answered_with_503(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_: Reference) -> StoredOrder | None:
        raise error

    shop = Shop()
    shop.failure = error
    assert await shop.receive() == NOT_YET
    assert await shop.processor.poll(StoredOrder()) == NOT_YET
    shop.finder = fails
    assert await shop.receive() == NOT_YET
    assert await Shop(inbox=RaisingInbox("claim", error)).receive() == NOT_YET
    assert {r.levelname for r in caplog.records} == {"WARNING"}
    shop.finder, shop.failure = shop.lookup, None
    assert (await shop.receive()).outcome == "paid"


async def test_inbox_unavailable_after_the_handler_is_answered_with_503_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(inbox=RaisingInbox("confirm", StoreUnavailableError("away")))
    assert await shop.receive() == NOT_YET
    assert shop.outcomes() == ["paid"]
    assert "calls the handler again" in caplog.text


async def test_statement_and_parameters_of_a_database_error_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop()
    shop.failure = build_error("40001")
    shop.failure.args = ("could not serialize\n[SQL: UPDATE]\n[parameters: (7)]",)
    assert await shop.receive() == NOT_YET
    assert "could not serialize" in caplog.text
    assert "UPDATE" not in caplog.text


async def test_order_that_is_being_created_is_retried_then_answered_with_503() -> None:
    answers: list[StoredOrder] = []

    async def find(_: Reference) -> StoredOrder | None:
        if not answers:
            raise OrderNotReadyError("its answer is not stored yet")
        return answers.pop()

    shop = Shop()
    shop.finder = find
    assert await shop.receive() == NOT_YET
    assert sum(shop.clock.sleeps) == 3.75
    assert shop.notifications == []
    answers.append(StoredOrder())
    assert (await shop.receive()).outcome == "paid"


async def test_body_is_read_only_for_a_post_with_verified_headers() -> None:
    reads = []

    async def read() -> bytes:
        reads.append(1)
        return b'{"order_id": "20260101000000000001"}'

    shop = Shop()
    assert (await shop.receive(method="POST", headers={}, body=read)).status == 401
    assert (await shop.receive(method="GET", body=read)).outcome == "paid"
    assert reads == []
    assert (await shop.receive(method="POST", body=read)).outcome == "repeated"
    assert reads == [1]


@any_exception
async def test_any_exception_of_the_body_reader_is_answered_with_401(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> bytes:
        raise error

    reply = await Shop().receive(method="POST", body=broken)
    assert reply == Reply(401, "refused\n", "body")
    assert f"could not be read: {type(error).__name__}" in caplog.text


async def test_request_cancelled_while_its_body_is_read_is_not_processed() -> None:
    async def drips() -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    call = asyncio.create_task(Shop().receive(method="POST", body=drips))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


CANARY = "canary-3b9d"


async def test_no_log_record_of_a_callback_has_a_token_signature_or_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    shop = Shop()
    target = url().replace("id=a%2Fb", CANARY)
    for headers in ({}, signed(target), signed(target, secret="other"), {"Date": "x"}):
        for method in ("GET", "DELETE"):
            await shop.receive(method=method, url=target, headers=headers)
    shop = Shop()
    shop.failure = ValueError("the merchant's")
    await shop.receive()
    assert len(caplog.records) == 8
    seen = [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    for record in caplog.records:
        found = record.exc_info[2] if record.exc_info else None
        for frame, _ in traceback.walk_tb(found):
            if frame.f_code.co_filename != __file__:
                seen.append(repr(frame.f_locals))
    assert len(seen) > 10
    for secret in (CANARY, "aurpay_ref=", SECRET, signed(url())["Signature"]):
        assert secret not in "".join(seen)


VISIBLE = """
import asyncio
from aurpay_async import AurpayClient
from aurpay_async.callbacks import CallbackVerifier, CallbackProcessor, MemoryInbox
from aurpay_async.testing import MemoryTransport, Response, sign_callback
from tests.callbacks.samples import KEY, SECRET, url
from tests.callbacks.test_processor import StoredOrder, build_order

async def lookup(reference):
    return StoredOrder()

class Reader:
    async def get_order(self, order_id):
        return build_order()

async def handle(notification):
    raise RuntimeError("no such table: shipments")

async def main():
    answer = b'{"code": 500, "message": "no", "result": false}'
    transport = MemoryTransport(Response(status=200, body=answer))
    async with AurpayClient(transport=transport) as aurpay:
        try:
            await aurpay.get_order("20260101000000000001")
        except Exception:
            pass  # the loggers of the client are set up now
    verifier = CallbackVerifier(secrets=[SECRET], reference_key=KEY)
    processor = CallbackProcessor(
        verifier, handle, lookup=lookup, reader=Reader(), inbox=MemoryInbox()
    )
    for called in (url(), url() + "&x=1"):
        headers = sign_callback(url(), secret=SECRET)
        await processor.process(method="GET", url=called, headers=headers)

asyncio.run(main())
"""


@pytest.mark.slow
def test_failures_are_printed_in_a_program_that_configures_no_logging() -> None:
    command = [sys.executable, "-c", VISIBLE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback (most recent call last):" in done.stderr
    assert "RuntimeError: no such table: shipments" in done.stderr
    assert "callback rejected: Signature was created with another secret" in done.stderr
    assert "aurpay_ref=" not in done.stderr
    assert done.returncode == 0


async def test_fields_of_a_callback_that_fails_are_attributes_of_the_servers_span() -> (
    None
):
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="not installed")
    from opentelemetry.trace import use_span

    shop = Shop()
    shop.failure = ValueError("the merchant's")
    span = sdk.TracerProvider().get_tracer("shop").start_span("GET /aurpay/callback")
    with (
        mock.patch("opentelemetry.trace.get_tracer_provider", sdk.TracerProvider),
        use_span(span),
    ):
        assert (await shop.receive()).status == 500
    assert span.attributes == {
        "aurpay.reference": "cart-42",
        "aurpay.order_id": ORDER_ID,
        "aurpay.attempt_id": ATTEMPT_ID,
        "aurpay.outcome": "failed",
    }
