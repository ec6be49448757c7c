"""Bind a pool of connections to the process and the event loop that opened them.

A connection of a driver for asyncio is useless elsewhere: its socket is shared with the
parent after a fork, its thread or its event loop is not there. So the process and the
loop of a pool are recorded on the pool itself, where all owners of an engine see them,
and compared at each use. A pool that belongs elsewhere is replaced; the engine stays
the same object.
"""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from threading import Thread
from typing import TYPE_CHECKING, Final

import attrs
from sqlalchemy.pool import NullPool

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Pool
    from sqlalchemy.ext.asyncio import AsyncEngine

#: The attribute of a pool that has its `PoolOwner`.
_OWNER: Final = "_aurpay_async_owner"


@attrs.frozen(eq=False)
class PoolOwner:
    """The process and the event loop that the connections of a pool belong to."""

    process: int
    #: ``None`` until the first use.
    loop: asyncio.AbstractEventLoop | None
    #: For work that one task does for all; it belongs to this loop, as the pool does.
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)


def record_process(engine: AsyncEngine) -> None:
    """Record that the connections of an engine are, so far, those of this process."""
    setattr(engine.sync_engine.pool, _OWNER, _owner_of(engine))


def bind_pool(engine: AsyncEngine, user: str) -> PoolOwner:
    """Bind an engine's pool to this process and the running event loop.

    A pool of the parent process, or of a loop that was closed, is replaced by an empty
    one. Nothing is sent on its connections.

    Raises:
        ConfigurationError: the pool is in use on another event loop.
    """
    owner = _owner_of(engine)
    here = asyncio.get_running_loop()
    if owner.loop is here and owner.process == os.getpid():
        return owner
    if not isinstance(engine.sync_engine.pool, NullPool):  # which keeps no connection
        _detach(engine, owner, user)
    new = PoolOwner(os.getpid(), here)
    setattr(engine.sync_engine.pool, _OWNER, new)
    return new


def is_bound_here(engine: AsyncEngine) -> bool:
    """Return true if the running loop may close the engine's connections."""
    owner = _owner_of(engine)
    return (owner.process, owner.loop) == (os.getpid(), asyncio.get_running_loop())


def drop_pool(engine: AsyncEngine) -> None:
    """Give an engine an empty pool, and close the sockets of the old one.

    In a thread, which has no loop: the finaliser of aiosqlite has its own thread report
    to the running one, and that may be closed before.
    """
    dropping = Thread(target=_drop_pool, args=[engine])
    dropping.start()
    dropping.join()


def _drop_pool(engine: AsyncEngine) -> None:
    with warnings.catch_warnings():
        # Drivers warn of each connection that they find unclosed.
        warnings.simplefilter("ignore")
        engine.sync_engine.dispose(close=False)
        gc.collect()


def _owner_of(engine: AsyncEngine) -> PoolOwner:
    owner: PoolOwner | None = getattr(engine.sync_engine.pool, _OWNER, None)
    return owner or PoolOwner(os.getpid(), None)


def _detach(engine: AsyncEngine, owner: PoolOwner, user: str) -> None:
    if owner.process != os.getpid():
        # A forked child shares its parent's sockets: closing them here would end the
        # parent's transactions.
        _inherited.append(engine.sync_engine.pool)
        engine.sync_engine.dispose(close=False)
    elif owner.loop is not None and owner.loop.is_closed():
        drop_pool(engine)
    elif owner.loop is not None:
        raise ConfigurationError(
            f"this {user} is in use on another event loop; make one for each loop, "
            "or give it an engine with poolclass=NullPool"
        )


#: Pools of a process that this one was forked from; referenced, so that nothing in them
#: is ever finalised here.
_inherited: Final[list[Pool]] = []
