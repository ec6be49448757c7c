"""A Redis server without persistence, started for the tests."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from .postgresql import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the URL of a Redis server; skip the test if there is none."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs Redis (Debian's redis-server)")
    port = str(free_port())
    options = ("--port", port, "--bind", "127.0.0.1", "--save", "")
    server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
