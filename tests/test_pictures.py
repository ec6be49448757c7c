"""The drawn sequences are those of a run in the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import AurpayError, RequestOutcome
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.pytest_plugin import REFERENCE_KEY
from aurpay_async.testing import sign_callback
from docs.pictures import _attempt_life
from docs.pictures._sequence import (
    CALLBACK,
    CALLBACK_PARTICIPANTS,
    LOST_ANSWER,
    LOST_ANSWER_PARTICIPANTS,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aurpay_async import AurpayClient
    from aurpay_async.callbacks import Notification
    from aurpay_async.sandbox import Sandbox
    from aurpay_async.testing import FakeClock
    from docs.pictures._sequence import Step

CALLBACK_URL = "https://shop.example/aurpay/callback"


@pytest.fixture
async def store(
    aurpay_client: AurpayClient, tmp_path: Path
) -> AsyncIterator[OrderStore]:
    async with OrderStore(aurpay_client, f"sqlite+aiosqlite:///{tmp_path}/a.db") as it:
        yield it


def messages(
    steps: tuple[Step, ...], names: tuple[str, ...], source: str, target: str
) -> list[str]:
    """Return the drawn messages between two participants."""
    ends = (names.index(source), names.index(target))
    return [step.content for step in steps if (step.source, step.target) == ends]


async def test_picture_of_a_lost_answer_has_the_requests_and_states_of_a_run(
    aurpay_sandbox: Sandbox, aurpay_clock: FakeClock, store: OrderStore
) -> None:
    names = LOST_ANSWER_PARTICIPANTS
    aurpay_sandbox.faults.push("reset-after-request+created")
    with pytest.raises(AurpayError) as caught:
        await store.get_or_create("cart-42", "20.00", "USD")
    assert caught.value.outcome is RequestOutcome.UNKNOWN
    states = [str(one.state) for one in await store.attempts("cart-42")]
    aurpay_clock.advance(1)
    await store.get_or_create("cart-42", "20.00", "USD")
    new, old = await store.attempts("cart-42")
    # `creating` is stored before each request, and replaced after its answer.
    assert messages(LOST_ANSWER, names, "order store", "database") == [
        "attempt 1: creating",
        f"attempt 1: {states[0]}",
        f"attempt 1: {old.state}",
        "attempt 2: creating",
        f"attempt 2: {new.state}",
    ]
    drawn = messages(LOST_ANSWER, names, "order store", "Aurpay")
    sent = [(one.method, one.path) for one in aurpay_sandbox.requests]
    assert [text.partition(":")[0] for text in drawn] == [method for method, _ in sent]
    assert sent[0] == sent[2]
    assert new.order_id is not None
    assert new.order_id in sent[3][1]


async def test_picture_of_a_callback_has_the_steps_of_a_run(
    aurpay_sandbox: Sandbox,
    aurpay_client: AurpayClient,
    aurpay_clock: FakeClock,
    store: OrderStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []

    inbox = SqlInbox(store.engine, clock=aurpay_clock)
    claim, confirm = inbox.claim, inbox.confirm

    async def recorded_claim(*args: Any) -> Any:
        result = await claim(*args)
        steps.append(f"claim {getattr(result, 'name', 'new')}")
        return result

    async def recorded_confirm(*args: Any, **options: Any) -> None:
        steps.append("ack")
        await confirm(*args, **options)

    monkeypatch.setattr(inbox, "claim", recorded_claim)
    monkeypatch.setattr(inbox, "confirm", recorded_confirm)

    async def lookup(reference: Any) -> Any:
        steps.append("lookup")
        return await store.lookup(reference)

    async def handle(notification: Notification) -> None:
        steps.append(type(notification).__name__)
        async with store.engine.begin() as connection:
            await store.record(notification, connection=connection)
            await notification.ack(connection)

    processor = CallbackProcessor(
        CallbackVerifier(
            secrets=[aurpay_sandbox.callback_secret],
            reference_key=REFERENCE_KEY,
            clock=aurpay_clock,
        ),
        handle,
        lookup=lookup,
        reader=aurpay_client,
        inbox=inbox,
        clock=aurpay_clock,
    )
    order = await store.get_or_create(
        "cart-42", "20.00", "USD", callback_url=CALLBACK_URL
    )
    await aurpay_sandbox.pay(order.order_id)
    url = aurpay_sandbox.orders[order.order_id].urls["callback_url"]
    headers = sign_callback(
        url, secret=aurpay_sandbox.callback_secret, now=aurpay_clock.now()
    )
    for _ in range(2):
        reply = await processor.process(method="GET", url=url, headers=headers)
        steps.append(str(reply.status))
    names = CALLBACK_PARTICIPANTS
    assert steps == [
        "claim new",
        "lookup",
        "ConfirmedNotification",
        "ack",
        "200",
        "claim REPEATED",
        "200",
    ]
    assert [step.content for step in CALLBACK if step.source != step.target] == [
        "GET callback_url",
        "claim, with a lease",
        "lookup: your stored order",
        "GET: the order",
        "SUCCESS",
        "ConfirmedNotification",
        "ack, in your transaction",
        "200",
        "GET callback_url, again",
        "claim: handled already",
        "200, no handler",
    ]
    assert len(messages(CALLBACK, names, "processor", "your handler")) == 2


def test_picture_of_the_states_rejects_a_transition_that_the_store_rejects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _attempt_life.attempt_life().count(">unknown<") == 1
    extra = _attempt_life._Arrow("refunded", "paid", "M0 0L1 1")
    arrows = _attempt_life._ARROWS
    monkeypatch.setattr(_attempt_life, "_ARROWS", (*arrows, extra))
    with pytest.raises(ValueError, match="not permitted"):
        _attempt_life.attempt_life()
    monkeypatch.setattr(_attempt_life, "_ARROWS", arrows[1:])
    with pytest.raises(ValueError, match="not drawn"):
        _attempt_life.attempt_life()


def test_picture_of_the_states_has_each_state_once() -> None:
    drawn = _attempt_life.attempt_life()
    assert [drawn.count(f">{state}<") for state in AttemptState] == [1] * 13
