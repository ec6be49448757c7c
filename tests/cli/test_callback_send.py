"""``aurpay callback send``: what leaves, and what is shown of the answer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from aurpay_async._cli._web import Answer
from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.errors import (
    CallbackError,
    CallbackSignatureError,
    CallbackStaleError,
)

from ..loopback import Server, answering, closed_port

if TYPE_CHECKING:
    from ..loopback import Peer
    from .conftest import Done, Run

TOKEN, SECRET = "a-made-up-token", "a-made-up-secret"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURPAY_CALLBACK_TOKEN", TOKEN)
    monkeypatch.setenv("AURPAY_CALLBACK_SECRET", SECRET)


async def send(aurpay: Run, url: str, *arguments: str) -> Done:
    return await asyncio.to_thread(aurpay, "callback", "send", url, *arguments)


def verified(request: bytes, url: str) -> CallbackError | None:
    """What our verifier says of what arrived."""
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


async def test_a_good_one(aurpay: Run) -> None:
    """Is signed for its URL, byte for byte, and the answer is shown."""
    async with Server(answering(b"ok\n")) as shop:
        url = f"{shop.url}/paid/%7e?b=%2F&a=1"
        done = await send(aurpay, url)
        [request] = shop.requests
    assert request.startswith(b"GET /paid/%7e?b=%2F&a=1 HTTP/1.1\r\n")
    assert verified(request, url) is None
    assert (done.code, done.err) == (0, "")
    assert "status  200" in done.out
    assert "body    ok" in done.out
    for secret in (TOKEN, SECRET, "a=1"):
        assert secret not in done.out


async def test_as_json(aurpay: Run) -> None:
    """One object for each that was sent."""
    async with Server(answering(b"no\n", "401 Unauthorized")) as shop:
        done = await send(aurpay, f"{shop.url}/?x=1", "--duplicate", "-o", "json")
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
async def test_one_that_is_to_be_refused(
    aurpay: Run, oddity: str, error: type[CallbackError]
) -> None:
    """For the reason that was asked for, and for no other."""
    async with Server(answering(b"")) as shop:
        await send(aurpay, f"{shop.url}/paid", oddity)
        [request] = shop.requests
    assert type(verified(request, f"{shop.url}/paid")) is error


@pytest.mark.parametrize("key", [None, "a-made-up-key-of-the-shop"])
async def test_a_callback_has_the_api_key_on_request_and_does_not_show_it(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    """Aurpay documents the header; it makes no callback a proof."""
    if key is not None:
        monkeypatch.setenv("AURPAY_API_KEY", key)
    sent = f"Api-Key: {key or 'sandbox-api-key'}\r\n".encode()
    async with Server(answering(sent)) as shop:
        url = f"{shop.url}/paid"
        for options in (("--api-key",), ("--api-key", "--unsigned"), ("--unsigned",)):
            done = await send(aurpay, url, *options)
            if "--api-key" in options:
                assert "Api-Key: **********" in done.out
        both, key_only, neither = shop.requests
    assert sent in both
    assert verified(both, url) is None
    assert sent in key_only
    assert sent not in neither
    for request in (key_only, neither):
        error = verified(request, url)
        assert isinstance(error, CallbackSignatureError)
        assert b"Date: " not in request


@pytest.mark.parametrize(
    ("kind", "status"), [("--paid", "SUCCESS"), ("--timeout", "OVERDUE")]
)
async def test_a_post(aurpay: Run, kind: str, status: str) -> None:
    """Says in its body which it is, and on request of which order."""
    async with Server(answering(b"ok")) as shop:
        url = f"{shop.url}/callback"
        done = await send(aurpay, url, "--post", kind, "--order-id", "7")
        assert done.code == 0
        await send(aurpay, url, "--post", kind)
        named, bare = (json.loads(r.partition(b"\r\n\r\n")[2]) for r in shop.requests)
        assert verified(shop.requests[0], url) is None
        assert b"Content-Type: application/json" in shop.requests[0]
    assert (named["status"], named["order_id"]) == (status, "7")
    assert "order_id" not in bare


async def test_a_shop_behind_a_proxy(aurpay: Run) -> None:
    """What is signed is the URL that it was registered under."""
    registered = "https://shop.example/paid?id=32"
    async with Server(answering(b"ok")) as shop:
        await send(aurpay, f"{shop.url}/paid?id=32", "--registered", registered)
        [request] = shop.requests
    assert verified(request, registered) is None


async def test_an_answer_is_text_and_nothing_else(aurpay: Run) -> None:
    """Escapes are shown, secrets starred, and no more than a screenful."""
    body = f"\x1b[2J{TOKEN} {SECRET}\n".encode() + b"\xff" + b"x" * 100_000
    async with Server(answering(body)) as shop:
        done = await send(aurpay, f"{shop.url}/")
    assert done.code == 0
    assert r"\x1b[2J********** **********" in done.out
    assert len(done.out) < 3000


async def test_a_signature_that_is_repeated(aurpay: Run) -> None:
    """Is starred as well: it is good for some minutes."""

    async def repeat(peer: Peer) -> None:
        await peer.respond(await peer.read_request())

    async with Server(repeat) as shop:
        done = await send(aurpay, f"{shop.url}/")
        [request] = shop.requests
    signature = request.split(b"Signature: ")[1].split(b"\r\n")[0].decode()
    assert signature not in done.out
    assert "Signature: **********" in done.out


async def test_no_answer(aurpay: Run) -> None:
    """Is a failure that says what happened."""
    async with closed_port() as base_url:
        done = await send(aurpay, f"{base_url}/")
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
def test_where_nothing_is_sent(aurpay: Run, url: str, problem: str) -> None:
    """What cannot be called as it is written, or is not on this machine."""
    done = aurpay("callback", "send", url)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err


async def test_anywhere(aurpay: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is allowed on request, by https only."""
    called: list[str] = []

    async def fake(method: str, url: str, *_: object) -> Answer:
        called.append(f"{method} {url}")
        return Answer(200, b"ok", None, 0.1)

    monkeypatch.setattr("aurpay_async._cli._callback_send.send", fake)
    done = await send(aurpay, "https://shop.example/paid", "--anywhere")
    assert done.code == 0
    assert called == ["GET https://shop.example/paid"]
    done = await send(aurpay, "http://shop.example/paid", "--anywhere")
    assert done.code == 2


def test_keys_are_no_arguments(aurpay: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And without them in the environment, in a pipe, nothing is sent."""
    monkeypatch.delenv("AURPAY_CALLBACK_SECRET")
    assert aurpay("callback", "send", "http://127.0.0.1:9/", "--secret", "x").code == 2
    done = aurpay("callback", "send", "http://127.0.0.1:9/")
    assert done.code == 2
    assert "AURPAY_CALLBACK_SECRET" in done.err
