"""Runs commands as the shell would, and a sandbox for those that need a platform."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from io import BytesIO, TextIOWrapper
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from aurpay_async import _cli
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

if find_spec("cyclopts") is None:  # the extra `cli` is not installed
    collect_ignore_glob = ["test_*.py"]


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """What it said as JSON: all that it said."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        """What it said in one object."""
        [record] = self.records
        return record


class Run(Protocol):
    """Runs a command."""

    def __call__(
        self, *arguments: str, stdin: bytes = b"", typed: str | None = None
    ) -> Done: ...


class Terminal(TextIOWrapper):
    """Standard input, where somebody types."""

    def isatty(self) -> bool:
        return True


def _run(arguments: Sequence[str]) -> int:
    try:
        return _cli.run([*arguments])
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


@pytest.fixture
def aurpay(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line: arguments to what was printed; from a thread as well.

    With `typed`, there is a terminal, but for standard output.
    """

    def run(*arguments: str, stdin: bytes = b"", typed: str | None = None) -> Done:
        kind = TextIOWrapper if typed is None else Terminal
        given = stdin if typed is None else typed.encode()
        monkeypatch.setattr("sys.stdin", kind(BytesIO(given), "utf-8"))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: typed is not None)
        capsys.readouterr()
        # In a thread of its own: there may be a loop in this one, and pytest-asyncio
        # does not expect another to come and go.
        with ThreadPoolExecutor(max_workers=1) as threads:
            code = threads.submit(_run, arguments).result()
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def _a_plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the developer's terminal can do must not decide a test."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """A sandbox that the environment names."""
    async with Sandbox() as sandbox:
        monkeypatch.setenv("AURPAY_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("AURPAY_NETWORK", "regtest")
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        yield sandbox
