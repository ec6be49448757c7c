"""Run commands as the shell would; fixtures of a sandbox and of a plain terminal."""

from __future__ import annotations

import errno
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO, StringIO, TextIOWrapper
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from aurpay_async import _cli
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

if find_spec("cyclopts") is None:  # the extra `cli` is not installed
    collect_ignore_glob = ["test_*.py"]


class Done(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return standard output as JSON objects, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        """Return standard output as its only JSON object."""
        [record] = self.records
        return record


class Run(Protocol):
    """Run a command and return its exit code and output."""

    def __call__(
        self, *arguments: str, stdin: bytes = b"", typed: str | None = None
    ) -> Done: ...


class Terminal(TextIOWrapper):
    """Standard input of a terminal."""

    def isatty(self) -> bool:
        return True


class FullDisk(StringIO):
    """Standard output on a disk that is full."""

    def write(self, _: str, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def _run(arguments: Sequence[str]) -> int:
    try:
        return _cli.run([*arguments])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


@pytest.fixture
def aurpay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command; it may be called in a thread.

    With `typed`, standard input and standard error are terminals.
    """

    def run(*arguments: str, stdin: bytes = b"", typed: str | None = None) -> Done:
        kind = TextIOWrapper if typed is None else Terminal
        given = stdin if typed is None else typed.encode()
        monkeypatch.setattr("sys.stdin", kind(BytesIO(given), "utf-8"))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: typed is not None)
        capsys.readouterr()
        # A thread, because this one may already run the event loop of pytest-asyncio.
        with ThreadPoolExecutor(max_workers=1) as threads:
            code = threads.submit(_run, arguments).result()
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def _a_plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the results independent of the developer's terminal."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """Open a sandbox, and configure the client for it by the environment."""
    async with Sandbox() as sandbox:
        monkeypatch.setenv("AURPAY_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("AURPAY_NETWORK", "regtest")
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        yield sandbox
