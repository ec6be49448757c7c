"""Apply callback faults: how often, when and in which order callbacks are sent."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import attrs

from ._deliveries import BEFORE_ANSWER
from ._letters import SPOILT, has_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .._clock import Clock
    from ._courier import Courier, SentCallback
    from ._letters import CallbackKind, Letter, Writer
    from ._mishaps import Mishap
    from ._orders import SandboxOrder

    Act = Callable[["Errand", Mishap], Awaitable[list[SentCallback]]]

_OTHER: Final[Mapping[CallbackKind, CallbackKind]] = {
    "paid": "timeout",
    "timeout": "paid",
}
_OK: Final = 200


@attrs.frozen(kw_only=True)
class Errand:
    """One callback to be delivered, and what is needed for it."""

    order: SandboxOrder
    kind: CallbackKind
    writer: Writer
    courier: Courier
    clock: Clock

    def letter(self, shift: float = 0) -> Letter:
        """The callback as of now, or as of seconds later."""
        at = self.clock.now() + timedelta(seconds=shift)
        return self.writer.write(self.order, self.kind, at)

    def letters(self) -> list[Letter]:
        """The order's other callback, if anybody is to hear of it, and this one."""
        other = attrs.evolve(self, kind=_OTHER[self.kind])
        errands = [other, self] if has_address(self.order, other.kind) else [self]
        return [errand.letter() for errand in errands]


async def deliver(errand: Errand, mishap: Mishap | None) -> list[SentCallback]:
    """Deliver as asked, or well."""
    if mishap is None:
        return [await errand.courier.send(errand.letter())]
    if mishap.name in SPOILT:
        return [await errand.courier.send(SPOILT[mishap.name](errand.letter()))]
    return await _ACTS[mishap.name](errand, mishap)


async def _twice(errand: Errand, mishap: Mishap) -> list[SentCallback]:
    letter = errand.letter()
    return [await errand.courier.send(letter) for _ in range(mishap.times)]


async def _retry(errand: Errand, mishap: Mishap) -> list[SentCallback]:
    sent = [await errand.courier.send(errand.letter())]
    while sent[-1].status != _OK and len(sent) < mishap.times:
        await errand.clock.sleep(mishap.seconds)
        sent.append(await errand.courier.send(errand.letter()))
    return sent


async def _lost(errand: Errand, _: Mishap) -> list[SentCallback]:
    return [errand.courier.lose(errand.letter())]


async def _late(errand: Errand, mishap: Mishap) -> list[SentCallback]:
    letter = errand.letter()
    await errand.clock.sleep(mishap.seconds)
    return [await errand.courier.send(letter)]


async def _stale(errand: Errand, mishap: Mishap) -> list[SentCallback]:
    return [await errand.courier.send(errand.letter(-mishap.seconds))]


async def _future(errand: Errand, mishap: Mishap) -> list[SentCallback]:
    return [await errand.courier.send(errand.letter(mishap.seconds))]


async def _added_parameter(errand: Errand, mishap: Mishap) -> list[SentCallback]:
    letter = errand.writer.write_with_parameter(
        errand.order, errand.kind, errand.clock.now(), mishap
    )
    return [await errand.courier.send(letter)]


async def _both(errand: Errand, _: Mishap) -> list[SentCallback]:
    return [await errand.courier.send(letter) for letter in errand.letters()]


async def _at_once(errand: Errand, _: Mishap) -> list[SentCallback]:
    return await asyncio.gather(*map(errand.courier.send, errand.letters()))


async def _before_answer(errand: Errand, _: Mishap) -> list[SentCallback]:
    # Its oddity is when it comes; in itself it is as always.
    return await deliver(errand, None)


_ACTS: Final[Mapping[str, Act]] = {
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
