"""A key for who can name the account: and nothing of it anywhere else."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from aurpay_async import (
    ApiKey,
    AurpayError,
    AuthenticationError,
    CallEvent,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    Effect,
    InvalidRequestError,
    InvalidResponseError,
    RequestOutcome,
    Response,
    RetryPolicy,
)
from aurpay_async.testing import FakeClock, MemoryTransport

from ..support.loop_time import advance_loop
from ..support.loopback import Server, answering
from ..support.orders import NOW, build_response, wrap_data
from ..test_canary import CANARY, expect_no_secret, expect_no_secret_in_error

if TYPE_CHECKING:
    from ..support.loopback import Peer

NAME = f"{CANARY}@shop.example"
PASSWORD = f'{CANARY}-Pa"ss'
TOKEN = f"{CANARY}.a.token"
GIVEN = wrap_data({"access_token": TOKEN})
BODY = json.dumps(GIVEN).encode()


async def obtain(*answers: Any, **options: Any) -> tuple[ApiKey, MemoryTransport]:
    transport = MemoryTransport(*answers)
    settings = {"transport": transport, "clock": FakeClock(NOW), **options}
    return await ApiKey.obtain(NAME, PASSWORD, **settings), transport


async def refused(*answers: Any, **options: Any) -> AurpayError:
    """The error that it ends with, which shows nothing in any way."""
    with pytest.raises(AurpayError) as caught:
        await obtain(*answers, **options)
    error = caught.value
    expect_no_secret_in_error(error)
    expect_no_secret("its fields", vars(error))
    assert CANARY.encode() not in pickle.dumps(error)
    return error


async def test_obtain_sends_the_documented_request_without_credential_headers() -> None:
    key, transport = await obtain(build_response(GIVEN))
    (request,) = transport.requests
    assert (request.method, request.path) == ("POST", "/api/plugin/key/aurpay")
    assert request.effect is Effect.READ
    assert json.loads(request.body) == {"username": NAME, "password": PASSWORD}
    assert not {"API-Key", "API-Token"} & set(request.headers)
    assert key.headers(request, NOW) == {"API-Key": TOKEN}
    expect_no_secret("a key", key)


async def test_obtain_is_retried_after_temporary_failures() -> None:
    key, transport = await obtain(build_response(b"", 503), build_response(GIVEN))
    assert isinstance(key, ApiKey)
    assert len(transport.requests) == 2


async def test_obtain_emits_an_event_without_secrets() -> None:
    events: list[Any] = []
    await obtain(build_response(GIVEN), on_event=events.append)
    assert [event.operation for event in events if isinstance(event, CallEvent)] == [
        "obtain_key"
    ]
    expect_no_secret("events", events)


@pytest.mark.parametrize(
    "content",
    [
        {"code": 401, "message": f"no account {NAME} with {PASSWORD}", "data": GIVEN},
        {"code": 401, "message": f"no: {PASSWORD.upper()}"},
        {"code": 401, "message": f"no: {quote(PASSWORD)}"},
        {"code": 401, "msg": json.dumps({"password": PASSWORD})},
        {"code": 401, "msg": "no such account"},
    ],
)
@pytest.mark.parametrize("status", [200, 401])
async def test_rejected_obtain_omits_the_message_of_aurpay(
    content: Any, status: int
) -> None:
    error = await refused(build_response(content, status))
    assert isinstance(error, AuthenticationError)
    assert str(error) == (
        f"Aurpay rejected it with HTTP {status}, code 401 (message omitted: it may "
        "show a secret)"
    )
    assert (error.platform_message, error.body) == (None, b"")
    assert error.outcome is RequestOutcome.REJECTED


@pytest.mark.parametrize(
    "content",
    [
        {**GIVEN, "code": "0"},
        {**GIVEN, "result": False},
        wrap_data([TOKEN]),
        wrap_data({"access_token": f"{TOKEN}\n"}),
        wrap_data({"token": TOKEN}),
        {"code": 0, "data": TOKEN},
        BODY[:-1],
        f"<html>{TOKEN} {PASSWORD}</html>".encode(),
    ],
)
async def test_unreadable_obtain_response_is_not_kept_on_the_error(
    content: Any,
) -> None:
    error = await refused(build_response(content))
    assert isinstance(error, InvalidResponseError)
    assert error.body == b""


@pytest.mark.parametrize(
    "failed",
    [
        ConnectError("down", outcome=RequestOutcome.NOT_SENT),
        ConnectionLostError("cut", body=BODY[:-1]),
        build_response(GIVEN, 500),
        build_response(GIVEN, 302, location=f"https://evil.example/?{TOKEN}"),
        build_response(GIVEN, 302, location=f"https://evil.example/{quote(PASSWORD)}"),
        Response(status=200, body=BODY, body_error="is too long"),
    ],
)
async def test_failed_obtain_raises_after_all_attempts(failed: Any) -> None:
    error = await refused(*[failed] * 4)
    assert not getattr(error, "body", b"")


@pytest.mark.parametrize("field", ["username", "password"])
@pytest.mark.parametrize("bad", ["", None, 5, b"bytes"])
async def test_invalid_user_name_or_password_is_rejected_without_showing_it(
    field: str, bad: Any
) -> None:
    transport = MemoryTransport()
    both = {"username": NAME, "password": PASSWORD, field: bad}
    with pytest.raises(InvalidRequestError) as caught:
        await ApiKey.obtain(*both.values(), transport=transport)
    assert caught.value.field == field
    assert transport.requests == []
    del both
    expect_no_secret_in_error(caught.value)


async def test_invalid_option_of_obtain_is_a_configuration_error() -> None:
    error = await refused(base_url="http://shop.example")
    assert isinstance(error, ConfigurationError)


async def test_obtain_over_a_socket_logs_no_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with Server(answering(BODY), cut) as server:
        key = await ApiKey.obtain(NAME, PASSWORD, base_url=server.url)
        assert isinstance(key, ApiKey)
        options: Any = {"base_url": server.url, "retry": RetryPolicy(max_attempts=1)}
        with pytest.raises(ConnectionLostError) as caught:
            await ApiKey.obtain(NAME, PASSWORD, **options)
    assert CANARY.encode() in server.requests[1]
    expect_no_secret_in_error(caught.value)
    assert caught.value.body == b""
    expect_no_secret(
        "logs", caplog.text + repr([vars(record) for record in caplog.records])
    )


async def cut(peer: Peer) -> None:
    """Answers, but not to the end."""
    await peer.read_request()
    await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + BODY)


async def silent(peer: Peer) -> None:
    """Reads, and waits for the client to go."""
    await peer.read_request()
    advance_loop(1)
    await peer.wait_closed()


async def test_cancelled_obtain_shows_no_secret() -> None:
    async with Server(silent) as server:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1):
                await ApiKey.obtain(NAME, PASSWORD, base_url=server.url)
    expect_no_secret_in_error(caught.value)


async def test_interrupted_report_of_an_obtained_key_does_not_show_the_key() -> None:
    def interrupt(event: object) -> None:
        if isinstance(event, CallEvent):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        await obtain(build_response(GIVEN), on_event=interrupt)
    expect_no_secret_in_error(caught.value)
