"""Each program of the page about frameworks fulfils a paid order of the sandbox."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import litestar
import pytest
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import text
from yarl import URL

import aurpay_async
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import sign_callback

from ..contrib.shops import use_django

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOCS = Path(__file__).parents[2] / "docs"
SHOP = "https://shop.example"
#: The keys of the page.
SECRET, KEY = "sandbox-secret", "sandbox-reference-key"


def programs(page: str) -> dict[str, list[str]]:
    """Return the Python blocks of a page, by their heading."""
    sections = re.split(r"^## ", (DOCS / page).read_text("utf-8"), flags=re.MULTILINE)
    return {
        section.partition("\n")[0]: re.findall(
            r"```python\n(.*?)```", section, re.DOTALL
        )
        for section in sections
    }


FRAMEWORKS = programs("frameworks.md")


def leave_logging_alone(patch: pytest.MonkeyPatch) -> None:
    """Let Litestar not configure the logging of the test's process."""
    plain = partial(litestar.Litestar, logging_config=None)
    patch.setattr(litestar, "Litestar", plain)


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """Open a sandbox that the clients of the page reach."""
    async with Sandbox(callback_secret=SECRET) as sandbox:

        def connect(*_: Any, **options: Any) -> aurpay_async.AurpayClient:
            return sandbox.client(**options)

        monkeypatch.setattr(aurpay_async, "AurpayClient", connect)
        leave_logging_alone(monkeypatch)
        yield sandbox


def define(code: str) -> dict[str, Any]:
    """Run a program, and return its names."""
    names: dict[str, Any] = {"__name__": "shop"}
    with redirect_stdout(io.StringIO()):
        exec(code, names)  # noqa: S102 - our own page
    return names


async def pay_order(sandbox: Sandbox, shop: dict[str, Any]) -> tuple[str, Any]:
    """Pay an order of the shop; return URL and headers of its callback."""
    url = f"{SHOP}/aurpay/callback"
    order = await shop["aurpay"].create_order(
        "20.00", "USD", reference="cart-42", callback_url=url
    )
    shop["orders"][order.attempt_id] = order
    await sandbox.pay(order.order_id)
    signed = sandbox.orders[order.order_id].urls["callback_url"]
    return signed, sign_callback(signed, secret=SECRET)


@pytest.mark.parametrize("name", ["FastAPI", "Starlette", "Litestar", "Quart"])
async def test_asgi_program_of_the_page_fulfils_a_paid_order(
    name: str, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = define(FRAMEWORKS[name][0])
    sandbox.deliver_to(shop["app"] if "app" in shop else shop["create_app"](), SHOP)
    await pay_order(sandbox, shop)
    sandbox.assert_callbacks("paid")
    assert capsys.readouterr().out == "fulfil cart-42\n"
    await shop["aurpay"].aclose()


async def test_aiohttp_program_of_the_page_fulfils_a_paid_order(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = define(FRAMEWORKS["aiohttp"][0])
    async with TestClient(TestServer(shop["app"])) as browser:
        url, headers = await pay_order(sandbox, shop)
        target = URL(url.removeprefix(SHOP), encoded=True)
        assert (await browser.get(target, headers=headers)).status == 200
    assert capsys.readouterr().out == "fulfil cart-42\n"


async def test_django_program_of_the_page_fulfils_a_paid_order(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    from django.test import AsyncRequestFactory

    use_django()
    shop = define(FRAMEWORKS["Django"][0])
    url, headers = await pay_order(sandbox, shop)
    # With `headers=`, the factory of Django 5.1 loses names with a hyphen.
    request = AsyncRequestFactory().get(url.removeprefix(SHOP), **headers)
    answer = await shop["urlpatterns"][0].callback(request)
    assert (answer.status_code, capsys.readouterr().out) == (200, "fulfil cart-42\n")
    await shop["aurpay"].aclose()


async def test_fastapi_dependency_of_the_page_answers_with_the_reference(
    sandbox: Sandbox,
) -> None:
    shop = define(FRAMEWORKS["FastAPI"][1])
    async with sandbox.client(reference_key=KEY) as aurpay:
        url, headers = await pay_order(sandbox, {"aurpay": aurpay, "orders": {}})
    asgi = httpx.ASGITransport(shop["app"])
    async with httpx.AsyncClient(transport=asgi) as browser:
        answer = await browser.get(url, headers=headers)
    assert answer.json() == "callback paid for cart-42"


async def test_handler_of_the_page_marks_the_cart_in_the_transaction_of_the_inbox(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = programs("callbacks.md")["Exactly-once delivery to the handler"]
    shop = define(code)
    async with shop["engine"].begin() as connection:
        await connection.execute(text("CREATE TABLE carts (reference TEXT, paid INT)"))
        await connection.execute(text("INSERT INTO carts VALUES ('cart-42', 0)"))
    await shop["inbox"].create_tables()
    async with sandbox.client(reference_key=KEY) as aurpay:
        orders: dict[str, Any] = {}

        async def lookup(reference: Any) -> Any:
            return orders.get(reference.attempt_id)

        processor = CallbackProcessor(
            CallbackVerifier(secrets=[SECRET], reference_key=KEY),
            shop["handle"],
            lookup=lookup,
            reader=aurpay,
            inbox=shop["inbox"],
        )
        url, headers = await pay_order(sandbox, {"aurpay": aurpay, "orders": orders})
        for outcome in ("paid", "repeated"):
            reply = await processor.process(method="GET", url=url, headers=headers)
            assert (reply.status, reply.outcome) == (200, outcome)
    async with shop["engine"].connect() as connection:
        rows = await connection.execute(text("SELECT * FROM carts"))
        assert rows.fetchall() == [("cart-42", 1)]
    await shop["engine"].dispose()
