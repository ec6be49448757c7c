"""Every method of the merchant API against the sandbox, over real sockets.

Client and sandbox have read the documentation on their own: where they agree, it is
because of what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import pytest

from aurpay_async import (
    APIError,
    ApiKey,
    ApiToken,
    AurpayClient,
    AurpayError,
    AuthenticationError,
    ConnectionLostError,
    Effect,
    RequestOutcome,
    ServerError,
    bolt11,
)
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..support.orders import NOW

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Act = Callable[[AurpayClient, "Stage"], Awaitable[Any]]

TOKEN: Final = "sandbox-token"
SECRET: Final = "sandbox-secret"
KEY: Final = "sandbox-key"


@attrs.frozen
class Stage:
    """A sandbox with an order that is paid."""

    sandbox: Sandbox
    paid: str

    def bill(self) -> str:
        """Return a payable invoice of another payee."""
        return bolt11.sign(
            "11" * 32,
            payment_hash="22" * 32,
            payment_secret="33" * 32,
            timestamp=int(NOW.timestamp()),
            amount_msat=1_000_000,
        )


async def _orders(client: AurpayClient, _: Stage) -> list[str]:
    return [order.order_id async for order in client.iter_orders(size=1)]


async def _ping(client: AurpayClient, _: Stage) -> str:
    await client.ping()
    return "accepted"


async def _transactions(client: AurpayClient, _: Stage) -> list[str]:
    return [row.tx_type async for row in client.iter_transactions()]


#: Each method with arguments that work, and what a repetition would do.
METHODS: Final[dict[str, tuple[Act, Effect]]] = {
    "create_order": (lambda c, _: c.create_order("20", "USD"), Effect.CREATE),
    "create_payment": (
        lambda c, _: c.create_payment("18", "USD", chain="ETH", coin="USDT-ERC20"),
        Effect.CREATE,
    ),
    "create_payment_url": (
        lambda c, _: c.create_payment_url("5", "EUR"),
        Effect.CREATE,
    ),
    "get_order": (lambda c, s: c.get_order(s.paid), Effect.READ),
    "list_orders": (lambda c, _: c.list_orders(page=1, size=10), Effect.READ),
    "iter_orders": (_orders, Effect.READ),
    "ping": (_ping, Effect.READ),
    "get_refund": (lambda c, s: c.get_refund(s.paid), Effect.READ),
    "refund_order": (lambda c, s: c.refund_order(s.paid), Effect.TRANSFER),
    "list_transactions": (lambda c, _: c.list_transactions(), Effect.READ),
    "iter_transactions": (_transactions, Effect.READ),
    "list_fiat_currencies": (lambda c, _: c.list_fiat_currencies(), Effect.READ),
    "withdraw_lightning": (
        lambda c, s: c.withdraw_lightning(s.bill(), amount="0.00001"),
        Effect.TRANSFER,
    ),
    "request": (
        lambda c, _: c.request(
            "GET",
            "/api/v2/tx",
            params={"page": 1, "size": 3},
            effect=Effect.READ,
        ),
        Effect.READ,
    ),
}
WRITES: Final = [name for name in METHODS if METHODS[name][1] is not Effect.READ]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """The sandbox's clock does not advance, and sleeping returns at once."""
    sandbox = Sandbox(
        clock=FakeClock(NOW), api_key=KEY, api_token=TOKEN, api_secret=SECRET
    )
    async with sandbox:
        async with client(sandbox) as first:
            order = await first.create_order("20.00", "USD")
        await sandbox.pay(order.order_id)
        sandbox._simulator.requests.clear()
        yield Stage(sandbox, order.order_id)


def client(sandbox: Sandbox, auth: ApiKey | ApiToken | None = None) -> AurpayClient:
    return AurpayClient(
        auth or ApiKey(KEY),
        base_url=sandbox.base_url,
        network="regtest",
        clock=sandbox.clock,
    )


@pytest.mark.parametrize("name", METHODS)
async def test_each_method_works_with_each_authentication(
    name: str, stage: Stage
) -> None:
    act, _ = METHODS[name]
    async with client(stage.sandbox, ApiToken(TOKEN, SECRET)) as signed:
        result = await act(signed, stage)
    assert all("Signature" in request.headers for request in stage.sandbox.requests)
    assert stage.sandbox.requests
    assert result is not None
    if name in {"refund_order", "withdraw_lightning"}:
        return  # once is enough, and twice is refused
    sha3 = ApiToken(TOKEN, SECRET, algorithm="HMAC-SHA3_256")
    for auth in (sha3, ApiKey(KEY)):
        async with client(stage.sandbox, auth) as other:
            assert type(await act(other, stage)) is type(result)


