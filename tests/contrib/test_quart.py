"""The Quart adapter: absolute request targets."""

from __future__ import annotations

from .deliveries import registered, request, signed
from .shops import Shop, exchange, serve_in_thread, serve_quart


def test_quart_accepts_an_absolute_request_target() -> None:
    url = registered("absolute")
    sent = request(url, *signed(url)).replace(b"GET ", b"GET http://app.internal:8000")
    shop = Shop()
    with serve_in_thread(serve_quart, shop) as port:
        assert exchange(port, sent).status == 200
    assert shop.handled == ["absolute"]
