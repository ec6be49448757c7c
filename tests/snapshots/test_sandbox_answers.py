"""Snapshots of the sandbox's responses, with each fault, and of its callbacks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest

from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._fault_responses import REQUEST_FAULTS
from aurpay_async.sandbox._faults import CALLBACK_FAULTS
from aurpay_async.testing import FakeClock

from ..sandbox.shop import create_order, create_order_for, open_shop, read_requests
from ..support.orders import NOW, sign_invoice
from .snapshot import expect, expect_files, expect_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ..sandbox.shop import ShopRequest

pytestmark = pytest.mark.slow

FIRST = "20260101000000000001"
LIGHTNING = {"price": 20, "currency": "USD"}
PAYMENT = {
    "chain": "ETH",
    "currency": "USDT-ERC20",
    "vs_currency": "USD",
    "vs_price": 18,
}
LOGIN = {"username": "shop", "password": "made-up"}
BILL = {"ln_invoices": sign_invoice(amount_msat=1_000_000)}

#: Each endpoint with requests that are served and requests that are rejected. They are
#: sent in this order to a sandbox that has one paid order.
REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/api/bln/order", LIGHTNING),
    ("POST", "/api/bln/order", {"price": "20", "currency": "USD"}),
    ("POST", "/api/order/pay-info", PAYMENT),
    ("POST", "/api/order/pay-info", {**PAYMENT, "chain": "TRX"}),
    ("POST", "/api/order/pay-url", LIGHTNING),
    ("POST", "/api/order/pay-url", {}),
    ("GET", f"/api/v2/order/detail/{FIRST}", None),
    ("GET", "/api/v2/order/detail/1", None),
    ("GET", "/api/v2/order/?page=1&size=2", None),
    ("GET", "/api/v2/order/?page=0", None),
    ("GET", f"/api/v2/order/refund-info/{FIRST}", None),
    ("GET", "/api/v2/order/refund-info/1", None),
    ("POST", f"/api/v2/order/refund/{FIRST}", {}),
    ("POST", f"/api/v2/order/refund/{FIRST}", {}),
    ("GET", "/api/v2/tx", None),
    ("GET", "/api/v2/tx?size=0", None),
    ("GET", "/api/order/pay/real-currency", None),
    ("POST", "/api/bln/withdraw", BILL),
    ("POST", "/api/bln/withdraw", BILL),
    ("POST", "/api/plugin/key/aurpay", LOGIN),
    ("POST", "/api/plugin/key/aurpay", {}),
    ("GET", "/api/not/served", None),
]

#: A fault that never ends, as far as a client can tell, is read as far as this.
MAX_READ = 3 * 1024 * 1024
#: Faults after which the connection stays open without a whole answer.
UNANSWERED = {"100", "silence", "long-body"}
#: Faults that need an option in order not to take real time.
AT_ONCE = {"delay": "delay; seconds=0", "slow": "slow; seconds=0"}
STATUSES = ["100", "204", "302; location=/elsewhere", "404", "429; retry-after=7"]
#: Headers that the HTTP client adds by itself.
HEADERS_OF_HTTP = {
    "Accept",
    "Accept-Encoding",
    "Connection",
    "Content-Length",
    "Host",
    "User-Agent",
}
FAULTS = [*REQUEST_FAULTS, *STATUSES, "503", "503; html=no"]


class Answer(NamedTuple):
    """The bytes of one response, and how the connection ended."""

    head: str
    body: bytes
    end: str

    @property
    def header_names(self) -> list[str]:
        """Return names in order; a repeated one is shown once."""
        names = [line.partition(":")[0] for line in self.head.split("\r\n")[1:]]
        return [*dict.fromkeys(names)]


@asynccontextmanager
async def reproducible_sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(seed=7, clock=FakeClock(NOW)) as sandbox:
        yield sandbox


def encode_request(sandbox: Sandbox, method: str, path: str, fields: Any) -> bytes:
    body = b"" if fields is None else json.dumps(fields).encode()
    host = sandbox.base_url.removeprefix("http://")
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def fetch(
    sandbox: Sandbox, method: str, path: str, fields: Any, fault: str = ""
) -> Answer:
    """Send one request on a new connection and read the raw response."""
    _, port = sandbox.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    received = len(sandbox.requests)
    writer.write(encode_request(sandbox, method, path, fields))
    data, end = b"", "open"
    reading = asyncio.create_task(reader.read(65_536))
    idle = 0
    while not is_whole(data) and idle < 100:
        if fault in UNANSWERED and not reading.done():
            # Server and client share this event loop, so a response needs no real time.
            await asyncio.sleep(0)
            idle += len(sandbox.requests) > received
            continue
        try:
            chunk = await reading
        except ConnectionResetError:
            end = "reset"
            break
        data += chunk
        if not chunk or len(data) > MAX_READ:
            end = "closed" if not chunk else "endless"
            break
        reading = asyncio.create_task(reader.read(65_536))
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    return Answer(head.decode(), body, end)


def is_whole(data: bytes) -> bool:
    """Return whether HTTP marks the response as complete."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or head.startswith(b"HTTP/1.1 1"):
        return False
    if head.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304")):
        return True
    length = re.search(rb"(?i)\ncontent-length: (\d+)", head)
    return length is not None and len(body) >= int(length[1])


