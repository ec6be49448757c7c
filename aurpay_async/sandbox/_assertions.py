"""Assertions for tests of shops; the message of a failure lists what was received."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._courier import SentCallback
    from ._gate import ReceivedRequest
    from ._letters import CallbackKind
    from ._orders import SandboxOrder


def assert_orders(
    count: int,
    status: str | None,
    orders: Iterable[SandboxOrder],
    requests: Sequence[ReceivedRequest],
) -> None:
    """Implement `Sandbox.assert_orders`."""
    every = list(orders)
    found = [order for order in every if status in {None, order.status}]
    if len(found) == count:
        return
    expected = f"{count} {status}" if status else str(count)
    raise AssertionError(
        f"expected {expected} orders, found {len(found)}:\n"
        + _lines(f"{o.order_id} {o.status} {o.price:f} {o.currency}" for o in every)
        + f"{len(requests)} requests were received:\n"
        + _lines(f"{request.method} {request.path}" for request in requests)
    )


def assert_callbacks(
    kinds: Sequence[CallbackKind], status: int, sent: Sequence[SentCallback]
) -> None:
    """Implement `Sandbox.assert_callbacks`."""
    got = [(callback.kind, callback.status) for callback in sent]
    if got == [(kind, status) for kind in kinds]:
        return
    wanted = ", ".join(f"{kind} answered with {status}" for kind in kinds)
    raise AssertionError(
        f"expected callbacks: {wanted or 'none'}; {len(sent)} were sent:\n"
        + _lines(
            f"{callback.kind} {callback.method} {callback.url.partition('?')[0]}: "
            f"{callback.error or callback.status}"
            for callback in sent
        )
    )


def _lines(texts: Iterable[str]) -> str:
    return "".join(f"  {ascii(text)[1:-1]}\n" for text in texts)
