"""The drawn sequences, polls, checks and numbers are those of the code."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from aurpay_async import AurpayError, RequestOutcome, UntrustedOrderError, bolt11
from aurpay_async._api.checks import (
    InvoicePolicy,
    SeenOrders,
    check_order,
    check_read_back,
)
from aurpay_async._api.models import Order, UncheckedOrder
from aurpay_async._api.wire import structure
from aurpay_async._core.money import btc_to_msat
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.pytest_plugin import REFERENCE_KEY
from aurpay_async.testing import sign_callback
from docs.pictures import _attempt_life, _money
from docs.pictures._invoice_checks import CHECKS
from docs.pictures._polls import PAID_AT, polls, reconciliation
from docs.pictures._sequence import (
    CALLBACK,
    CALLBACK_PARTICIPANTS,
    LOST_ANSWER,
    LOST_ANSWER_PARTICIPANTS,
)

from .support.orders import (
    NOW,
    PAYEE,
    build_detail,
    build_lightning_order,
    build_order,
    sign_invoice,
    wrap_data,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aurpay_async import AurpayClient
    from aurpay_async.callbacks import Notification
    from aurpay_async.sandbox import Sandbox
    from aurpay_async.testing import FakeClock
    from docs.pictures._sequence import Step

pytestmark = pytest.mark.slow

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


GATEWAY = "https://gateway.example/pay"
ORIGIN = ("https", "gateway.example", 443)
OTHER_ORIGIN = ("https", "other.example", 443)


def run_checks(
    answer: dict[str, Any], invoice: dict[str, Any], client: dict[str, Any], clock: int
) -> tuple[str, ...]:
    """Return the checks that passed; or the failed one alone, of a changed input."""
    seen = SeenOrders()
    seen.add(client.pop("seen_id", "1"), client.pop("seen_hash", "ee" * 32))
    basics = {"network": "regtest", "origin": ORIGIN, "payees": frozenset({PAYEE})}
    signed = sign_invoice(**invoice)
    received = build_order(**{"pay_url": GATEWAY, **answer})
    result = check_order(
        structure(received, UncheckedOrder, "data"),
        bolt11.decode(signed),
        InvoicePolicy(**{**basics, **client}, seen=seen),
        NOW.timestamp() + clock,
    )
    return result.passed if result.failed is None else result.failed[:1]


def test_picture_of_invoice_checks_has_their_order_and_the_inputs_of_each() -> None:
    assert run_checks({}, {}, {}, 0) == tuple(CHECKS)[1:-1]
    order_id = build_order()["order_id"]
    changes: dict[str, list[Any]] = {
        "answer": [
            {"order_id": "1"},
            {"amount": "0.0003"},
            {"payment_addr": "ee" * 32},
            {"pay_url": "https://other.example/"},
        ],
        "invoice": [
            {"payment_hash": "ee" * 32},
            {"network": "signet"},
            {"amount_msat": 1},
            {"payment_secret": "ee" * 32},
            {"timestamp": int(NOW.timestamp()) + 3600},
            {"timestamp": int(NOW.timestamp()) - 3600},
            {"key": "ab" * 32},
        ],
        "your client": [
            {"seen_id": order_id},
            {"seen_hash": "cd" * 32},
            {"network": "signet"},
            {"payees": frozenset({"02" + "ab" * 32})},
            {"origin": OTHER_ORIGIN},
        ],
        "clock": [-3600, 3600],
    }
    same: dict[str, Any] = {"answer": {}, "invoice": {}, "your client": {}, "clock": 0}
    failed = {
        (*run_checks(*{**same, name: change}.values()), name)
        for name, values in changes.items()
        for change in values
    }
    drawn = {(check, name) for check, names in CHECKS.items() for name in names}
    alone = {one for one in drawn if one[0] in {"invoice", "signature", "read_back"}}
    assert failed == drawn - alone


def test_picture_of_invoice_checks_has_the_inputs_of_invoice_and_read_back() -> None:
    with pytest.raises(UntrustedOrderError) as caught:
        build_lightning_order(wrap_data(build_order(payment_request="lnbcrt1")))
    assert caught.value.check == "invoice"
    assert CHECKS["invoice"] == CHECKS["signature"] == ("invoice",)
    order = build_lightning_order()
    detail = structure(build_detail(), Order, "data")
    changed = {
        "answer": (attrs.evolve(order, amount=Decimal("0.0003")), detail),
        "your client": (attrs.evolve(order, price=Decimal(99)), detail),
        "order detail": (order, structure(build_detail(amount="9"), Order, "data")),
    }
    assert check_read_back(order, detail) is None
    assert CHECKS["read_back"] == tuple(changed)
    assert all(check_read_back(*pair) for pair in changed.values())


async def test_picture_of_the_polls_has_the_times_of_a_run(
    aurpay_clock: FakeClock, aurpay_sandbox: Sandbox, store: OrderStore
) -> None:
    order = await store.get_or_create("cart-42", "20.00", "USD")
    (attempt,) = await store.attempts("cart-42")
    run: list[timedelta] = []
    while attempt.next_poll_at is not None:
        aurpay_clock.advance(
            (attempt.next_poll_at - aurpay_clock.now()).total_seconds()
        )
        if len(run) == 10:
            await aurpay_sandbox.expire(order.order_id)
        run.append(aurpay_clock.now() - attempt.created_at)
        await store.reconcile()
        (attempt,) = await store.attempts("cart-42")
    assert attempt.state is AttemptState.EXPIRED
    assert [*polls()] == run
    found = next(age for age in run if age > PAID_AT)
    assert f"found at {found // timedelta(hours=1)}:24<" in reconciliation()
    assert f">The {len(run)} polls of an order" in reconciliation()


async def test_picture_of_money_has_the_numbers_of_an_order(
    aurpay_client: AurpayClient,
) -> None:
    order = await aurpay_client.create_order("20.00", "USD")
    drawn = _money.money()
    assert f">{order.price:f} {order.currency}<" in drawn
    assert f">{order.amount:f} BTC<" in drawn
    assert f">{order.payment_request.amount_msat:,} msat<" in drawn
    one_btc = Decimal(1)
    assert f">1 sat: {btc_to_msat(one_btc) // 1000:,} in one BTC<" in drawn
    assert f">1 msat: {btc_to_msat(one_btc):,} in one BTC<" in drawn
