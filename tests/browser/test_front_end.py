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

from aurpay_async.sandbox import Sandbox

from ..contrib.shops import serve_uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from aurpay_async import AurpayClient

    from .conftest import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGE = (Path(__file__).parents[2] / "docs" / "front-end.md").read_text("utf-8")


def create_app(aurpay: AurpayClient) -> FastAPI:
    """Return the application of the page, with pages that run its script."""
    (source,) = re.findall(r"```python\n([^`]*def create_app[^`]*)\nasync with", PAGE)
    (script,) = re.findall(r"```javascript\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - our own page
    app: FastAPI = names["create_app"](aurpay)
    pages = {
        "/": "",
        "/checkout": f"<p id=status></p><script>{script}</script>",
        "/checkout/done": "<p>Thank you</p>",
    }
    app.router.routes += [Route(path, show(html)) for path, html in pages.items()]
    return app


def show(html: str) -> Callable[[Request], Response]:
    """Return an endpoint that answers with a page."""
    return lambda _: HTMLResponse(f"<!doctype html><link rel=icon href=data:,>{html}")


async def test_page_follows_the_order_of_its_session_and_closes_the_stream_at_its_end(
    window: Window,
) -> None:
    page, stop = window.page, asyncio.Event()
    sock = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    async with Sandbox(port=None) as sandbox, sandbox.client() as aurpay:
        serving = asyncio.create_task(serve_uvicorn(create_app(aurpay), sock, stop))
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
        await page.get_by_text("Thank you").wait_for()
        assert streams == [f"{url}/checkout/done"]
        assert window.origins == {url}
        stop.set()
        await serving
