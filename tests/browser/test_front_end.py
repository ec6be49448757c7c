"""The application and the script of docs/front-end.md in a browser."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect
from starlette.responses import HTMLResponse
from starlette.routing import Route

from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox

from ..contrib.shops import serve_uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncConnection
    from starlette.requests import Request
    from starlette.responses import Response

    from aurpay_async import AurpayClient
    from aurpay_async.orders import Change

    from .conftest import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[2] / "docs" / "front-end.md").read_text("utf-8")


async def fulfil(change: Change, _: AsyncConnection) -> None:
    """See that the page has recorded the payment."""
    assert change.newly_paid


def create_app(aurpay: AurpayClient, store: OrderStore) -> FastAPI:
    """Return the application of the page, with pages that run its script."""
    (source,) = re.findall(r"```python\n(# live\.py\n.*?)```", PAGE, re.DOTALL)
    (script,) = re.findall(r"```javascript\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - our own page
    app: FastAPI = names["create_app"](aurpay, store, fulfil)
    pages = {
        "/": "",
        "/checkout": f"<p id=status></p><script>{script}</script>",
    }
    app.router.routes += [Route(path, show(html)) for path, html in pages.items()]
    return app


def show(html: str) -> Callable[[Request], Response]:
    """Return an endpoint that answers with a page."""
    return lambda _: HTMLResponse(f"<!doctype html><link rel=icon href=data:,>{html}")


async def test_page_follows_the_order_of_its_session_and_closes_the_stream_at_its_end(
    window: Window, tmp_path: Path
) -> None:
    page, stop = window.page, asyncio.Event()
    sock = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with (
        Sandbox(port=None) as sandbox,
        sandbox.client(reference_key="sandbox-reference-key") as aurpay,
        OrderStore(aurpay, f"sqlite+aiosqlite:///{tmp_path}/shop.db") as store,
    ):
        app = create_app(aurpay, store)
        serving = asyncio.create_task(serve_uvicorn(app, sock, stop))
        await page.goto(url)
        assert (
            await page.evaluate("fetch('/checkout/events').then(r => r.status)") == 404
        )
        await page.evaluate("fetch('/checkout', {method: 'POST'})")
        (order_id,) = sandbox.orders
        await page.goto(f"{url}/checkout")
        await expect(page.locator("#status")).to_have_text("PENDING")
        streams: list[str] = []
        page.on("request", lambda request: streams.append(request.url))
        await sandbox.pay(order_id)
        await aurpay.get_order(order_id)
        await page.get_by_text('{"paid":true}').wait_for()
        assert streams == [f"{url}/checkout/done"]
        assert window.origins == {url}
        stop.set()
        await serving
