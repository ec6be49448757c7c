"""Tests of examples/shop, served by uvicorn on loopback, beside a sandbox."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from base64 import b64encode
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import aiohttp
import attrs
import pytest
import uvicorn

from aurpay_async import StoreUnavailableError
from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock, sign_callback
from examples.shop import shop as shop_module
from examples.shop import web
from examples.shop.shop import Cart, Orders, Product, Shop

from ..support.orders import AS_TEXT, NOW, TEXT_DAY, build_lightning_order
from .outage import Outage
from .waiting import HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.slow

KEY = "sandbox-reference-key"
CART = Cart(reference="cart-1", state="new", opened=NOW, shipment=None)
PASSWORD = "honey"


class Seen(NamedTuple):
    """The page that a browser shows after redirects."""

    status: int
    url: str
    text: str
    headers: Any


class Browser:
    """A browser that opens pages of the shop."""

    def __init__(self, shop: Shop, session: aiohttp.ClientSession) -> None:
        self.shop = shop
        self._session = session

    async def ask(self, method: str, path: str, **options: Any) -> Seen:
        """Request a page of the shop and follow redirects."""
        url = path if "://" in path else self.shop.public_base_url + path
        async with self._session.request(method, url, **options) as response:
            text = await response.text()
            return Seen(response.status, str(response.url), text, response.headers)

    async def look(self, path: str, **options: Any) -> Seen:
        """Open a page."""
        return await self.ask("GET", path, **options)

    async def fill(self) -> str:
        """Open the product and return the path of its new cart."""
        (path,) = re.findall('action="(.*?)"', (await self.look("/")).text)
        return str(path)

    async def buy(self) -> Seen:
        """Press the button "Buy"."""
        return await self.ask("POST", await self.fill())

    async def list(self) -> Seen:
        """Open the list of orders as the merchant."""
        return await self.look("/orders", headers=login(PASSWORD))


def login(password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f':{password}'.encode()).decode()}"}


@asynccontextmanager
async def serving(
    sandbox: Sandbox, database: str, *, real: bool = False
) -> AsyncIterator[Browser]:
    """Serve a shop on a free port; return a browser for it."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    verifier = CallbackVerifier(
        secrets=[sandbox.callback_secret], reference_key=KEY, clock=sandbox.clock
    )
    async with (
        sandbox.client(reference_key=KEY) as aurpay,
        aiohttp.ClientSession() as session,
    ):
        shop = Shop(
            aurpay,
            verifier,
            database=database,
            public_base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
            password=None if real else PASSWORD,
            simulate=None if real else sandbox.pay,
        )
        config = uvicorn.Config(
            web.create_app(shop), log_level="critical", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield Browser(shop, session)
        finally:
            server.should_exit = True
            await task


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Provide a sandbox with the machine's clock."""
    async with Sandbox() as opened:
        yield opened


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Sandbox, HandClock]]:
    """Provide a sandbox with a clock that the test advances."""
    clock = HandClock()
    async with Sandbox(clock=clock) as opened:
        yield opened, clock


@pytest.fixture(params=["sqlite", "postgresql"])
def any_database(request: pytest.FixtureRequest, database: str) -> str:
    """Return a database of each kind; PostgreSQL only if it is enabled."""
    if request.param == "sqlite":
        return database
    return str(request.getfixturevalue("postgresql_url"))


async def test_paid_cart_is_shipped_once_across_a_restart(
    sandbox: Sandbox, any_database: str
) -> None:
    async with serving(sandbox, any_database) as browser:
        product = await browser.look("/")
        assert "A jar of honey" in product.text
        sandbox.callback_faults.push("twice; times=3")
        cart = await browser.buy()
        (order,) = sandbox.orders.values()
        assert (cart.status, cart.text.count(order.invoice)) == (200, 2)
        code = await browser.look(f"{cart.url}/code.svg")
        assert (code.headers["Content-Type"], "<svg" in code.text) == (
            "image/svg+xml",
            True,
        )
        sent = await sandbox.pay(order.order_id)
        assert [callback.status for callback in sent] == [200] * 3
        assert "Your honey is on its way" in (await browser.look(cart.url)).text
        orders = (await browser.list()).text
        (shipment,) = re.findall("shipment ([0-9a-f]{8})", orders)
        assert ">Shipped<" in orders
        assert "refund" not in orders
    async with serving(sandbox, any_database) as browser:
        again = await browser.shop.processor.process(
            method="GET", url=sent[0].url, headers=sent[0].headers
        )
        assert again.outcome == "repeated"
        assert (await browser.list()).text == orders
        path = cart.url.removeprefix("http://").partition("/")[2]
        assert "on its way" in (await browser.ask("POST", f"/{path}")).text
        sandbox.assert_orders(1)
        assert shipment in orders


