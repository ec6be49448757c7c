"""A shop that receives the sandbox's callbacks, and helpers to call a sandbox."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from ..support.loopback import Server, answering

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

SECRET = "sandbox-callback-secret"


class ShopRequest(NamedTuple):
    """A request to the shop, undecoded."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def named(self, name: str) -> list[str]:
        """Return the values of all headers with this name."""
        return [value for found, value in self.headers if found.lower() == name.lower()]


def open_shop(*answers: str) -> Server:
    """Answer connections with these statuses in turn; the last one is repeated."""
    return Server(*[answering(b"ok", answer) for answer in answers or ("200 OK",)])


def read_requests(shop: Server) -> list[ShopRequest]:
    """Return the received requests in order."""
    return [_parse(request) for request in shop.requests]


def _parse(request: bytes) -> ShopRequest:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(": ", 1) for line in lines)
    return ShopRequest(method, target, [(name, value) for name, value in pairs], body)


def expected_signature(date: str, url: str, secret: str = SECRET) -> str:
    """Sign a callback by Aurpay's documented rule."""
    digest = hmac.new(secret.encode(), f"{date} | {url}".encode(), "sha256").digest()
    return b64encode(digest).decode()


async def call(
    sandbox: Sandbox, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """Send a request to the sandbox; return status, and JSON or text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method,
            sandbox.base_url + path,
            # aiohttp warns of large bodies that are bytes.
            data=None if body is None else BytesIO(data),
            headers=named,
        ) as response,
    ):
        text = await response.text()
        with suppress(ValueError):
            return response.status, json.loads(text)
        return response.status, text


async def create_order(sandbox: Sandbox, **urls: str) -> str:
    """Create an order with these URLs, and return its id."""
    fields = {"price": 20, "currency": "USD", **urls}
    _, answer = await call(sandbox, "POST", "/api/bln/order", fields)
    return str(answer["data"]["order_id"])


async def create_order_for(sandbox: Sandbox, shop: Server) -> str:
    """Create an order with both callbacks to `shop`, and return its id."""
    return await create_order(
        sandbox,
        callback_url=f"{shop.url}/paid?ref=7",
        timeout_callback=f"{shop.url}/timeout?ref=7",
    )
