"""Sending of callbacks: byte for byte, to this machine, once, and recorded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aurpay_async._core.urls import is_loopback
from aurpay_async.sandbox import Sandbox, _callbacks

from ..support.loopback import Server, answering
from .shop import create_order, create_order_for, open_shop, read_requests

if TYPE_CHECKING:
    from aurpay_async.sandbox import SentCallback

    from ..support.loopback import Peer


async def pay(sandbox: Sandbox, url: str) -> SentCallback:
    (sent,) = await sandbox.pay(await create_order(sandbox, callback_url=url))
    return sent


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/paid/?a=%2F&b=%2f&a=+%20",
        "//paid/./../x?",
        "/paid?q=1?2&&=",
        "/paid;x=1,2/'(!)*~%zz",
        "/\N{HOT BEVERAGE}?\xe4=\xf6",
    ],
)
async def test_callback_url_is_sent_byte_for_byte_as_registered(target: str) -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        sent = await pay(sandbox, shop.url + target)
    if target.endswith("?"):  # yarl forgets this one
        assert sent.error == "not sent: cannot be sent as it is written"
    else:
        assert (sent.status, sent.url) == (200, shop.url + target)
        assert [request.target for request in read_requests(shop)] == [target]


@pytest.mark.parametrize(
    ("end", "target"), [("", "/"), ("?a=b", "/?a=b"), ("/p#a", "/p")]
)
async def test_request_line_has_a_path_and_no_fragment(end: str, target: str) -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        assert (await pay(sandbox, shop.url + end)).status == 200
    assert [request.target for request in read_requests(shop)] == [target]


async def test_callback_to_localhost_is_sent_in_any_case() -> None:
    async with open_shop() as shop, Sandbox() as sandbox:
        for name in ("localhost", "LOCALHOST"):
            url = shop.url.replace("127.0.0.1", name)
            assert (await pay(sandbox, url)).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.0.9", "::1", "localhost"])
def test_loopback_addresses_and_localhost_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://shop.example/paid", "not on this machine"),
        ("http://127.0.0.1.shop.example/", "not on this machine"),
        ("http://127.0.0.1@shop.example/", "not on this machine"),
        ("http://localhost.shop.example/", "not on this machine"),
        ("http://0.0.0.0/", "not on this machine"),
        ("http://127.1/", "not on this machine"),
        ("http://2130706433/", "not on this machine"),
        ("http://192.168.0.1/", "not on this machine"),
        ("http://[::]/", "not on this machine"),
        ("http:///paid", "not on this machine"),
        ("http://", "not on this machine"),
        ("http://127.0.0.1:99999/", "not a URL"),
        ("http://[zz]/", "not a URL"),
        ("http://127.0.0.1\\@shop.example/", "not "),  # why: yarl's versions differ
        ("http://\ud800/", "not a URL"),
        ("http://127.0.0.1/a b", "cannot be sent as it is written"),
        ("http://127.0.0.1/\r\nX-Y:1", "cannot be sent as it is written"),
        ("http://127.0.0.1/\x00", "cannot be sent as it is written"),
        ("http://127.0.0.1/\ud800", "cannot be sent as it is written"),
        ("http://127.0.0.1/?", "cannot be sent as it is written"),
        ("http://127.0.0.1/#\n", "cannot be sent as it is written"),
    ],
)
async def test_callback_to_a_foreign_or_malformed_url_is_not_sent(
    url: str, reason: str
) -> None:
    async with Sandbox() as sandbox:
        sent = await pay(sandbox, url)
    assert sent.status is None
    assert str(sent.error).startswith(f"not sent: {reason}")
    assert (sent.url, sent.method) == (url, "GET")
    assert list(sandbox.callbacks) == [sent]


async def test_redirect_of_the_shop_is_recorded_and_not_followed() -> None:
    async with open_shop() as elsewhere:
        headers = f"Location: {elsewhere.url}"
        async with (
            Server(answering(b"", "307 Moved", headers)) as shop,
            Sandbox() as sandbox,
        ):
            assert (await pay(sandbox, f"{shop.url}/")).status == 307
    assert elsewhere.requests == []


async def test_callbacks_send_no_cookies_of_earlier_responses() -> None:
    script = answering(b"", "200 OK", "Set-Cookie: a=b; Path=/")
    async with Server(script) as shop, Sandbox() as sandbox:
        for _ in range(2):
            await pay(sandbox, f"{shop.url}/")
    assert [request.named("Cookie") for request in read_requests(shop)] == [[], []]


async def test_proxy_of_the_environment_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_shop() as proxy, open_shop() as shop, Sandbox() as sandbox:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert (await pay(sandbox, f"{shop.url}/")).status == 200
    assert proxy.requests == []


async def test_broken_connection_does_not_repeat_a_callback() -> None:
    async def reset(peer: Peer) -> None:
        await peer.read_request()
        peer.reset()

    async def close(peer: Peer) -> None:
        await peer.read_request()

    async with Server(reset, close) as shop, Sandbox() as sandbox:
        errors = [(await pay(sandbox, f"{shop.url}/")).error for _ in range(2)]
    assert "reset" in str(errors[0])
    assert errors[1] == "ClientConnectionError: Server disconnected"
    assert len(shop.requests) == 2


async def test_status_is_recorded_for_endless_cut_and_compressed_responses() -> None:
    async def endless(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        await peer.wait_closed()

    async def cut(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"HTTP/1.1 201 OK\r\nContent-Length: 9\r\n\r\nx")

    packed = answering(b"no gzip", "202 OK", "Content-Encoding: gzip")
    async with Server(endless, cut, packed) as shop, Sandbox() as sandbox:
        sent = [await pay(sandbox, f"{shop.url}/") for _ in range(3)]
    assert [record.status for record in sent] == [200, 201, 202]
    assert [record.error is None for record in sent] == [True, False, True]
    assert "ClientPayloadError" in str(sent[1].error)


async def test_response_that_is_not_http_is_recorded_as_error() -> None:
    async def talk(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(b"hello\r\n\r\n")

    async with Server(talk) as shop, Sandbox() as sandbox:
        sent = await pay(sandbox, f"{shop.url}/")
    assert sent.status is None
    assert "ClientResponseError: " in str(sent.error)


async def never_answer(peer: Peer) -> None:
    await peer.read_request()
    await peer.wait_closed()


async def test_callback_times_out_when_the_shop_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _callbacks._TIMEOUT_S == 10
    monkeypatch.setattr(_callbacks, "_TIMEOUT_S", 0.01)
    async with Server(never_answer) as shop, Sandbox() as sandbox:
        sent = await pay(sandbox, f"{shop.url}/")
    assert sent.status is None
    assert "Timeout" in str(sent.error)


async def test_token_with_a_line_break_is_recorded_as_error() -> None:
    async with open_shop() as shop, Sandbox(callback_token="a\r\nb: c") as sandbox:
        sent = await pay(sandbox, f"{shop.url}/")
    assert sent.status is None
    assert "ValueError" in str(sent.error)
    assert shop.requests == []


async def test_closing_aborts_callbacks_in_flight() -> None:
    async with Server(never_answer) as shop:
        async with Sandbox() as sandbox:
            order_id = await create_order_for(sandbox, shop)
            paying = asyncio.create_task(sandbox.pay(order_id))
            while not shop.requests:
                await asyncio.sleep(0)
        (sent,) = await paying
    assert (sent.status, sent.error is None) == (None, False)
    assert len(shop.requests) == 1


async def test_closed_sandbox_sends_no_callbacks_until_it_is_opened_again() -> None:
    async with open_shop() as shop:
        async with Sandbox() as sandbox:
            order_id = await create_order_for(sandbox, shop)
        (sent,) = await sandbox.expire(order_id)
        assert (sent.status, sent.error) == (None, "not sent: the sandbox is closed")
        async with sandbox:
            (sent,) = await sandbox.pay(order_id)
            assert sent.status == 200
    assert len(sandbox.callbacks) == 2
