"""Produce each situation of docs/runbook.md, and run the commands of the page.

Each section of the page has a function here that brings a shop, a sandbox and a
database into its situation. Ids, times, durations and ports of the page and of the run
differ; the ids have to be equal where the page's are. To write the output of the
commands into the page::

    AURPAY_UPDATE_SNAPSHOTS=1 python -m pytest tests/cli/test_runbook.py
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from starlette.applications import Starlette

from aurpay_async import ServerError
from aurpay_async._core.clock import SystemClock
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.contrib.starlette import callback_route
from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..support.loopback import closed_port
from .test_withdraw import sign_fresh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.callbacks import Notification
    from aurpay_async.orders import Change

    from .conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"
UPDATES = bool(os.environ.get("AURPAY_UPDATE_SNAPSHOTS"))
KEY = "sandbox-reference-key"
SHOP = "https://shop.example"

SECTION = re.compile(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```console\n\$ ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ID = re.compile(
    r"\b(?:[0-9]{20}|[0-9a-f]{24}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b"
)
VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"(in )?\d+ (second|minute|hour|day)s?( ago| left)?"), "<duration>"),
    (re.compile(r"(127\.0\.0\.1:|port |127\.0\.0\.1', )\d+"), "<port>"),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("grep") is None, reason="the page's commands need grep"
    ),
]


class Block(NamedTuple):
    """A command of the page, and its output there."""

    command: str
    output: str


def blocks_of(title: str) -> list[Block]:
    [text] = [
        body
        for found, body in SECTION.findall(PAGE.read_text("utf-8"))
        if found == title
    ]
    return [Block(*found) for found in BLOCK.findall(text)]


def mask(text: str) -> str:
    """Mask what differs in each run, and empty lines: versions of rich differ there."""
    for pattern, placeholder in VOLATILE:
        text = pattern.sub(placeholder, text)
    return "\n".join(line for line in text.splitlines() if line)


class Shop:
    """The merchant's program: it fulfils each payment once, in one transaction."""

    def __init__(
        self, sandbox: Sandbox, client: AurpayClient, store: OrderStore
    ) -> None:
        self.store = store
        self.fulfilled: list[str] = []
        self.is_broken = False
        verifier = CallbackVerifier(
            secrets=[sandbox.callback_secret], reference_key=KEY, clock=sandbox.clock
        )
        processor = CallbackProcessor(
            verifier,
            self.handle,
            reader=client,
            lookup=store.lookup,
            inbox=SqlInbox(store.engine, clock=sandbox.clock),
        )
        routes = [callback_route(processor, public_base_url=SHOP)]
        sandbox.deliver_to(Starlette(routes=routes), SHOP)

    async def handle(self, notification: Notification) -> None:
        if self.is_broken:
            message = "the stock has no such article"
            raise LookupError(message)
        async with self.store.engine.begin() as connection:
            change = await self.store.record(notification, connection=connection)
            await self.fulfil(change, connection)
            await notification.ack(connection)

    async def fulfil(self, change: Change, _: AsyncConnection) -> None:
        self.fulfilled.extend([change.reference] if change.newly_paid else [])

    async def sell(self, reference: str) -> LightningOrder:
        """Return the order of a cart; its callbacks reach the shop."""
        url = f"{SHOP}/aurpay/callback"
        return await self.store.get_or_create(
            reference, "20.00", "USD", callback_url=url, timeout_callback=url
        )