@pytest.mark.parametrize("name", METHODS)
async def test_wrong_credentials_are_rejected_and_not_retried(
    name: str, stage: Stage
) -> None:
    act, _ = METHODS[name]
    before = dict(stage.sandbox.orders)
    for auth in (ApiKey("sandbox-other"), ApiToken(TOKEN, "sandbox-other")):
        async with client(stage.sandbox, auth) as other:
            with pytest.raises(AuthenticationError) as caught:
                await act(other, stage)
        assert (caught.value.outcome, caught.value.attempts) == (
            RequestOutcome.REJECTED,
            1,
        )
    assert stage.sandbox.orders == before
    assert not stage.sandbox.withdrawals


@pytest.mark.parametrize("name", METHODS)
async def test_only_reads_are_retried_after_503(name: str, stage: Stage) -> None:
    act, effect = METHODS[name]
    stage.sandbox.faults.push("503")
    async with client(stage.sandbox) as sender:
        if effect is Effect.READ:
            await act(sender, stage)
            assert len(stage.sandbox.requests) >= 2
            return
        with pytest.raises(ServerError) as caught:
            await act(sender, stage)
    assert (caught.value.outcome, caught.value.attempts) == (RequestOutcome.UNKNOWN, 1)
    assert len(stage.sandbox.requests) == 1


@pytest.mark.parametrize("name", WRITES)
async def test_lost_response_has_an_unknown_outcome(name: str, stage: Stage) -> None:
    act, _ = METHODS[name]
    stage.sandbox.faults.push("reset-after-request+created")
    async with client(stage.sandbox) as sender:
        with pytest.raises(ConnectionLostError) as caught:
            await act(sender, stage)
    assert caught.value.outcome is RequestOutcome.UNKNOWN
    assert not caught.value.retryable
    done = (
        len(stage.sandbox.orders) - 1,
        len(stage.sandbox._simulator.checkouts),
        len(stage.sandbox.withdrawals),
        int(stage.sandbox.orders[stage.paid].status == "REFUNDED"),
    )
    assert sum(done) == len(stage.sandbox.requests) == 1


async def test_api_error_has_the_message_of_aurpay(stage: Stage) -> None:
    async with client(stage.sandbox) as sender:
        await sender.refund_order(stage.paid)
        with pytest.raises(APIError) as caught:
            await sender.refund_order(stage.paid)
    assert caught.value.platform_message == "the order is REFUNDED"
    assert (caught.value.status, caught.value.platform_code) == (200, 400)
    assert caught.value.outcome is RequestOutcome.REJECTED


async def test_find_order_has_three_outcomes_in_the_sandbox(stage: Stage) -> None:
    async with client(stage.sandbox) as sender:
        errors: list[AurpayError] = []
        for price, fault in (
            ("7", "reset-after-request+created"),
            ("8", "reset-after-request"),
            ("9", "reset-after-request+created"),
        ):
            stage.sandbox.faults.push(fault)
            with pytest.raises(ConnectionLostError) as caught:
                await sender.create_order(price, "USD")
            errors.append(caught.value)
        twin = await sender.create_order("9", "USD")
        found = await sender.find_order(errors[0])
        assert found.outcome == "found"
        assert found.order.price == 7
        assert (await sender.find_order(errors[1])).outcome == "none_yet"
        several = await sender.find_order(errors[2])
        assert (several.outcome, len(several.orders)) == ("several", 2)
        found = await sender.find_order(errors[2], known={twin.order_id})
        assert found.outcome == "found"
        assert found.order.order_id != twin.order_id


async def test_find_order_finds_a_payment_by_its_coin(stage: Stage) -> None:
    async with client(stage.sandbox) as sender:
        await sender.create_order("18", "USD")
        stage.sandbox.faults.push("cut-body+created")
        with pytest.raises(AurpayError) as caught:
            await sender.create_payment("18", "USD", chain="TRX", coin="USDT-TRC20")
        caught.value.order_id = None
        found = await sender.find_order(caught.value)
    assert (found.outcome, found.order.coin) == ("found", "USDT-TRC20")


async def test_new_orders_during_iteration_cause_no_duplicates_or_gaps(
    stage: Stage,
) -> None:
    async with client(stage.sandbox) as sender:
        made = [stage.paid]
        made += [(await sender.create_order("1", "USD")).order_id for _ in range(4)]
        seen: list[str] = []
        async for order in sender.iter_orders(size=2):
            seen.append(order.order_id)
            await sender.create_order("2", "USD")
    assert seen == made[::-1]


async def test_obtained_api_key_works_and_credentials_do_not_show() -> None:
    async with Sandbox(api_key=KEY) as sandbox:
        key = await ApiKey.obtain(
            "who@shop.example", "canary", base_url=sandbox.base_url
        )
        async with client(sandbox, key) as sender:
            assert (await sender.list_orders()).total == 0
    assert "canary" not in repr((sandbox.requests, key))
