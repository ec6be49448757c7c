"""Neither `process` nor `poll` raises, and neither waits without an end."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from aurpay_async.callbacks import MemoryInbox, Reply
from aurpay_async.callbacks import _processing as processing
from aurpay_async.errors import (
    AuthenticationError,
    OrderNotReadyError,
    RequestOutcome,
    ServerError,
    StoreUnavailableError,
)

from .samples import SECRET, signed, url
from .test_dispatch import BrokenStore, Kept, Shop
from .test_failures import error_with

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
    from aurpay_async.callbacks._processing import Delivery

FAILED = Reply(500, "failed\n", "failed")
NOT_YET = Reply(503, "not yet\n", "not_yet", {"Retry-After": "5"})

#: What task groups of other libraries raise, and what ends something else.
ODD = [
    BaseExceptionGroup("x", [asyncio.CancelledError(), ValueError()]),
    ExceptionGroup("x", [ValueError()]),
    asyncio.CancelledError(),
    BaseException("x"),
]
odd = pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)


class RaisingStore(MemoryInbox):  # type: ignore[misc]
    """Raises at one step."""

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


@odd
async def test_whatever_a_handler_raises_is_answered(error: BaseException) -> None:
    """With 500, and the next delivery is handled."""
    shop = Shop()
    shop.fails = error
    for reply in (shop.called(), shop.processor.poll(Kept())):
        assert await reply == FAILED
        assert shop.refused.pop() is error
    shop.fails = None
    assert (await shop.called()).outcome == "paid"


@odd
async def test_whatever_lookup_raises_is_answered(error: BaseException) -> None:
    """With 500."""

    async def broken(_: Reference) -> Kept | None:
        raise error

    shop = Shop()
    shop.finder = broken
    assert await shop.called() == FAILED


@odd
async def test_whatever_the_reader_raises_is_answered(error: BaseException) -> None:
    """With 500, unless it is an error of this package."""

    class Reader:
        async def get_order(self, _: str) -> Order:
            raise error

    shop = Shop(reader=Reader())
    assert await shop.called() == FAILED
    assert await shop.processor.poll(Kept()) == FAILED


@odd
@pytest.mark.parametrize("at", ["claim", "confirm", "release"])
async def test_whatever_the_store_raises_is_answered(
    at: str, error: BaseException
) -> None:
    """With 500, at each of its steps."""
    shop = Shop(inbox=RaisingStore(at, error))
    shop.fails = ValueError() if at == "release" else None
    assert await shop.called() == FAILED
    assert await shop.processor.poll(Kept()) in (FAILED, BUSY)


BUSY = Reply(503, "being handled\n", "busy", {"Retry-After": "5"})


@odd
async def test_whatever_on_refused_raises_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The reply is the same as without the hook."""

    def broken(_: BaseException, __: CallbackEvent | None) -> None:
        raise error

    shop = Shop(on_rejected=broken)
    assert (await shop.called(headers={})).status == 401
    shop.fails = ValueError("the merchant's")
    assert (await shop.called()).status == 500
    logged = [r.exc_info[1] for r in caplog.records if r.exc_info]
    assert logged == [error, shop.fails, error]


@pytest.mark.parametrize("exit_", [SystemExit, KeyboardInterrupt])
def test_exit_in_on_refused_ends_the_program(exit_: type[BaseException]) -> None:
    """It is what it asks for."""

    def leave(_: BaseException, __: CallbackEvent | None) -> None:
        raise exit_

    async def main() -> None:
        await Shop(on_rejected=leave).called(headers={})

    with pytest.raises(exit_):
        asyncio.run(main())


@pytest.mark.parametrize("step", ["handler", "release"])
def test_exit_in_processing_ends_the_program(step: str) -> None:
    """From the handler, and from the inbox."""

    async def main() -> None:
        shop = Shop(inbox=RaisingStore(step, SystemExit(3)))
        shop.fails = SystemExit(3) if step == "handler" else ValueError()
        await shop.called()

    with pytest.raises(SystemExit):
        asyncio.run(main())


def test_coroutine_that_is_closed_awaits_nothing_more() -> None:
    """The garbage collector closes it when its event loop has gone."""

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
    """Return what `process` makes of a good request."""
    event = shop.processor._verifier.verify(
        method="GET", url=url(), headers=signed(url())
    )
    assert event.token is not None
    return shop.processor._delivery(
        token=event.token, event=event, polled=None, clock=shop.clock
    )