class Night:
    """A sandbox and a shop, half an hour before the commands of a section are run."""

    def __init__(
        self, aurpay: Run, sandbox: Sandbox, shop: Shop, title: str, clock: FakeClock
    ) -> None:
        self._aurpay = aurpay
        self._title = title
        self._blocks = blocks_of(title)
        #: The ids of this run, by the page's.
        self._ids: dict[str, str] = {}
        self.sandbox, self.shop, self.clock = sandbox, shop, clock
        #: Seconds by which the clock of the sandbox is ahead.
        self.skew_s = 0

    async def run(self) -> None:
        """Run the next command of the section, and compare its output."""
        block = self._blocks.pop(0)
        self.catch_up()
        command = self._with_ids(block.command)
        output = await asyncio.to_thread(self._execute, command, block.output)
        self._ids.update(
            zip(ID.findall(block.output), ID.findall(output), strict=False)
        )
        if not UPDATES:
            assert mask(output) == mask(self._with_ids(block.output)), command
            return
        text = PAGE.read_text("utf-8")
        start = text.index(f"## {self._title}\n")
        old = f"```console\n$ {block.command}\n{block.output}```"
        new = f"```console\n$ {command}\n{output}```"
        PAGE.write_text(text[:start] + text[start:].replace(old, new, 1), "utf-8")

    def catch_up(self) -> None:
        """Set the clock of sandbox and shop to that of the command."""
        late = datetime.now(UTC) - self.clock.now()
        self.clock.advance(late.total_seconds() + self.skew_s)

    async def run_shop(self) -> None:
        """Do what the loop of `OrderStore.run` does every minute."""
        self.catch_up()
        await self.shop.store.reconcile(on_change=self.shop.fulfil)

    def _with_ids(self, text: str) -> str:
        return ID.sub(lambda found: self._ids.get(found[0], found[0]), text)

    def _execute(self, command: str, shown: str) -> str:
        words, *filters = command.split(" | ")
        typed = "yes\n" if "Type yes: yes\n" in shown else None
        program, *arguments = shlex.split(words)
        assert program == "aurpay"
        done = self._aurpay(*arguments, typed=typed)
        output = done.err.replace("Type yes: ", "Type yes: yes\n") + done.out
        for one in filters:
            output = subprocess.run(
                shlex.split(one), input=output, stdout=-1, text=True, check=False
            ).stdout
        return output

    def assert_complete(self) -> None:
        assert self._blocks == []


