"""One table of callback deliveries for all frameworks, over sockets, behind a proxy."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import pytest

from . import shops
from .deliveries import CALLBACK, SLOW, TABLE, registered, request, signed
from .shops import SECONDS, Shop, connect, exchange, serve_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .deliveries import Row


@attrs.frozen
class Adapter:
    """A framework and its server."""

    name: str
    serve: shops.Serve
    #: It receives the whole body before it calls a view.
    reads_all: bool = False


ADAPTERS = [
    Adapter("aiohttp", shops.serve_aiohttp),
    Adapter("starlette", shops.serve_starlette),
    Adapter("fastapi", shops.serve_fastapi),
    Adapter("litestar", shops.serve_litestar),
    Adapter("quart", shops.serve_quart),
    Adapter("django", shops.serve_django, reads_all=True),
]


@attrs.frozen
class RunningShop:
    """A shop and its port."""

    adapter: Adapter
    shop: Shop
    port: int


@pytest.fixture(scope="module", params=ADAPTERS, ids=lambda adapter: adapter.name)
def server(request: pytest.FixtureRequest) -> Iterator[RunningShop]:
    adapter: Adapter = request.param
    shop = Shop()
    with serve_in_thread(adapter.serve, shop) as port:
        yield RunningShop(adapter, shop, port)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_framework_answers_each_delivery_alike(
    server: RunningShop, row: Row
) -> None:
    for step in row.steps:
        rest = step.rest if server.adapter.reads_all else b""
        answer = exchange(server.port, step.sent + rest)
        assert answer.status == step.status
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text in {"", TEXTS[step.status]}
        if step.status == 405:
            assert answer.headers["allow"] == "GET, POST"
        if step.status == 413 and not server.adapter.reads_all:
            assert answer.headers["connection"] == "close"
    assert server.shop.handled.count(row.name) == row.handled


TEXTS = {
    200: "ok\n",
    401: "refused\n",
    405: "GET or POST\n",
    413: "too large\n",
    500: "failed\n",
}


def test_client_that_disconnects_within_its_body_is_not_handled_or_logged(
    server: RunningShop, caplog: pytest.LogCaptureFixture
) -> None:
    url = registered("half-a-body")
    whole = request(url, *signed(url), method="POST", body=b'{"order_id": "1"}')
    with connect(server.port) as sock:
        sock.sendall(whole[:-5])
    answer = exchange(server.port, request(CALLBACK))
    assert answer.status == 401
    assert "half-a-body" not in server.shop.handled
    assert exchange(server.port, whole).status == 200
    assert server.shop.handled.count("half-a-body") == 1
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


def test_unsigned_request_is_rejected_before_its_body_is_received(
    server: RunningShop, caplog: pytest.LogCaptureFixture
) -> None:
    if server.adapter.reads_all:
        pytest.skip("Django receives a whole body before it calls a view")
    sent = request(registered("drips"), "Content-Length: 60000", method="POST") + b"x"
    answer = exchange(server.port, sent)
    assert (answer.status, answer.headers["connection"]) == (401, "close")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_body_of_a_get_is_never_received(server: RunningShop) -> None:
    if server.adapter.reads_all:
        pytest.skip("Django receives a whole body before it calls a view")
    url = registered("get-with-body")
    sent = request(url, *signed(url), "Content-Length: 60000") + b"x"
    answer = exchange(server.port, sent)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert server.shop.handled.count("get-with-body") == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("is_signed", [True, False], ids=["signed", "unsigned"])
def test_body_that_cannot_be_decompressed_is_rejected_without_a_traceback(
    server: RunningShop,
    encoding: str,
    caplog: pytest.LogCaptureFixture,
    *,
    is_signed: bool,
) -> None:
    url = registered(f"packed-{encoding}")
    headers = [*(signed(url) if is_signed else []), f"Content-Encoding: {encoding}"]
    answer = exchange(server.port, request(url, *headers, method="POST", body=b"xxxx"))
    assert answer.status in {400, 401}
    assert url not in server.shop.handled
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert not [r for r in caplog.records if r.exc_info]


def test_broken_chunks_are_rejected_without_a_traceback(
    server: RunningShop, caplog: pytest.LogCaptureFixture
) -> None:
    url = registered("broken-chunks")
    head = request(url, *signed(url), "Transfer-Encoding: chunked", method="POST")
    answer = exchange(server.port, head + b"nonsense\r\n")
    assert answer.status in {400, 401}
    assert "broken-chunks" not in server.shop.handled
    # aiohttp's parser rejects and logs it before any handler is called.
    ours = [record for record in caplog.records if record.name != "aiohttp.server"]
    assert not [record for record in ours if record.levelno >= logging.ERROR]


def test_handler_runs_to_its_end_after_the_client_disconnects(
    server: RunningShop,
) -> None:
    shop, reference = server.shop, f"{SLOW}-{server.adapter.name}"
    url = registered(reference)
    shop.started.clear()
    with connect(server.port) as sock:
        sock.sendall(request(url, *signed(url)))
        assert shop.started.wait(SECONDS)
        shop.ended.clear()
    # While these are answered, the server notices the disconnect.
    for _ in range(2):
        assert exchange(server.port, request(CALLBACK)).status == 401
    shop.resume()
    assert shop.ended.wait(SECONDS)
    assert exchange(server.port, request(url, *signed(url))).status == 200
    assert shop.handled.count(reference) == 1