class SilentStore(BrokenStore):
    """Never answers at one step, as a database whose connection died."""

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
            await asyncio.Event().wait()


async def test_store_that_does_not_answer_a_claim_is_answered_within_the_lease(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With 503, and without a traceback."""
    shop = Shop(inbox=SilentStore("claim"), lease=timedelta(milliseconds=10))
    async with asyncio.timeout(5):
        assert await shop.called() == NOT_YET
        assert await shop.processor.poll(Kept()) == NOT_YET
    assert "the inbox did not answer within the lease" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("at", "status"), [("confirm", 503), ("release", 500)], ids=["confirm", "release"]
)
async def test_store_that_does_not_answer_after_the_handler_is_answered(
    at: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a limit of its own: the handler is done."""
    monkeypatch.setattr(processing, "_RECORD_TIMEOUT_S", 0.01)
    shop = Shop(inbox=SilentStore(at))
    shop.fails = ValueError() if at == "release" else None
    async with asyncio.timeout(5):
        assert (await shop.called()).status == status
    if at == "confirm":
        assert "calls the handler again" in caplog.text


async def test_lookup_that_does_not_answer_is_answered_within_the_lease() -> None:
    """With 503, and its claim is given back."""

    async def silent(_: Reference) -> Kept | None:
        await asyncio.Event().wait()
        raise AssertionError

    shop = Shop(lease=timedelta(milliseconds=10))
    shop.finder = silent
    async with asyncio.timeout(5):
        assert await shop.called() == NOT_YET
    assert len(shop.inbox) == 0  # the claim was given back


async def test_timeout_error_of_a_handler_or_a_reader_is_its_own() -> None:
    """It is not taken for the end of the lease."""

    class Reader:
        async def get_order(self, _: str) -> Order:
            raise TimeoutError("the warehouse")

    shop = Shop()
    shop.fails = TimeoutError("the warehouse")
    assert await shop.called() == FAILED
    assert shop.refused == [shop.fails]
    assert await Shop(reader=Reader()).called() == FAILED


def unavailable() -> ServerError:
    """Return what the client raises while the platform is down."""
    error = ServerError("down", status=503, outcome=RequestOutcome.UNKNOWN)
    error.retryable = True
    return error


async def test_platform_that_is_down_during_lookup_is_answered_with_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At once, without a traceback: it is not the merchant's fault."""

    async def asks_the_platform(_: Reference) -> Kept | None:
        raise unavailable()

    shop = Shop()
    shop.finder = asks_the_platform
    assert await shop.called() == NOT_YET
    assert shop.clock.sleeps == []
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.message == (
        "callback not processed, answered with 503: ServerError: down; "
        "reference='cart-42'"
    )


async def test_platform_that_is_down_during_read_back_is_answered_with_503() -> None:
    """As before the handler was called."""
    shop = Shop()
    shop.order = unavailable()
    assert await shop.called() == NOT_YET


async def test_lookup_that_the_platform_refuses_is_a_failure() -> None:
    """A repetition does not help: its credentials are wrong."""

    async def unauthorized(_: Reference) -> Kept | None:
        raise AuthenticationError("no", status=401, outcome=RequestOutcome.REJECTED)

    shop = Shop()
    shop.finder = unauthorized
    assert await shop.called() == FAILED


@pytest.mark.parametrize(
    "error",
    [StoreUnavailableError("away"), error_with("40001"), error_with("40P01")],
    ids=["unavailable", "40001", "40P01"],
)
async def test_database_that_asks_for_another_try_is_answered_with_503(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """From the handler, from `lookup`, and from the inbox."""

    async def fails(_: Reference) -> Kept | None:
        raise error

    shop = Shop()
    shop.fails = error
    assert await shop.called() == NOT_YET
    assert await shop.processor.poll(Kept()) == NOT_YET
    shop.finder = fails
    assert await shop.called() == NOT_YET
    assert await Shop(inbox=RaisingStore("claim", error)).called() == NOT_YET
    assert {r.levelname for r in caplog.records} == {"WARNING"}
    shop.finder, shop.fails = shop.lookup, None
    assert (await shop.called()).outcome == "paid"


async def test_store_that_is_unavailable_after_the_handler_is_answered_with_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says that the handler runs again."""
    shop = Shop(inbox=RaisingStore("confirm", StoreUnavailableError("away")))
    assert await shop.called() == NOT_YET
    assert shop.outcomes() == ["paid"]
    assert "calls the handler again" in caplog.text


async def test_statement_and_parameters_of_a_database_error_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SQLAlchemy writes them below the first line of its message."""
    shop = Shop()
    shop.fails = error_with("40001")
    shop.fails.args = ("could not serialize\n[SQL: UPDATE]\n[parameters: (7)]",)
    assert await shop.called() == NOT_YET
    assert "could not serialize" in caplog.text
    assert "UPDATE" not in caplog.text


async def test_order_that_is_being_created_is_waited_for() -> None:
    """Some seconds within the request; then the platform has to call again."""
    answers: list[Kept] = []

    async def find(_: Reference) -> Kept | None:
        if not answers:
            raise OrderNotReadyError("its answer is not stored yet")
        return answers.pop()

    shop = Shop()
    shop.finder = find
    assert await shop.called() == NOT_YET
    assert sum(shop.clock.sleeps) == 3.75
    assert shop.told == []
    answers.append(Kept())
    assert (await shop.called()).outcome == "paid"


async def test_body_is_read_only_for_a_post_whose_headers_are_verified() -> None:
    """Neither for a GET nor for an unsigned request."""
    reads = []

    async def read() -> bytes:
        reads.append(1)
        return b'{"order_id": "20260101000000000001"}'

    shop = Shop()
    assert (await shop.called(method="POST", headers={}, body=read)).status == 401
    assert (await shop.called(method="GET", body=read)).outcome == "paid"
    assert reads == []
    assert (await shop.called(method="POST", body=read)).outcome == "repeated"
    assert reads == [1]


@odd
async def test_whatever_the_reader_of_a_body_raises_is_answered(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """With 401: the body proves nothing anyhow."""

    async def broken() -> bytes:
        raise error

    reply = await Shop().called(method="POST", body=broken)
    assert reply == Reply(401, "refused\n", "body")
    assert f"could not be read: {type(error).__name__}" in caplog.text


async def test_cancelled_request_whose_body_is_read_is_cancelled() -> None:
    """Nothing has begun that must be brought to its end."""

    async def drips() -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    call = asyncio.create_task(Shop().called(method="POST", body=drips))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


CANARY = "canary-3b9d"


async def test_no_log_of_a_callback_holds_a_token_a_signature_or_a_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of rejected callbacks and of failed ones, at DEBUG, records included."""
    caplog.set_level(logging.DEBUG)
    shop = Shop()
    target = url().replace("id=a%2Fb", CANARY)
    for headers in ({}, signed(target), signed(target, secret="other"), {"Date": "x"}):
        for method in ("GET", "DELETE"):
            await shop.called(method=method, url=target, headers=headers)
    shop = Shop()
    shop.fails = ValueError("the merchant's")
    await shop.called()
    assert len(caplog.records) == 8
    seen = [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    for record in caplog.records:
        found = record.exc_info[2] if record.exc_info else None
        for frame, _ in traceback.walk_tb(found):
            if frame.f_code.co_filename != __file__:
                seen.append(repr(frame.f_locals))
    assert len(seen) > 10
    for secret in (CANARY, "aurpay_ref", SECRET, signed(url())["Signature"]):
        assert secret not in "".join(seen)


VISIBLE = """
import asyncio
from aurpay_async import AurpayClient
from aurpay_async.callbacks import CallbackVerifier, CallbackProcessor, MemoryInbox
from aurpay_async.testing import MemoryTransport, Response, sign_callback
from tests.callbacks.samples import KEY, SECRET, url
from tests.callbacks.test_dispatch import Kept, an_order

async def lookup(reference):
    return Kept()

class Reader:
    async def get_order(self, order_id):
        return an_order()

async def handle(notification):
    raise RuntimeError("no such table: parcels")

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


def test_failures_are_visible_in_a_program_that_sets_up_no_logging() -> None:
    """As under a plain `uvicorn app:app`: the standard library's last resort."""
    command = [sys.executable, "-c", VISIBLE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback (most recent call last):" in done.stderr
    assert "RuntimeError: no such table: parcels" in done.stderr
    assert "callback rejected: Signature was made with another secret" in done.stderr
    assert "aurpay_ref=" not in done.stderr
    assert done.returncode == 0
