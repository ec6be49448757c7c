"""A shop for the sandbox to call: what arrives there, and what was to be expected."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp

from ..loopback import Server, answering

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

SECRET = "sandbox-callback-secret"


class Arrived(NamedTuple):
    """One request, as its bytes were."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def named(self, name: str) -> list[str]:
        """The values of all headers of this name."""
        return [value for found, value in self.headers if found.lower() == name.lower()]


def open_shop(*answers: str) -> Server:
    """Answers each connection with the next of these statuses, at the end the last."""
    return Server(*[answering(b"ok", answer) for answer in answers or ("200 OK",)])


def arrived(shop: Server) -> list[Arrived]:
    """What has come, in order."""
    return [_read(request) for request in shop.requests]


def _read(request: bytes) -> Arrived:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(": ", 1) for line in lines)
    return Arrived(method, target, [(name, value) for name, value in pairs], body)


def signature(date: str, url: str, secret: str = SECRET) -> str:
    """Aurpay's documented rule, by hand."""
    digest = hmac.new(secret.encode(), f"{date} | {url}".encode(), "sha256").digest()
    return b64encode(digest).decode()


async def ask(
    sandbox: Sandbox, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """HTTP to the sandbox; the answer's status, and its JSON or text."""
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


async def order(sandbox: Sandbox, **urls: str) -> str:
    """The id of a new order with these addresses."""
    fields = {"price": 20, "currency": "USD", **urls}
    _, answer = await ask(sandbox, "POST", "/api/bln/order", fields)
    return str(answer["data"]["order_id"])


async def both(sandbox: Sandbox, shop: Server) -> str:
    """The id of a new order whose callbacks come to `shop`."""
    return await order(
        sandbox,
        callback_url=f"{shop.url}/paid?ref=7",
        timeout_callback=f"{shop.url}/timeout?ref=7",
    )