async def test_pressing_buy_twice_creates_one_order(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        path = await browser.fill()
        seen = await asyncio.gather(*(browser.ask("POST", path) for _ in range(5)))
        seen.append(await browser.ask("POST", path))
        (order,) = sandbox.orders.values()
        for page in seen:
            assert (page.status, order.invoice in page.text) == (200, True)
        await browser.buy()
        sandbox.assert_orders(2)


@pytest.mark.parametrize(("poll_every", "rings"), [(60, True), (0.05, False)])
async def test_events_of_a_page_end_after_the_payment(
    sandbox: Sandbox,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    poll_every: float,
    *,
    rings: bool,
) -> None:
    monkeypatch.setattr(shop_module, "POLL_EVERY", poll_every)
    if not rings:
        monkeypatch.setattr(Shop, "_notify_pages", lambda _: None)
    async with serving(sandbox, database) as browser, asyncio.timeout(60):
        cart = await browser.buy()
        heard = asyncio.create_task(browser.look(f"{cart.url}/events"))
        while not browser.shop._changed._waiters:
            await asyncio.sleep(0.01)
        await sandbox.pay(next(iter(sandbox.orders)))
        events = await heard
        assert events.headers["Content-Type"].startswith("text/event-stream")
        states = re.findall("event: state\ndata: (.*)\n\n", events.text)
        assert (states[0], states[-1], {*states}) == (
            "open",
            "shipped",
            {"open", "shipped"},
        )


async def test_expired_cart_gets_a_second_order_and_one_shipment_if_both_are_paid(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        cart = await browser.buy()
        await sandbox.expire(next(iter(sandbox.orders)))
        page = (await browser.look(cart.url)).text
        assert "This invoice has expired" in page
        assert '<meta http-equiv="refresh" content="5; url=/carts/' in page
        (path,) = re.findall('action="(.*?)"', page)
        fresh = await browser.ask("POST", path)
        first, second = sandbox.orders.values()
        assert (fresh.url, second.invoice in fresh.text) == (cart.url, True)
        await sandbox.pay(first.order_id)
        assert "Your honey is on its way" in (await browser.look(cart.url)).text
        assert "refund" not in (await browser.list()).text
        await sandbox.pay(second.order_id)
        orders = (await browser.list()).text
        assert f"refund {second.order_id}" in orders
        assert len(re.findall("shipment [0-9a-f]{8}", orders)) == 1


async def shipments(browser: Browser) -> list[str]:
    """Return the numbers of the shipments in the list of orders."""
    return re.findall("shipment ([0-9a-f]{8})", (await browser.list()).text)


async def until_listed(browser: Browser, clock: HandClock, what: str) -> None:
    """Advance the clock until the list contains `what`, after `OrderStore.run`."""
    async with asyncio.timeout(60):
        while what not in (await browser.list()).text:
            clock.advance(60)
            await asyncio.sleep(0.01)


async def test_payment_without_a_callback_is_fulfilled(
    slow: tuple[Sandbox, HandClock], database: str
) -> None:
    sandbox, clock = slow
    async with serving(sandbox, database) as browser:
        shop = browser.shop
        shop.processor._delivery.keywords["clock"] = (
            FakeClock()
        )  # it would wait for the order
        sandbox.callback_faults.push("lost")
        await browser.buy()
        await sandbox.pay(next(iter(sandbox.orders)))
        sandbox.callback_faults.push("before-answer")
        await browser.buy()
        assert sandbox.callbacks[-1].status == 503
        assert await shipments(browser) == []
        await until_listed(browser, clock, "shipment ")
        unseen = [*sandbox.orders][-1]
        await until_listed(browser, clock, f"may be paid: {unseen}")
        assert len(await shipments(browser)) == 1


async def test_payment_during_a_database_outage_is_fulfilled_after_it(
    slow: tuple[Sandbox, HandClock],
    database: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sandbox, clock = slow
    async with serving(sandbox, database) as browser:
        sandbox.callback_faults.push("lost")
        await browser.buy()
        async with Outage(browser.shop.store.engine).lasting() as outage:
            await sandbox.pay(next(iter(sandbox.orders)))
            async with asyncio.timeout(60):
                while outage.refused < 3:
                    clock.advance(60)
                    await asyncio.sleep(0.01)
        failed = [r for r in caplog.records if r.name == "aurpay_async.orders"]
        assert len(failed) >= 2
        assert {record.levelname for record in failed} == {"WARNING"}
        assert "reconciliation failed, again in" in caplog.text
        await until_listed(browser, clock, "shipment ")


async def test_shop_closes_its_connections_while_the_database_is_down(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        await browser.buy()
        outage = Outage(browser.shop.store.engine).lasting()
        await outage.__aenter__()
    await outage.__aexit__(None, None, None)


async def test_shop_without_a_database_raises_store_unavailable_error(
    sandbox: Sandbox, database: str
) -> None:
    async with sandbox.client(reference_key=KEY) as aurpay:
        verifier = CallbackVerifier(secrets=["x" * 16], reference_key=KEY)
        shop = Shop(aurpay, verifier, database=database, public_base_url="http://[::1]")
        async with Outage(shop.store.engine).lasting():
            with pytest.raises(StoreUnavailableError):
                async with shop.running():
                    pytest.fail("started without a database")


async def test_payment_of_an_unknown_cart_is_answered_200_and_listed(
    sandbox: Sandbox, database: str, tmp_path: Path
) -> None:
    sandbox.callback_faults.push("lost")
    async with serving(sandbox, database) as browser:
        cart = await browser.buy()
        (order,) = sandbox.orders.values()
        (lost,) = await sandbox.pay(order.order_id)
    (tmp_path / "shop.db").unlink()
    headers = sign_callback(lost.url, secret=sandbox.callback_secret)
    async with serving(sandbox, database) as browser:
        browser.shop.processor._delivery.keywords["clock"] = (
            FakeClock()
        )  # its pauses pass at once
        reply = await browser.shop.processor.process(
            method="GET", url=lost.url, headers=headers
        )
        assert reply.status == 200
        orders = (await browser.list()).text
        reference = cart.url.rpartition("/")[2]
        assert f"{reference} · <strong>may be paid: no order known" in orders
        assert "20.00 USD" in orders
        assert await shipments(browser) == []


async def test_expired_invoice_is_not_shown(
    slow: tuple[Sandbox, HandClock], database: str
) -> None:
    sandbox, _ = slow
    async with serving(sandbox, database) as browser:
        cart = await browser.buy()
        assert "This invoice has expired" in cart.text
        assert next(iter(sandbox.orders.values())).invoice not in cart.text


async def test_lost_answer_is_reported_and_the_next_attempt_shows_an_invoice(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        path = await browser.fill()
        sandbox.faults.push("cut-json+created")
        failed = await browser.ask("POST", path)
        assert failed.status == 503
        assert "An invoice may have been created that no payer has seen" in failed.text
        assert "Nothing to pay yet" in (await browser.look(path)).text
        assert (await browser.look(f"{path}/code.svg")).status == 404
        assert f'action="{path}"' in failed.text
        assert "Waiting for payment" in (await browser.ask("POST", path)).text
        sandbox.faults.push("403")
        assert "No invoice was created, so there" in (await browser.buy()).text
        lost, shown = sandbox.orders.values()
        await sandbox.pay(shown.order_id)
        assert "on its way" in (await browser.look(path)).text
        await sandbox.pay(lost.order_id)
        assert f"refund {lost.order_id}" in (await browser.list()).text


async def test_payment_of_an_order_with_a_lost_answer_is_shipped(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        path = await browser.fill()
        sandbox.faults.push("reset-after-request+created")
        assert (await browser.ask("POST", path)).status == 503
        await sandbox.pay(next(iter(sandbox.orders)))
        assert "on its way" in (await browser.look(path)).text
        assert "on its way" in (await browser.ask("POST", path)).text
        sandbox.assert_orders(1)


async def test_paid_callback_of_an_order_that_aurpay_does_not_list_needs_review(
    slow: tuple[Sandbox, HandClock], database: str
) -> None:
    sandbox, clock = slow
    async with serving(sandbox, database) as browser:
        browser.shop.processor._delivery.keywords["clock"] = FakeClock()
        path = await browser.fill()
        sandbox.faults.push("reset-after-request")
        await browser.ask("POST", path)
        url = json.loads(sandbox.requests[0].body)["callback_url"]
        headers = sign_callback(url, secret=sandbox.callback_secret, now=clock.now())
        assert (await browser.look(url, headers=headers)).status == 200
        assert "We are checking your payment" in (await browser.look(path)).text
        assert "We are checking your payment" in (await browser.ask("POST", path)).text
        orders = (await browser.list()).text
        assert ">Needs review<" in orders
        assert "may be paid: no order known" in orders
        sandbox.assert_orders(0)


async def test_every_page_has_a_strict_content_security_policy(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        cart = await browser.buy()
        await sandbox.pay(next(iter(sandbox.orders)))
        pages = [
            await browser.look("/"),
            cart,
            await browser.look(cart.url),
            await browser.look(f"{cart.url}/events"),
            await browser.look(f"{cart.url}/code.svg"),
            await browser.ask("POST", cart.url, allow_redirects=False),
            await browser.list(),
            await browser.look("/orders"),
            await browser.look("/carts/cart-no"),
            await browser.look("/no"),
            await browser.ask("POST", "/"),
        ]
        statuses = [200, 200, 200, 200, 404, 303, 200, 401, 404, 404, 405]
        assert [page.status for page in pages] == statuses
        for page in pages[-3:]:
            assert "Page not found" in page.text
        for page in pages:
            policy = page.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src")
            assert "unsafe" not in policy
            assert page.headers["X-Content-Type-Options"] == "nosniff"
            assert page.headers["Cache-Control"] == "no-store"
            assert not re.search("<style|style=| on[a-z]+=|<script>", page.text)


async def test_list_of_orders_needs_the_password(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        for headers in ({}, login(""), login("hone"), login("hönig")):
            refused = await browser.look("/orders", headers=headers)
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"] == 'Basic realm="orders"'
            assert "Password required" in refused.text
        assert "There are no orders yet" in (await browser.list()).text
    async with serving(sandbox, database, real=True) as browser:
        assert (await browser.look("/orders", headers=login(""))).status == 401


async def test_button_pays_only_regtest_orders_of_the_sandbox(
    sandbox: Sandbox, database: str
) -> None:
    async with serving(sandbox, database) as browser:
        cart = await browser.buy()
        assert "Simulate the payment" in cart.text
        assert "sandbox: no real money" in cart.text
        paid = await browser.ask("POST", f"{cart.url}/pay")
        assert (paid.url, "on its way" in paid.text) == (cart.url, True)
        again = await browser.ask("POST", f"{cart.url}/pay")
        assert (again.url, "on its way" in again.text) == (cart.url, True)
        assert len(sandbox.orders) == 1
        real = build_lightning_order(AS_TEXT, network="mainnet", now=TEXT_DAY)
        made_up = build_lightning_order()
        for order, can in ((real, False), (made_up, True), (None, False)):
            cart_of_it = attrs.evolve(CART, state="open", order=order)
            assert web._can_simulate(browser.shop, cart_of_it) is can
    async with serving(sandbox, database, real=True) as browser:
        cart = await browser.buy()
        assert "imulate" not in cart.text
        assert "sandbox:" not in cart.text
        assert (await browser.ask("POST", f"{cart.url}/pay")).status == 404


MARKUP = "\"'><script src=//evil.example></script>&"


@pytest.mark.parametrize("template", ["product", "checkout", "message", "orders"])
def test_templates_escape_every_string(template: str) -> None:
    texts = dict.fromkeys(("order_id", "reference", "currency"), MARKUP)
    odd = cast("Any", {**texts, "candidates": {MARKUP: MARKUP}, "price": Decimal(1)})
    order = dict.fromkeys(("order_id", "payment_request", "pay_url"), MARKUP)
    names: dict[str, Any] = {
        "product": Product(MARKUP, MARKUP, MARKUP, MARKUP),
        "cart": attrs.evolve(CART, reference=MARKUP, state=cast("Any", MARKUP)),
        "orders": Orders(
            carts=[
                attrs.evolve(
                    CART,
                    reference=MARKUP,
                    shipment=MARKUP,
                    duplicate_payments=[odd],
                    needs_review=[odd],
                )
            ],
            duplicate_payments=[odd],
            needs_review=[odd],
        ),
        "labels": {"new": (MARKUP, MARKUP)},
        "order": {**order, "amount": Decimal(1)},
        "left": MARKUP,
        "message": web.Message(
            cast("Any", MARKUP), MARKUP, MARKUP, MARKUP, 1, again=True
        ),
        "reference": MARKUP,
        "sandbox": True,
        "simulated": True,
        "until": MARKUP,
    }
    text = web._templates.get_template(f"{template}.html").render(names)
    assert "script&gt;" in text
    assert "<script src=//" not in text
    assert not re.search('="[^"]*\'>', text)
