"""The examples of the docstrings run, print what they show, and have their effect."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import os
import re
import sqlite3
from contextlib import closing, redirect_stdout
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from doctest import ELLIPSIS, DocTestParser, OutputChecker
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

import aurpay_async
from aurpay_async import (
    AurpayClient,
    ConnectError,
    ConnectionLostError,
    Response,
    RetryPolicy,
    ServerError,
)
from aurpay_async.callbacks import (
    CallbackEvent,
    CallbackProcessor,
    CallbackVerifier,
    MemoryInbox,
    Notification,
)
from aurpay_async.orders import OrderStore, upgrade
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock, MemoryTransport, sign_callback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import LightningOrder
    from aurpay_async.callbacks import Reference
    from aurpay_async.orders import Change

PACKAGE = Path(aurpay_async.__file__).parent
SHOP = "https://shop.example"
KEY = "sandbox-reference-key"

#: Examples that need another server than the sandbox, with the reason.
NOT_RUN = {
    "contrib.procrastinate.OrderTasks": (
        "it needs PostgreSQL with the tables of procrastinate; tests/workers runs the "
        "same calls there"
    )
}

_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield the public name of each definition with an example, and its docstring."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if not part.startswith("_"))
        yield from _of(ast.parse(path.read_text(encoding="utf-8")), name)


def _of(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[str, str]]:
    text = ast.get_docstring(node) or ""
    if ">>> " in text:
        yield name or "aurpay_async", text
    for child in node.body:
        if isinstance(child, _DEFINITIONS):
            yield from _of(child, f"{name}.{child.name}")


DOCSTRINGS = dict(docstrings())


async def run(name: str, **names: Any) -> SimpleNamespace:
    """Run the example of a definition; return the names that it has set.

    Args:
        name: The definition, without ``aurpay_async.``.
        names: The names that the example takes as given; that of an adapter is added.
    """
    module, _, own = name.rpartition(".")
    if module.startswith("contrib."):
        names[own] = getattr(import_module(f"aurpay_async.{module}"), own)
    for example in DocTestParser().get_examples(DOCSTRINGS[name]):
        code = compile(
            example.source,
            f"the docstring of {name}",
            "single" if example.want else "exec",
            ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        with redirect_stdout(io.StringIO()) as printed:
            result = eval(code, names)  # noqa: S307 - our own docstrings
            if inspect.isawaitable(result):
                await result
        shown = printed.getvalue()
        assert OutputChecker().check_output(example.want, shown, ELLIPSIS), shown
    return SimpleNamespace(**names)


@attrs.frozen
class Shop:
    """A shop that fulfils the orders of its callbacks."""

    sandbox: Sandbox
    aurpay: AurpayClient
    orders: dict[str | None, LightningOrder] = attrs.field(factory=dict)
    shipments: list[str] = attrs.field(factory=list)

    def verifier(self) -> CallbackVerifier:
        return CallbackVerifier(
            secrets=[self.sandbox.callback_secret], reference_key=KEY
        )

    def processor(self) -> CallbackProcessor:
        return CallbackProcessor(
            self.verifier(),
            self.fulfil,
            lookup=self.lookup,
            reader=self.aurpay,
            inbox=MemoryInbox(),
        )

    async def fulfil(self, notification: Notification) -> None:
        if notification.outcome == "paid":
            await self.ship(notification.reference)

    async def lookup(self, reference: Reference) -> LightningOrder | None:
        return self.orders.get(reference.attempt_id)

    async def ship(self, reference: str) -> None:
        self.shipments.append(reference)

    async def pay_order(self) -> tuple[str, dict[str, str]]:
        """Create an order and pay it; return URL and headers of a callback."""
        url = f"{SHOP}/aurpay/callback"
        order = await self.aurpay.create_order(
            "20.00", "USD", reference="cart-42", callback_url=url
        )
        self.orders[order.attempt_id] = order
        await self.sandbox.pay(order.order_id)
        signed = self.sandbox.orders[order.order_id].urls["callback_url"]
        return signed, sign_callback(signed, secret=self.sandbox.callback_secret)

    async def expect_fulfilment(self, app: Any) -> None:
        """Pay an order; the sandbox delivers its callback into the application."""
        self.sandbox.deliver_to(app, SHOP)
        await self.pay_order()
        self.sandbox.assert_callbacks("paid")
        assert self.shipments == ["cart-42"]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with Sandbox() as sandbox, sandbox.client(reference_key=KEY) as aurpay:
        yield Shop(sandbox, aurpay)


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/orders.db"


async def get(app: web.Application, url: str, headers: dict[str, str]) -> str:
    """Return the text of an answer of an aiohttp application."""
    async with TestClient(TestServer(app)) as browser:
        path = URL(url.removeprefix(SHOP), encoded=True)
        return await (await browser.get(path, headers=headers)).text()


def test_every_docstring_with_an_example_is_run_or_has_a_reason() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    run_here = re.findall(r'await run\(\s*"([\w.]+)"', source)
    assert sorted([*run_here, *NOT_RUN]) == sorted(DOCSTRINGS)


async def test_example_of_the_package_creates_an_order(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_BASE_URL", shop.sandbox.base_url)
    monkeypatch.setenv("AURPAY_NETWORK", "regtest")
    monkeypatch.setenv("AURPAY_API_KEY", "sandbox-key")
    await run("aurpay_async")
    shop.sandbox.assert_orders(1)


async def test_example_of_bolt11_decodes_an_invoice(shop: Shop) -> None:
    order = await shop.aurpay.create_order("20.00", "USD")
    it = await run("bolt11", text=str(order.payment_request))
    assert it.invoice == order.payment_request


async def test_example_of_the_verifier_verifies_a_callback(shop: Shop) -> None:
    url, headers = await shop.pay_order()
    it = await run(
        "callbacks.CallbackVerifier",
        CallbackVerifier=CallbackVerifier,
        secret=shop.sandbox.callback_secret,
        key=KEY,
        url=url,
        headers=headers,
    )
    assert isinstance(it.event, CallbackEvent)


async def test_example_of_the_processor_fulfils_a_paid_order(shop: Shop) -> None:
    it = await run(
        "callbacks.CallbackProcessor",
        CallbackProcessor=CallbackProcessor,
        Notification=Notification,
        verifier=shop.verifier(),
        aurpay=shop.aurpay,
        inbox=MemoryInbox(),
        find_order=shop.lookup,
        ship=shop.ship,
    )
    url, headers = await shop.pay_order()
    reply = await it.processor.process(method="GET", url=url, headers=headers)
    assert (reply.status, shop.shipments) == (200, ["cart-42"])


async def test_example_for_aiohttp_fulfils_a_paid_order(shop: Shop) -> None:
    it = await run(
        "contrib.aiohttp.callback_handler",
        processor=shop.processor(),
        app=web.Application(),
    )
    assert await get(it.app, *(await shop.pay_order())) == "ok\n"
    assert shop.shipments == ["cart-42"]


async def test_example_for_aiohttp_streams_the_status_of_an_order(shop: Shop) -> None:
    order = await shop.aurpay.create_order("20.00", "USD")
    await shop.sandbox.pay(order.order_id)

    async def get_session(_: web.Request) -> dict[str, str]:
        return {"order_id": order.order_id}

    it = await run(
        "contrib.aiohttp.send_order_events",
        web=web,
        aurpay=shop.aurpay,
        get_session=get_session,
    )
    app = web.Application()
    app.router.add_get("/events", it.events)
    streamed = await get(app, "/events", {})
    assert '"status": "SUCCESS"' in streamed
    assert "event: end" in streamed


async def test_example_for_django_fulfils_a_paid_order(shop: Shop) -> None:
    from django.test import AsyncRequestFactory
    from django.urls import path

    from .contrib.shops import use_django

    use_django()
    it = await run(
        "contrib.django.callback_view",
        path=path,
        processor=shop.processor(),
    )
    url, headers = await shop.pay_order()
    request = AsyncRequestFactory().get(url.removeprefix(SHOP), headers=headers)
    answer = await it.urlpatterns[0].callback(request)
    assert (answer.status_code, shop.shipments) == (200, ["cart-42"])


async def test_example_for_litestar_fulfils_a_paid_order(shop: Shop) -> None:
    from litestar import Litestar

    it = await run(
        "contrib.litestar.callback_handler",
        Litestar=partial(Litestar, logging_config=None),  # it would stay configured
        processor=shop.processor(),
    )
    await shop.expect_fulfilment(it.app)


async def test_example_for_quart_fulfils_a_paid_order(shop: Shop) -> None:
    from quart import Quart

    it = await run(
        "contrib.quart.callback_blueprint",
        processor=shop.processor(),
        app=Quart("shop"),
    )
    await shop.expect_fulfilment(it.app)


async def test_example_for_starlette_fulfils_a_paid_order(shop: Shop) -> None:
    from starlette.applications import Starlette

    it = await run(
        "contrib.starlette.callback_route",
        Starlette=Starlette,
        processor=shop.processor(),
    )
    await shop.expect_fulfilment(it.app)


async def test_example_for_fastapi_fulfils_a_paid_order(shop: Shop) -> None:
    from fastapi import FastAPI

    it = await run(
        "contrib.starlette.callback_router",
        processor=shop.processor(),
        app=FastAPI(),
    )
    await shop.expect_fulfilment(it.app)


async def test_example_of_the_fastapi_dependency_verifies_a_callback(
    shop: Shop,
) -> None:
    from fastapi import Depends, FastAPI

    it = await run(
        "contrib.starlette.verified_callback",
        CallbackEvent=CallbackEvent,
        Annotated=Annotated,
        Depends=Depends,
        verifier=shop.verifier(),
        app=FastAPI(),
    )
    shop.sandbox.deliver_to(it.app, SHOP)
    await shop.pay_order()
    shop.sandbox.assert_callbacks("paid")


async def test_example_for_fastapi_streams_the_status_of_an_order(shop: Shop) -> None:
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse

    order = await shop.aurpay.create_order("20.00", "USD")
    await shop.sandbox.pay(order.order_id)
    it = await run(
        "contrib.starlette.order_events",
        Request=Request,
        StreamingResponse=StreamingResponse,
        aurpay=shop.aurpay,
        app=FastAPI(),
    )
    visitor = SimpleNamespace(session={"order_id": order.order_id})
    streamed = [part async for part in (await it.events(visitor)).body_iterator]
    assert b'"status": "SUCCESS"' in b"".join(streamed)


async def test_example_of_the_order_store_creates_an_order(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    it = await run(
        "orders.OrderStore",
        OrderStore=OrderStore,
        aurpay=shop.aurpay,
        url=f"{SHOP}/aurpay/callback",
    )
    (attempt,) = await it.store.attempts("cart-42")
    assert attempt.order == it.order
    await it.store.aclose()


async def test_example_of_running_finds_a_payment(
    aurpay_sandbox: Sandbox,
    aurpay_client: AurpayClient,
    aurpay_clock: FakeClock,
    database: str,
) -> None:
    async with OrderStore(aurpay_client, database) as store:
        order = await store.get_or_create("cart-42", "20.00", "USD")
    await aurpay_sandbox.pay(order.order_id)
    aurpay_clock.advance(120)
    found = asyncio.Event()

    async def fulfil(change: Change, _: AsyncConnection) -> None:
        assert change.newly_paid
        found.set()

    await run(
        "orders.OrderStore.running",
        OrderStore=OrderStore,
        aurpay=aurpay_client,
        database=database,
        fulfil=fulfil,
        serve=found.wait,
    )
    assert found.is_set()


async def test_example_of_upgrade_creates_the_tables(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_DATABASE", database)
    await run("orders.upgrade", upgrade=upgrade, os=os)
    with closing(sqlite3.connect(database.partition("///")[2])) as file:
        assert file.execute("SELECT count(*) FROM aurpay_attempts").fetchall() == [(0,)]


async def test_example_of_the_sandbox_pays_an_order() -> None:
    it = await run("sandbox.Sandbox", Sandbox=Sandbox)
    assert it.sandbox.orders[it.order.order_id].status == "SUCCESS"


async def test_example_of_a_transport_reaches_the_sandbox() -> None:
    it = await run(
        "sandbox.Sandbox.transport", Sandbox=Sandbox, AurpayClient=AurpayClient
    )
    assert isinstance(it.aurpay, AurpayClient)


async def test_example_of_deliver_to_delivers_callbacks(shop: Shop) -> None:
    from starlette.applications import Starlette

    from aurpay_async.contrib.starlette import callback_route

    route = callback_route(shop.processor(), public_base_url=SHOP)
    app = Starlette(routes=[route])
    await run("sandbox.Sandbox.deliver_to", sandbox=shop.sandbox, app=app)
    await shop.pay_order()
    assert shop.shipments == ["cart-42"]


async def test_example_of_rates_changes_the_amount_of_an_order(shop: Shop) -> None:
    await run("sandbox.Rates", sandbox=shop.sandbox)
    order = await shop.aurpay.create_order("65", "USD")
    assert order.amount == Decimal("0.001")


async def test_example_of_faults_lets_two_requests_fail(shop: Shop) -> None:
    await run("sandbox.Faults", sandbox=shop.sandbox)
    with pytest.raises(ServerError) as caught:
        await shop.aurpay.create_order("20.00", "USD")
    assert caught.value.retry_after == 1
    with pytest.raises(ConnectionLostError):
        await shop.aurpay.create_order("20.00", "USD")
    shop.sandbox.assert_orders(1)


async def test_example_of_callback_faults_changes_two_callbacks(shop: Shop) -> None:
    from starlette.applications import Starlette

    from aurpay_async.contrib.starlette import callback_route

    route = callback_route(shop.processor(), public_base_url=SHOP)
    shop.sandbox.deliver_to(Starlette(routes=[route]), SHOP)
    await run("sandbox.CallbackFaults", sandbox=shop.sandbox)
    await shop.pay_order()
    shop.sandbox.assert_callbacks("paid", "paid", "paid")
    await shop.pay_order()
    assert shop.sandbox.callbacks[-1].status == 401


async def test_example_of_a_memory_transport_answers_twice() -> None:
    it = await run(
        "testing.MemoryTransport",
        MemoryTransport=MemoryTransport,
        Response=Response,
        ConnectError=ConnectError,
    )
    aurpay = AurpayClient(transport=it.transport, retry=RetryPolicy(max_attempts=1))
    with pytest.raises(ServerError):
        await aurpay.create_order("20.00", "USD")
    with pytest.raises(ConnectError):
        await aurpay.create_order("20.00", "USD")


async def test_example_of_a_fake_clock_advances_it() -> None:
    it = await run("testing.FakeClock", FakeClock=FakeClock, datetime=datetime, UTC=UTC)
    began = datetime(2024, 4, 28, 12, 52, tzinfo=UTC)
    assert it.clock.now() == began + timedelta(seconds=30)
