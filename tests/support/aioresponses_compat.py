"""Let aioresponses work with aiohttp 3.14 and later.

aioresponses 0.7.9 creates a ``ClientResponse`` without the ``stream_writer`` that
aiohttp >= 3.14 requires (its issue 289). This shim passes it. When a release of
aioresponses does so, `test_aioresponses` fails: then delete this file, and use
``aioresponses()``.

Bodies over 64 KiB do not work with aioresponses either: use `loopback` for them. And
it replaces ``ClientSession._request``: timeouts, redirects, connections and request
classes do not run, and an unmatched URL looks like a refused connection, so tests count
their requests.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aiohttp
import aioresponses.core
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Whether this aiohttp requires an argument that this aioresponses does not pass.
NEEDED = "stream_writer" in signature(aiohttp.ClientResponse.__init__).parameters


class _Response(aiohttp.ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


def allow_aioresponses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let aioresponses work with any version of aiohttp during a test."""
    if NEEDED:
        monkeypatch.setattr(aioresponses.core, "ClientResponse", _Response)


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses.aioresponses]:
    """Yield aioresponses, for any version of aiohttp."""
    allow_aioresponses(monkeypatch)
    with aioresponses.aioresponses() as mock:
        yield mock
