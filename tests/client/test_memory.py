"""The transport that users test with."""

from __future__ import annotations

import pytest

from aurpay_async import ConnectError, Effect, Request, Response
from aurpay_async.testing import MemoryTransport

REQUEST = Request(
    operation="x", method="GET", path="/a?token=canary", effect=Effect.READ
)


async def test_memory_transport_gives_its_answers_in_order() -> None:
    transport = MemoryTransport(
        Response(status=204),
        ConnectError("down"),
        lambda request: Response(status=200, body=request.path.encode()),
    )
    assert (await transport.send(REQUEST)).status == 204
    with pytest.raises(ConnectError, match="down"):
        await transport.send(REQUEST)
    assert (await transport.send(REQUEST)).body == b"/a?token=canary"
    assert transport.requests == [REQUEST] * 3


async def test_request_without_an_answer_left_is_an_assertion_error() -> None:
    with pytest.raises(AssertionError, match="request 1 has no answer") as caught:
        await MemoryTransport().send(REQUEST)
    assert "canary" not in str(caught.value)
