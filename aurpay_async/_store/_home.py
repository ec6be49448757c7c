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
from typing import TYPE_CHECKING, Final

import attrs
from sqlalchemy.pool import NullPool

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import Pool
    from sqlalchemy.ext.asyncio import AsyncEngine

#: The attribute of a pool that has its `Home`.
_HOME: Final = "_aurpay_async_home"


@attrs.frozen(eq=False)
class Home:
    """The process and the event loop that the connections of a pool belong to."""

    process: int
    #: ``None`` until the first use.
    loop: asyncio.AbstractEventLoop | None
    #: For what one task does for all; of this loop, as the pool.
    lock: asyncio.Lock = attrs.field(factory=asyncio.Lock)


def note_process(engine: AsyncEngine) -> None:
    """Record that the connections of an engine are, so far, those of this process."""
    pool = engine.sync_engine.pool
    if not hasattr(pool, _HOME):
        setattr(pool, _HOME, Home(os.getpid(), None))


def settle(engine: AsyncEngine, owner: str) -> Home:
    """Return the home of an engine's pool, which is the running loop.

    A pool of the parent process, or of a loop that was closed, is replaced by an empty
    one. Nothing is sent on its connections.

    Raises:
        ConfigurationError: the pool is in use on another event loop.
    """
    pool = engine.sync_engine.pool
    home: Home = getattr(pool, _HOME, None) or Home(os.getpid(), None)
    here = asyncio.get_running_loop()
    if home.loop is here and home.process == os.getpid():
        return home
    if not isinstance(pool, NullPool):  # which keeps no connection
        _leave(engine, pool, home, owner)
    new = Home(os.getpid(), here)
    setattr(engine.sync_engine.pool, _HOME, new)
    return new


def is_home(engine: AsyncEngine) -> bool:
    """Return true if the engine's pool can be closed by the running loop."""
    home: Home | None = getattr(engine.sync_engine.pool, _HOME, None)
    here = (os.getpid(), asyncio.get_running_loop())
    return home is not None and (home.process, home.loop) == here


def drop_pool(engine: AsyncEngine) -> None:
    """Give an engine an empty pool, and close the sockets of the old one."""
    engine.sync_engine.dispose(close=False)
    with warnings.catch_warnings():
        # Drivers warn of each connection that they find unclosed.
        warnings.simplefilter("ignore")
        gc.collect()


def _leave(engine: AsyncEngine, pool: Pool, home: Home, owner: str) -> None:
    if home.process != os.getpid():
        # A forked child shares its parent's sockets: closing them here would end the
        # parent's transactions.
        _inherited.append(pool)
        engine.sync_engine.dispose(close=False)
    elif home.loop is None:
        return
    elif home.loop.is_closed():
        del pool
        drop_pool(engine)
    else:
        raise ConfigurationError(
            f"this {owner} is in use on another event loop; make one for each loop, "
            "or give it an engine with poolclass=NullPool"
        )


#: Pools of a process that this one was forked from; referenced, so that nothing in them
#: is ever finalised here.
_inherited: Final[list[Pool]] = []
