"""Deliver a callback, normally or with a fault: how often, when and in which order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ._deliveries import BEFORE_ANSWER
from ._letters import TAMPERED, add_parameter, has_callback_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ._courier import CallbackSender, SentCallback
    from ._letters import CallbackKind, CallbackRequest
    from ._mishaps import FaultSpec
    from ._orders import SandboxOrder

    FaultyDelivery = Callable[
        [CallbackSender, SandboxOrder, CallbackKind, FaultSpec],
        Awaitable[list[SentCallback]],
    ]

_OTHER: Final[Mapping[CallbackKind, CallbackKind]] = {
    "paid": "timeout",
    "timeout": "paid",
}
_OK: Final = 200


async def deliver(
    sender: CallbackSender,
    order: SandboxOrder,
    kind: CallbackKind,
    fault: FaultSpec | None,
) -> list[SentCallback]:
    """Deliver a callback with this fault, or normally, and return each attempt."""
    if fault is None:
        return [await sender.send(sender.build(order, kind))]
    if fault.name in TAMPERED:
        tamper = TAMPERED[fault.name]
        return [await sender.send(tamper(sender.build(order, kind)))]
    return await _FAULTY_DELIVERIES[fault.name](sender, order, kind, fault)


async def _twice(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    callback = sender.build(order, kind)
    return [await sender.send(callback) for _ in range(fault.times)]


async def _retry(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    sent = [await sender.send(sender.build(order, kind))]
    while sent[-1].status != _OK and len(sent) < fault.times:
        await sender.clock.sleep(fault.seconds)
        sent.append(await sender.send(sender.build(order, kind)))
    return sent


async def _lost(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    return [sender.record_lost(sender.build(order, kind))]


async def _late(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    callback = sender.build(order, kind)
    await sender.clock.sleep(fault.seconds)
    return [await sender.send(callback)]


async def _stale(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    return [await sender.send(sender.build(order, kind, shift_s=-fault.seconds))]


async def _future(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    return [await sender.send(sender.build(order, kind, shift_s=fault.seconds))]


async def _added_parameter(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, fault: FaultSpec
) -> list[SentCallback]:
    callback = add_parameter(sender.build(order, kind), fault, sender.secret)
    return [await sender.send(callback)]


async def _both(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    return [await sender.send(callback) for callback in _pair(sender, order, kind)]


async def _at_once(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    return await asyncio.gather(*map(sender.send, _pair(sender, order, kind)))


async def _before_answer(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind, _: FaultSpec
) -> list[SentCallback]:
    # Only the moment is unusual: `pay_before_response` has chosen it.
    return await deliver(sender, order, kind, None)


def _pair(
    sender: CallbackSender, order: SandboxOrder, kind: CallbackKind
) -> list[CallbackRequest]:
    """Build the order's other callback, if it has a URL for it, and this one."""
    other = _OTHER[kind]
    kinds = [other, kind] if has_callback_url(order, other) else [kind]
    return [sender.build(order, each) for each in kinds]


_FAULTY_DELIVERIES: Final[Mapping[str, FaultyDelivery]] = {
    "twice": _twice,
    "retry": _retry,
    "lost": _lost,
    "late": _late,
    "stale": _stale,
    "future": _future,
    "added-parameter": _added_parameter,
    "both": _both,
    "at-once": _at_once,
    BEFORE_ANSWER: _before_answer,
}
