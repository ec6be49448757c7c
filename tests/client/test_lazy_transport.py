"""The innermost transport: opened by the first call, and closed once."""

from __future__ import annotations

import asyncio
from threading import Thread
from typing import Any

import pytest

from aurpay_async import ConfigurationError, Effect, Request, Response
from aurpay_async._client.transport import LazyTransport
from aurpay_async.testing import MemoryTransport

from ..support.loopback import Server, answering

REQUEST = Request(operation="x", method="GET", path="/", effect=Effect.READ)


def pool(origin: str = "http://127.0.0.1:9", **options: Any) -> LazyTransport:
    return LazyTransport(
        origin, **{"given": None, "session": None, "trust_env": False, **options}
    )


async def test_concurrent_first_calls_share_one_session() -> None:
    async with Server(answering(b"{}")) as server:
        shared = pool(server.url)
        await asyncio.gather(*(shared.send(REQUEST) for _ in range(20)))
        own = shared._own
        assert own is not None
        session = own._session
        await shared.open()
        await shared.send(REQUEST)
        assert shared._own is own
        assert own._session is session
        await shared.aclose()
    assert len(server.requests) == 21


async def test_users_transport_is_used_instead_of_aiohttp() -> None:
    given = MemoryTransport(Response(status=204))
    assert (await pool(given=given).send(REQUEST)).status == 204


async def test_call_succeeds_if_no_thread_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The imports, which a thread does otherwise, block the event loop then."""

    def fail(_: Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    given = MemoryTransport(Response(status=204))
    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", fail)
        assert (await pool(given=given).send(REQUEST)).status == 204


@pytest.mark.parametrize("used", [True, False])
async def test_sending_after_closing_is_a_configuration_error(used: bool) -> None:
    given = MemoryTransport(*[Response(status=204)] * 2)
    closed = pool(given=given)
    if used:
        await closed.send(REQUEST)
    await closed.aclose()
    await closed.aclose()
    with pytest.raises(ConfigurationError, match="this client is closed"):
        await closed.send(REQUEST)
    assert len(given.requests) == used


async def test_closing_before_opening_opens_nothing() -> None:
    """There is nothing to close, and stays nothing."""
    closed = pool()
    await closed.aclose()
    with pytest.raises(ConfigurationError):
        await closed.send(REQUEST)


def test_call_without_a_loop_is_a_configuration_error() -> None:
    """As under trio, which drives coroutines itself."""
    with pytest.raises(ConfigurationError, match="trio is not supported"):
        pool().send(REQUEST).send(None)