@pytest.fixture(autouse=True)
def _without_pauses_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries follow without a delay."""

    async def sleep(_: SystemClock, seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(SystemClock, "sleep", sleep)
    # No colours and no spinner, also where the command asks at the terminal.
    monkeypatch.setenv("TERM", "dumb")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def open_night(
    aurpay: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], Awaitable[Night]]]:
    """Return a function that opens the situation of a section."""
    url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
    clock = FakeClock(datetime.now(UTC) - timedelta(minutes=30))
    async with (
        Sandbox(clock=clock) as sandbox,
        sandbox.client(reference_key=KEY) as client,
        OrderStore(client, url) as store,
    ):
        await store.upgrade()
        for name, value in {
            "AURPAY_BASE_URL": sandbox.base_url,
            "AURPAY_NETWORK": "regtest",
            "AURPAY_API_KEY": "a-made-up-api-key",
            "AURPAY_DATABASE": url,
        }.items():
            monkeypatch.setenv(name, value)

        async def open_night(title: str) -> Night:
            return Night(aurpay, sandbox, Shop(sandbox, client, store), title, clock)

        yield open_night


Open = Any


async def test_page_shows_the_output_for_paid_and_not_fulfilled(
    open_night: Open,
) -> None:
    night = await open_night("Paid and not fulfilled")
    order = await night.shop.sell("cart-42")
    night.clock.advance(600)
    night.sandbox.callback_faults.push("lost")
    await night.sandbox.pay(order.order_id)
    for _ in range(3):
        await night.run()
    assert night.shop.fulfilled == []
    await night.run_shop()
    await night.run()
    assert night.shop.fulfilled == ["cart-42"]
    night.shop.is_broken = True
    other = await night.shop.sell("cart-50")
    await night.sandbox.pay(other.order_id)
    await night.run()
    night.shop.is_broken = False
    await night.run()
    await night.run_shop()
    await night.run()
    assert night.shop.fulfilled == ["cart-42", "cart-50"]
    night.assert_complete()


async def test_page_shows_the_output_for_a_payment_needs_review(
    open_night: Open,
) -> None:
    night = await open_night("A payment needs review")
    night.sandbox.faults.push("503+created")
    night.sandbox.callback_faults.push("lost")
    with pytest.raises(ServerError):
        await night.shop.sell("cart-43")
    await night.sandbox.pay([*night.sandbox.orders][-1])
    night.clock.advance(1)  # the newest attempt is shown first
    await night.shop.sell("cart-43")
    await night.run_shop()
    for _ in range(6):
        await night.run()
    assert night.shop.fulfilled == []
    night.assert_complete()


async def test_page_shows_the_output_for_fulfilled_and_not_paid(
    open_night: Open,
) -> None:
    night = await open_night("Fulfilled and not paid")
    order = await night.shop.sell("cart-44")
    night.clock.advance(1500)
    await night.sandbox.expire(order.order_id)
    for _ in range(3):
        await night.run()
    assert night.shop.fulfilled == []
    night.assert_complete()


async def test_page_shows_the_output_for_two_payments_for_one_reference(
    open_night: Open,
) -> None:
    night = await open_night("Two payments for one reference")
    first = await night.shop.sell("cart-45")
    night.clock.advance(600)
    await night.sandbox.expire(first.order_id)
    second = await night.shop.sell("cart-45")
    assert second.order_id != first.order_id
    await night.sandbox.pay(second.order_id)
    night.clock.advance(60)
    await night.sandbox.pay(first.order_id)
    for _ in range(3):
        await night.run()
    await night.run_shop()
    await night.run()
    assert night.shop.fulfilled == ["cart-45"]
    night.assert_complete()


async def test_page_shows_the_output_for_callback_storm(open_night: Open) -> None:
    night = await open_night("Callback storm")
    order = await night.shop.sell("cart-46")
    night.sandbox.callback_faults.push("twice; times=50")
    sent = await night.sandbox.pay(order.order_id)
    assert len(sent) == 50
    await night.run()
    assert night.shop.fulfilled == ["cart-46"]
    night.assert_complete()


async def test_page_shows_the_output_for_a_key_is_rejected(
    open_night: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = await open_night("A key is rejected")
    async with Sandbox(api_key="another-made-up-key") as renewed:
        monkeypatch.setenv("AURPAY_BASE_URL", renewed.base_url)
        await night.run()
    night.assert_complete()


async def test_page_shows_the_output_for_aurpay_is_down(
    open_night: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = await open_night("Aurpay is down")
    order = await night.shop.sell("cart-47")
    night.sandbox.callback_faults.push("lost")
    await night.sandbox.pay(order.order_id)
    async with closed_port() as base_url:
        monkeypatch.setenv("AURPAY_BASE_URL", base_url)
        await night.run()
        await night.run()
    monkeypatch.setenv("AURPAY_BASE_URL", night.sandbox.base_url)
    for _ in range(3):
        await night.run()
    night.assert_complete()


async def test_page_shows_the_output_for_the_database_is_down(
    open_night: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = await open_night("The database is down")
    order = await night.shop.sell("cart-48")
    await night.sandbox.pay(order.order_id)
    database = os.environ["AURPAY_DATABASE"]
    async with closed_port() as address:
        host = address.removeprefix("http://")
        monkeypatch.setenv(
            "AURPAY_DATABASE", f"postgresql+asyncpg://me:made-up@{host}/n"
        )
        await night.run()
    monkeypatch.setenv("AURPAY_DATABASE", database)
    await night.run()
    await night.run()
    night.assert_complete()


async def test_page_shows_the_output_for_the_clock_is_wrong(open_night: Open) -> None:
    night = await open_night("The clock is wrong")
    night.skew_s = 630
    await night.run()
    night.skew_s = 0
    await night.run()
    night.assert_complete()


async def test_page_shows_the_output_for_a_key_has_leaked(
    open_night: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    night = await open_night("A key has leaked")
    order = await night.shop.sell("cart-49")
    await night.sandbox.pay(order.order_id)
    night.catch_up()
    async with night.sandbox.client() as thief:
        await thief.withdraw_lightning(sign_fresh(amount_msat=19_000_000))
    await night.run()
    async with Sandbox(api_key="another-made-up-key") as renewed:
        monkeypatch.setenv("AURPAY_BASE_URL", renewed.base_url)
        await night.run()
        monkeypatch.setenv("AURPAY_API_KEY", "another-made-up-key")
        await night.run()
    night.assert_complete()


def test_each_section_with_commands_has_a_test() -> None:
    titles = [
        title
        for title, body in SECTION.findall(PAGE.read_text("utf-8"))
        if BLOCK.search(body)
    ]
    tests = [name.removeprefix("test_page_shows_the_output_for_") for name in globals()]
    for title in titles:
        assert title.lower().replace(" ", "_") in tests
