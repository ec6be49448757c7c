"""`Sandbox.transport`: the same endpoints, checks and faults without a socket."""

from __future__ import annotations

import asyncio
import socket
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from aurpay_async import (
    ApiKey,
    AurpayClient,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    Effect,
    Request,
    RequestOutcome,
    Response,
)
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


def read_orders() -> Request:
    return Request(
        operation="list_orders",
        method="GET",
        path="/api/v2/order/",
        effect=Effect.READ,
    )


async def test_transport_reaches_a_sandbox_on_no_port_without_any_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    with monkeypatch.context() as patch:  # uvloop opens a socket to stop
        patch.setattr(socket, "create_server", refuse)
        patch.setattr(socket, "socket", refuse)
        clock = FakeClock()
        async with Sandbox(port=None, api_key="sandbox-key", clock=clock) as sandbox:
            aurpay = AurpayClient(
                ApiKey("sandbox-key"),
                network="regtest",
                base_url=sandbox.base_url,
                transport=sandbox.transport(),
                clock=clock,
            )
            order = await aurpay.create_order("20.00", "USD")
            await sandbox.pay(order.order_id)
            paid = await aurpay.get_order(order.order_id)
            listed = await aurpay.list_orders()
    assert order.amount == Decimal("0.0002")
    assert order.pay_url == f"http://127.0.0.1/#/cashier/{order.order_id}"
    assert paid.status.is_paid
    assert [row.order_id for row in listed.items] == [order.order_id]
    assert [request.path.partition("?")[0] for request in sandbox.requests] == [
        "/api/bln/order",
        f"/api/v2/order/detail/{order.order_id}",
        "/api/v2/order/",
    ]


async def test_transport_and_socket_of_one_sandbox_serve_the_same_orders() -> None:
    async with (
        Sandbox() as sandbox,
        sandbox.client() as remote,
        sandbox.client(transport=sandbox.transport()) as local,
    ):
        order = await remote.create_order("20.00", "USD")
        found = await local.get_order(order.order_id)
    assert found.order_id == order.order_id


async def test_transport_checks_credentials_as_over_a_socket() -> None:
    async with Sandbox(port=None, api_key="sandbox-key") as sandbox:
        aurpay = AurpayClient(
            ApiKey("sandbox-wrong-key"),
            base_url=sandbox.base_url,
            network="regtest",
            transport=sandbox.transport(),
        )
        with pytest.raises(AuthenticationError):
            await aurpay.create_order("20.00", "USD")


async def test_requests_in_flight_over_a_transport_do_not_block_each_other() -> None:
    async with Sandbox(port=None) as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push(*["silence"] * 19)
        silent = [
            asyncio.create_task(aurpay.create_order("20.00", "USD")) for _ in range(19)
        ]
        async with asyncio.timeout(60):
            while len(sandbox.requests) < 19:
                await asyncio.sleep(0)
            await aurpay.create_order("20.00", "USD")
        assert not any(call.done() for call in silent)
    outcomes = await asyncio.gather(*silent, return_exceptions=True)
    assert {type(one) for one in outcomes} == {ConnectionLostError}


async def test_transport_of_a_closed_sandbox_raises_not_sent() -> None:
    sandbox = Sandbox(port=None)
    with pytest.raises(ConfigurationError, match="not open"):
        sandbox.transport()
    async with sandbox:
        used, unused = sandbox.transport(), sandbox.transport()
        response = await used.send(read_orders())
        assert isinstance(response, Response)
        assert response.status == 200
    for transport in (used, unused):
        with pytest.raises(ConnectError, match="the sandbox is closed") as raised:
            await transport.send(read_orders())
        assert raised.value.outcome is RequestOutcome.NOT_SENT


async def test_closing_the_sandbox_breaks_the_calls_of_its_transports() -> None:
    async with Sandbox(port=None) as sandbox, sandbox.client() as aurpay:
        sandbox.faults.push("silence")
        call = asyncio.create_task(aurpay.create_order("20.00", "USD"))
        while not sandbox.requests:
            await asyncio.sleep(0)
        await sandbox.aclose()
        with pytest.raises(ConnectionLostError) as raised:
            await call
    assert raised.value.outcome is RequestOutcome.UNKNOWN


async def test_transport_is_rejected_on_another_event_loop_than_the_sandbox() -> None:
    async with Sandbox(port=None) as sandbox:
        transport = sandbox.transport()

        def send_elsewhere() -> None:
            asyncio.run(transport.send(read_orders()))

        with pytest.raises(ConfigurationError, match="runs on another event loop"):
            await asyncio.to_thread(send_elsewhere)
        assert (await transport.send(read_orders())).status == 200
        with pytest.raises(ConfigurationError, match="another event loop"):
            await asyncio.to_thread(send_elsewhere)


async def test_sandbox_on_no_port_with_an_unusable_file_does_not_open(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.txt").write_text("not a database")
    sandbox = Sandbox(port=None, db=tmp_path / "notes.txt")
    with pytest.raises(ConfigurationError, match="not a sandbox file"):
        await sandbox.start()


def test_a_transport_of_one_event_loop_after_another_reconnects() -> None:
    sandbox = Sandbox(port=None)

    async def create_order() -> str:
        async with sandbox, sandbox.client() as aurpay:
            return (await aurpay.create_order("20.00", "USD")).order_id

    assert asyncio.run(create_order()) != asyncio.run(create_order())
