"""Child processes that are measured, or that serve while another is measured."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def environment_with_bytecode() -> dict[str, str]:
    """Return an environment in which Python uses bytecode, as when installed."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def find_free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def run_process(*command: str, **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process until the block ends."""
    with subprocess.Popen(command, env=environment_with_bytecode(), **pipes) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def run_server(*arguments: str, response: bytes) -> Iterator[str]:
    """Yield the URL of a server that reads its response and prints its port."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with run_process(sys.executable, *arguments, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(response)
        process.stdin.close()
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
