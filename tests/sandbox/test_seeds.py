"""Reproducible and unpredictable random bytes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConfigurationError
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._ledger import Ledger, random_source
from aurpay_async.testing import FakeClock

from ..support.orders import NOW
from .shop import create_order

if TYPE_CHECKING:
    from aurpay_async.bolt11._secp256k1 import Curve

FIELDS = {"price": 20, "currency": "USD"}

#: The invoice of the first order with seed 7, at the first second of 2026.
INVOICE = (
    "lnbcrt200u1p54twgqpp55ak03yjzj2srgj593dy5lhj2mexfuu4x92en4hv2ktqvrrgegswqsp57nw2r8"
    "tqekfxgpr7ggtkmgvqeq8tx7dy08af3w9j2zadgllrhz6qdp5x33x2wf4xvungdtrxcckgeryxpjryvtp8"
    "p3nwc3hv9snsdfe8qmsxqyz5vqcqzzs9qyyssqtr0nhpuckprdpr5qelkndgzdhpscw8p360jdrv2zyp8s"
    "7dw59kequkrmvdrfmve4hxsft05vv7p0s8rxdslcdw4suzz3l3ktmh90trgqppm4ky"
)


def test_seeded_bytes_are_hmac_sha256_of_their_purpose() -> None:
    draw = random_source(7)
    assert draw("order", 1, "preimage").hex() == (
        "eeaa0fb9a7be0bb65d8e82d9262c4c06ebcf6afc1fa893badf47001d6de29939"
    )
    assert draw("order", 2, "preimage") != draw("order", 1, "preimage")
    assert draw("order", 1, "secret") != draw("order", 1, "preimage")
    assert random_source(8)("order", 1, "preimage") != draw("order", 1, "preimage")


def test_unseeded_bytes_are_never_repeated() -> None:
    draw = random_source()
    drawn = {draw("order", 1, "preimage") for _ in range(8)}
    assert {len(one) for one in drawn} == {32}
    assert len(drawn) == 8


def test_seeded_order_is_the_same_with_either_curve_arithmetic(curve: Curve) -> None:
    order = Ledger(random_bytes=random_source(7)).create(FIELDS, NOW)
    assert order.order_id == "20260101000000000001"
    assert order.preimage.startswith("eeaa0fb9a7be0bb6")
    assert order.invoice == INVOICE


def test_seeded_order_does_not_depend_on_earlier_orders() -> None:
    whole, later = (
        Ledger(random_bytes=random_source(7)),
        Ledger(random_bytes=random_source(7)),
    )
    for _ in range(3):
        whole.create(FIELDS, NOW)
    for number in (1, 2):
        later.orders[f"another {number}"] = Ledger().create(FIELDS, NOW)
    third = later.create(FIELDS, NOW)
    assert whole.orders[third.order_id] == third


async def test_two_sandboxes_with_one_seed_create_the_same_order() -> None:
    async def create(seed: int | None, clock: FakeClock) -> Any:
        async with Sandbox(seed=seed, clock=clock) as sandbox:
            await create_order(sandbox, callback_url="http://127.0.0.1/")
            return [*sandbox.orders.values()]

    later = FakeClock(NOW + timedelta(minutes=1))
    one, two, other, moved = await asyncio.gather(
        create(7, FakeClock(NOW)),
        create(7, FakeClock(NOW)),
        create(8, FakeClock(NOW)),
        create(7, later),
    )
    assert one == two
    assert other[0].preimage != one[0].preimage
    assert moved[0].preimage == one[0].preimage
    assert moved[0].invoice != one[0].invoice


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "7", True])
def test_invalid_seed_is_rejected_by_the_sandbox(seed: Any) -> None:
    with pytest.raises(ConfigurationError, match="seed must be a whole number"):
        Sandbox(seed=seed)
