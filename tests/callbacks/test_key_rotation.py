"""Key rotation in a rolling deploy: one process is restarted while the other serves."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import pytest

from aurpay_async import AurpayClient
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import sign_callback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aurpay_async import LightningOrder
    from aurpay_async.callbacks import Notification, Reference

OLD, NEW = "sandbox-reference-key-of-2025", "sandbox-reference-key-of-2026"
URL = "https://shop.example/aurpay/callback"


@attrs.frozen
class Fleet:
    """The processes of a shop: they share the orders, and not the environment."""

    sandbox: Sandbox
    stack: AsyncExitStack
    monkeypatch: pytest.MonkeyPatch
    orders: dict[str | None, LightningOrder] = attrs.field(factory=dict)

    async def start(self, **variables: str) -> Process:
        """Start a process with these variables."""
        for name, value in variables.items():
            self.monkeypatch.setenv(f"AURPAY_{name}", value)
        client = await self.stack.enter_async_context(AurpayClient.from_env())
        processor = CallbackProcessor(
            CallbackVerifier.from_env(clock=self.sandbox.clock),
            self.handle,
            reader=client,
            lookup=self.lookup,
            inbox=MemoryInbox(),
        )
        return Process(client, processor)

    async def handle(self, _: Notification) -> None:
        pass

    async def lookup(self, reference: Reference) -> LightningOrder | None:
        return self.orders.get(reference.attempt_id)

    async def sell(self, seller: Process) -> str:
        """Return the callback URL of a paid order that the process has created."""
        order = await seller.client.create_order(
            "20.00", "USD", reference="cart-42", callback_url=URL
        )
        self.orders[order.attempt_id] = order
        self.sandbox.callback_faults.push("lost")
        [sent] = await self.sandbox.pay(order.order_id)
        return sent.url

    async def deliver(self, url: str, receiver: Process) -> int:
        """Return the HTTP status with which the process answers the callback."""
        now, secret = self.sandbox.clock.now(), self.sandbox.callback_secret
        headers = sign_callback(url, secret=secret, now=now)
        reply = await receiver.processor.process(method="GET", url=url, headers=headers)
        return reply.status


@attrs.frozen
class Process:
    """One process of the shop."""

    client: AurpayClient
    processor: CallbackProcessor


@pytest.fixture
async def fleet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    async with Sandbox() as sandbox, AsyncExitStack() as stack:
        for name, value in {
            "BASE_URL": sandbox.base_url,
            "NETWORK": "regtest",
            "API_KEY": "any",
            "CALLBACK_SECRET": sandbox.callback_secret,
        }.items():
            monkeypatch.setenv(f"AURPAY_{name}", value)
        yield Fleet(sandbox, stack, monkeypatch)


@pytest.mark.parametrize(
    ("deployed", "expected"),
    [
        ([OLD, f"{OLD} {NEW}", f"{NEW} {OLD}", NEW], {200}),
        # The order of the keys that docs/security.md warns about.
        ([OLD, f"{NEW} {OLD}", NEW], {200, 401}),
    ],
)
async def test_reference_key_is_rotated_without_rejecting_a_callback(
    fleet: Fleet, deployed: list[str], expected: set[int]
) -> None:
    found: set[int] = set()
    for before, after in pairwise(deployed):
        processes = [await fleet.start(REFERENCE_KEY=key) for key in (before, after)]
        urls = [await fleet.sell(process) for process in processes]
        found |= {
            await fleet.deliver(url, process) for url in urls for process in processes
        }
    assert found == expected


async def test_callback_secret_is_rotated_without_rejecting_a_callback(
    fleet: Fleet,
) -> None:
    old, new = fleet.sandbox.callback_secret, "made-up-secret-of-2026"
    before = await fleet.start(CALLBACK_SECRET=old, REFERENCE_KEY=NEW)
    both = await fleet.start(CALLBACK_SECRET=f"{old} {new}")
    after = await fleet.start(CALLBACK_SECRET=new)
    url = await fleet.sell(before)
    assert [await fleet.deliver(url, one) for one in (before, both)] == [200, 200]
    headers = sign_callback(url, secret=new, now=fleet.sandbox.clock.now())
    statuses = [
        (await one.processor.process(method="GET", url=url, headers=headers)).status
        for one in (before, both, after)
    ]
    assert statuses == [401, 200, 200]
