"""Detection and rejection of keys that may be real."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from aurpay_async import ConfigurationError
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._settings import looks_live

from .shop import call

if TYPE_CHECKING:
    from pathlib import Path

#: A made-up key of the form of a real one.
LIVE = "q7Rz" * 10 + "q7R"


@pytest.mark.parametrize(
    "key",
    [
        LIVE,
        f" {LIVE} ",
        f"{LIVE}=",
        "0123456789abcdef" * 4,
        "L35ZD3K4AORZH7NVQBR9O",  # the documentation's example
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ0ZXN0In0.c2FuZGJveA",
        "eyJzYW5kYm94IjoidGVzdCJ9",
        "x" * 20,
    ],
)
def test_key_that_may_be_real_is_detected(key: str) -> None:
    assert looks_live(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "any",
        "x" * 19,
        "sandbox-callback-secret",
        f"sandbox-{LIVE}",
        f"{LIVE}_TEST",
        "this-one-is-made-up-for-us",
        "an-example-of-twenty-letters",
        "a long sentence that is no key at all",
        "http://127.0.0.1:8000/no-key-at-all",
    ],
)
def test_short_or_marked_key_is_accepted(key: str) -> None:
    assert not looks_live(key)


@pytest.mark.parametrize(
    "name", ["api_key", "api_token", "api_secret", "callback_token", "callback_secret"]
)
def test_sandbox_rejects_a_live_key_as_option(name: str) -> None:
    pair = {"api_token": "sandbox-t", "api_secret": "sandbox-s"}
    given = {**(pair if "api" in name else {}), name: LIVE}
    with pytest.raises(ConfigurationError) as caught:
        Sandbox(**given)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"{name} looks like a live key; use a made-up key that contains "
        '"sandbox" or "test"'
    )
    assert "q7Rz" not in repr(caught.value)


@pytest.mark.parametrize(
    ("header", "named"), [("API-Key", "API-Key"), ("api-token", "API-Token")]
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_request_with_a_live_key_is_neither_recorded_nor_stored(
    header: str, named: str, method: str, tmp_path: Path
) -> None:
    path = {"POST": "/api/bln/order", "GET": "/api/v2/order/detail/7"}[method]
    async with Sandbox(db=tmp_path / "orders.db", api_key="sandbox-key") as sandbox:
        sandbox.faults.push("503")
        status, answer = await call(
            sandbox, method, path, {"price": 20, "currency": "USD"}, **{header: LIVE}
        )
        assert (status, answer) == (
            200,
            {
                "code": 401,
                "message": f"{named} looks like a live key; use a made-up key that "
                'contains "sandbox" or "test"',
                "data": None,
                "result": False,
            },
        )
        assert (sandbox.requests, sandbox.orders) == ([], {})
        assert list(sandbox.faults) == ["503"]
        assert LIVE.encode() not in read_files(tmp_path)
    assert b"503" in read_files(tmp_path)
    assert LIVE.encode() not in read_files(tmp_path)


def read_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_live_key_in_a_repeated_header_is_detected() -> None:
    async with Sandbox() as sandbox:
        port = int(sandbox.base_url.rpartition(":")[2])
        answer = await send_raw(
            port,
            "GET /api/v2/order/detail/7 HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: close\r\n"
            f"API-Key: any\r\nAPI-Key: {LIVE}\r\n\r\n",
        )
        assert b'"code": 401' in answer
        assert sandbox.requests == []


async def send_raw(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    return answer
