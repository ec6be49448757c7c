"""``aurpay callback send``: the request, and the response that is shown."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from aurpay_async._cli.callbacks import Answer
from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.errors import (
    CallbackError,
    CallbackSignatureError,
    CallbackStaleError,
)

from ..support.loopback import Server, answering, closed_port

if TYPE_CHECKING:
    from ..support.loopback import Peer
    from .conftest import Done, Run

TOKEN, SECRET = "a-made-up-token", "a-made-up-secret"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURPAY_CALLBACK_TOKEN", TOKEN)
    monkeypatch.setenv("AURPAY_CALLBACK_SECRET", SECRET)


async def send_callback(aurpay: Run, url: str, *arguments: str) -> Done:
    return await asyncio.to_thread(aurpay, "callback", "send", url, *arguments)


def verify_request(request: bytes, url: str) -> CallbackError | None:
    """Return the error of `CallbackVerifier` for a request, or None."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (x.partition(": ") for x in lines)]
    verifier = CallbackVerifier(secrets=[SECRET], tokens=[TOKEN])
    method = first.partition(" ")[0]
    try:
        verifier.verify(method=method, url=url, headers=headers, body=body)
    except CallbackError as error:
        return error
    return None


async def test_callback_send_signs_the_url_and_shows_the_response(aurpay: Run) -> None:
    async with Server(answering(b"ok\n")) as shop:
        url = f"{shop.url}/paid/%7e?b=%2F&a=1"
        done = await send_callback(aurpay, url)
        [request] = shop.requests
    assert request.startswith(b"GET /paid/%7e?b=%2F&a=1 HTTP/1.1\r\n")
    assert verify_request(request, url) is None
    assert (done.code, done.err) == (0, "")
    assert "status  200" in done.out
    assert "body    ok" in done.out
    for secret in (TOKEN, SECRET, "a=1"):
        assert secret not in done.out


async def test_callback_send_prints_one_json_object_per_request(aurpay: Run) -> None:
    async with Server(answering(b"no\n", "401 Unauthorized")) as shop:
        done = await send_callback(
            aurpay, f"{shop.url}/?x=1", "--duplicate", "-o", "json"
        )
        first, second = shop.requests
    assert first == second
    assert done.code == 1
    for record in done.records:
        assert record["type"] == "callback"
        assert (record["status"], record["accepted"]) == (401, False)
        assert (record["body"], record["url"]) == ("no\n", f"{shop.url}/")


@pytest.mark.parametrize(
    ("oddity", "error"),
    [
        ("--stale", CallbackStaleError),
        ("--bad-signature", CallbackSignatureError),
    ],
)
async def test_callback_send_can_send_invalid_callbacks(
    aurpay: Run, oddity: str, error: type[CallbackError]
) -> None:
    async with Server(answering(b"")) as shop:
        await send_callback(aurpay, f"{shop.url}/paid", oddity)
        [request] = shop.requests
    assert type(verify_request(request, f"{shop.url}/paid")) is error


@pytest.mark.parametrize("key", [None, "a-made-up-key-of-the-shop"])
async def test_callback_send_adds_the_api_key_without_showing_it(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key is not None:
        monkeypatch.setenv("AURPAY_API_KEY", key)
    sent = f"Api-Key: {key or 'sandbox-api-key'}\r\n".encode()
    async with Server(answering(sent)) as shop:
        url = f"{shop.url}/paid"
        for options in (("--api-key",), ("--api-key", "--unsigned"), ("--unsigned",)):
            done = await send_callback(aurpay, url, *options)
            if "--api-key" in options:
                assert "Api-Key: **********" in done.out
        both, key_only, neither = shop.requests
    assert sent in both
    assert verify_request(both, url) is None
    assert sent in key_only
    assert sent not in neither
    for request in (key_only, neither):
        error = verify_request(request, url)
        assert isinstance(error, CallbackSignatureError)
        assert b"Date: " not in request


@pytest.mark.parametrize(
    ("kind", "status"), [("--paid", "SUCCESS"), ("--timeout", "OVERDUE")]
)
async def test_callback_send_posts_the_status_and_the_order_id(
    aurpay: Run, kind: str, status: str
) -> None:
    async with Server(answering(b"ok")) as shop:
        url = f"{shop.url}/callback"
        done = await send_callback(aurpay, url, "--post", kind, "--order-id", "7")
        assert done.code == 0
        await send_callback(aurpay, url, "--post", kind)
        named, bare = (json.loads(r.partition(b"\r\n\r\n")[2]) for r in shop.requests)
        assert verify_request(shop.requests[0], url) is None
        assert b"Content-Type: application/json" in shop.requests[0]
    assert (named["status"], named["order_id"]) == (status, "7")
    assert "order_id" not in bare


async def test_callback_send_signs_the_registered_url(aurpay: Run) -> None:
    registered = "https://shop.example/paid?id=32"
    async with Server(answering(b"ok")) as shop:
        await send_callback(
            aurpay, f"{shop.url}/paid?id=32", "--registered", registered
        )
        [request] = shop.requests
    assert verify_request(request, registered) is None


async def test_callback_send_escapes_and_shortens_the_response(aurpay: Run) -> None:
    body = f"\x1b[2J{TOKEN} {SECRET}\n".encode() + b"\xff" + b"x" * 100_000
    async with Server(answering(body)) as shop:
        done = await send_callback(aurpay, f"{shop.url}/")
    assert done.code == 0
    assert r"\x1b[2J********** **********" in done.out
    assert len(done.out) < 3000


async def test_callback_send_removes_a_repeated_signature(aurpay: Run) -> None:
    async def repeat(peer: Peer) -> None:
        await peer.respond(await peer.read_request())

    async with Server(repeat) as shop:
        done = await send_callback(aurpay, f"{shop.url}/")
        [request] = shop.requests
    signature = request.split(b"Signature: ")[1].split(b"\r\n")[0].decode()
    assert signature not in done.out
    assert "Signature: **********" in done.out


async def test_callback_send_without_response_ends_with_1(aurpay: Run) -> None:
    async with closed_port() as base_url:
        done = await send_callback(aurpay, f"{base_url}/")
    assert done.code == 1
    assert "✗ error" in done.out


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://shop.example/paid", "--anywhere"),
        ("http://shop.example/paid", "https"),
        ("http://127.0.0.1:8000", "needs a path"),
        ("http://127.0.0.1:8000/paid#x", "fragment"),
        ("http://127.0.0.1:8000/p\u00e4id", "percent-encoded"),
        ("shop.example/paid", "absolute"),
    ],
)
def test_callback_send_rejects_unsendable_urls(
    aurpay: Run, url: str, problem: str
) -> None:
    done = aurpay("callback", "send", url)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err


async def test_callback_send_anywhere_allows_https_only(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    async def fake(method: str, url: str, *_: object) -> Answer:
        called.append(f"{method} {url}")
        return Answer(200, b"ok", None, 0.1)

    monkeypatch.setattr("aurpay_async._cli.callbacks.send", fake)
    done = await send_callback(aurpay, "https://shop.example/paid", "--anywhere")
    assert done.code == 0
    assert called == ["GET https://shop.example/paid"]
    done = await send_callback(aurpay, "http://shop.example/paid", "--anywhere")
    assert done.code == 2


def test_callback_send_takes_no_secret_as_argument(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AURPAY_CALLBACK_SECRET")
    assert aurpay("callback", "send", "http://127.0.0.1:9/", "--secret", "x").code == 2
    done = aurpay("callback", "send", "http://127.0.0.1:9/")
    assert done.code == 2
    assert "AURPAY_CALLBACK_SECRET" in done.err