def without_port(text: str) -> str:
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:<port>", text)


async def test_each_endpoint_of_the_sandbox_answers_as_stored() -> None:
    """Status, names of the headers, and the raw body."""
    shown = []
    async with reproducible_sandbox() as sandbox:
        await sandbox.pay(await create_order(sandbox))
        for method, path, fields in REQUESTS:
            answer = await fetch(sandbox, method, path, fields)
            body = without_port(answer.body.decode())
            shown.append(
                f"{method} {path} {'' if fields is None else json.dumps(fields)}\n"
                f"{answer.head.partition(chr(13))[0]}\n"
                f"{', '.join(answer.header_names)}\n"
                f"{re.sub('token=sandbox-[-_A-Za-z0-9]+', 'token=<token>', body)}\n"
            )
    expect("sandbox/endpoints.txt", "\n".join(shown))


async def test_each_request_fault_of_the_sandbox_answers_as_stored() -> None:
    """Alone, and with `+created`: then the order exists although the request fails."""
    async with reproducible_sandbox() as sandbox:
        right = (await fetch(sandbox, "POST", "/api/bln/order", LIGHTNING)).body
    shown: dict[str, Any] = {}
    for fault in both_forms(FAULTS):
        name = re.split("[;+]", fault)[0]
        async with reproducible_sandbox() as sandbox:
            sandbox.faults.push(AT_ONCE.get(fault, fault))
            answer = await fetch(sandbox, "POST", "/api/bln/order", LIGHTNING, name)
            shown[fault] = {
                "answer": answer.head.partition("\r")[0],
                "headers": ", ".join(answer.header_names),
                "body": summarize(answer, right),
                "connection": answer.end,
                "orders": len(sandbox.orders),
            }
    expect_json("sandbox/faults.json", shown)


def both_forms(names: list[str]) -> Iterator[str]:
    for name in names:
        yield name
        if name != "reset" and name not in AT_ONCE:
            yield f"{name}+created"


def summarize(answer: Answer, right: bytes) -> str:
    """Show how a body begins, with the body of an answer without a fault abridged."""
    body = answer.body
    if "Content-Encoding" in answer.header_names:
        body = zlib.decompressobj(wbits=31).decompress(body, 65_536)
    text = without_port(body.decode("latin-1"))
    whole = without_port(right.decode())
    for part, name in (
        (whole, "<right answer>"),
        (whole[:-1], "<right answer without its last brace>"),
        (whole[:200], "<start of right answer>"),
    ):
        text = text.replace(part, name)
    return text if len(text) < 200 else f"{text[:100]}<and more>"


@pytest.mark.parametrize("posts", [False, True])
async def test_each_callback_fault_of_the_sandbox_sends_what_is_stored(
    posts: bool,
) -> None:
    """Methods, addresses and names of headers, by GET and by POST."""
    shown: dict[str, Any] = {}
    for fault in ["", *CALLBACK_FAULTS]:
        async with (
            open_shop("503 Busy" if fault == "retry" else "200 OK", "200 OK") as shop,
            Sandbox(seed=7, clock=FakeClock(NOW), post_callbacks=posts) as sandbox,
        ):
            if fault:
                sandbox.callback_faults.push(fault)
            order_id = await create_order_for(sandbox, shop)
            if not sandbox.callbacks:
                await sandbox.pay(order_id)
            shown[fault or "none"] = {
                "sent": sorted(
                    f"{sent.kind}: {sent.status}, {sent.error}"
                    for sent in sandbox.callbacks
                ),
                "arrived": sorted(map(describe_callback, read_requests(shop)), key=str),
            }
    name = "callbacks-by-post" if posts else "callbacks-by-get"
    expect_json(f"sandbox/{name}.json", shown)


def describe_callback(request: ShopRequest) -> dict[str, Any]:
    body = request.body.decode("latin-1")
    return {
        "request": f"{request.method} {request.target}",
        "headers": ", ".join(
            f"Date: {value}" if name == "Date" else name
            for name, value in request.headers
            if name not in HEADERS_OF_HTTP
        ),
        "body": body if len(body) < 1000 else f"{body[:100]}<and more>",
    }


async def test_the_control_api_describes_itself_byte_for_byte_as_stored() -> None:
    """By its SHA-256: the difference itself is shown by the file's own history."""
    async with (
        reproducible_sandbox() as sandbox,
        aiohttp.request("GET", f"{sandbox.base_url}/_sandbox/openapi.json") as response,
    ):
        body = await response.read()
    described = json.loads(body)
    expect_json(
        "sandbox/openapi.json",
        {
            "sha256": hashlib.sha256(body).hexdigest(),
            "operations": [
                f"{method.upper()} {path}"
                for path, operations in described["paths"].items()
                for method in operations
                if method in {"get", "put", "post", "delete"}
            ],
        },
    )


def test_each_stored_file_of_the_sandbox_is_tested() -> None:
    expect_files(
        "sandbox",
        {
            "callbacks-by-get.json",
            "callbacks-by-post.json",
            "endpoints.txt",
            "faults.json",
            "openapi.json",
        },
    )
