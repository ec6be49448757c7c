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
    setattr(engine.sync_engine.pool, _HOME, _home_of(engine))


def settle(engine: AsyncEngine, owner: str) -> Home:
    """Return the home of an engine's pool, which is the running loop.

    A pool of the parent process, or of a loop that was closed, is replaced by an empty
    one. Nothing is sent on its connections.

    Raises:
        ConfigurationError: the pool is in use on another event loop.
    """
    home = _home_of(engine)
    here = asyncio.get_running_loop()
    if home.loop is here and home.process == os.getpid():
        return home
    if not isinstance(engine.sync_engine.pool, NullPool):  # which keeps no connection
        _leave(engine, home, owner)
    new = Home(os.getpid(), here)
    setattr(engine.sync_engine.pool, _HOME, new)
    return new


def is_home(engine: AsyncEngine) -> bool:
    """Return true if the running loop may close the engine's connections."""
    home = _home_of(engine)
    return (home.process, home.loop) == (os.getpid(), asyncio.get_running_loop())


def drop_pool(engine: AsyncEngine) -> None:
    """Give an engine an empty pool, and close the sockets of the old one."""
    with warnings.catch_warnings():
        # Drivers warn of each connection that they find unclosed.
        warnings.simplefilter("ignore")
        engine.sync_engine.dispose(close=False)
        gc.collect()


def _home_of(engine: AsyncEngine) -> Home:
    home: Home | None = getattr(engine.sync_engine.pool, _HOME, None)
    return home or Home(os.getpid(), None)


def _leave(engine: AsyncEngine, home: Home, owner: str) -> None:
    if home.process != os.getpid():
        # A forked child shares its parent's sockets: closing them here would end the
        # parent's transactions.
        _inherited.append(engine.sync_engine.pool)
        engine.sync_engine.dispose(close=False)
    elif home.loop is not None and home.loop.is_closed():
        # In a thread, which has no loop: the finaliser of aiosqlite has its own thread
        # report to the running one, and that may be closed before.
        dropping = Thread(target=drop_pool, args=[engine])
        dropping.start()
        dropping.join()
    elif home.loop is not None:
        raise ConfigurationError(
            f"this {owner} is in use on another event loop; make one for each loop, "
            "or give it an engine with poolclass=NullPool"
        )


#: Pools of a process that this one was forked from; referenced, so that nothing in them
#: is ever finalised here.
_inherited: Final[list[Pool]] = []
