"""What is special about Quart."""

from __future__ import annotations

from .deliveries import registered, request, signed
from .shops import Shop, exchange, listening, serve_quart


def test_a_target_may_be_a_whole_url() -> None:
    """As RFC 9112 has it: proxies send such ones."""
    url = registered("absolute")
    sent = request(url, *signed(url)).replace(b"GET ", b"GET http://app.internal:8000")
    shop = Shop()
    with listening(serve_quart, shop) as port:
        assert exchange(port, sent).status == 200
    assert shop.handled == ["absolute"]
