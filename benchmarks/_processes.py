"""Processes beside this one: measured, or at work while something else is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def as_installed() -> dict[str, str]:
    """An environment where our package has its bytecode, as installed ones have."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def free_port() -> int:
    """One that nobody listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(*command: str, **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process, until the block ends."""
    with subprocess.Popen(command, env=as_installed(), **pipes) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def serving(*arguments: str, answer: bytes) -> Iterator[str]:
    """The URL of a server in Python, which reads its answer and prints its port."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(sys.executable, *arguments, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(answer)
        process.stdin.close()
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
