"""Shared fixtures: no network except loopback, the vectors, both curves."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import none

from aurpay_async.bolt11 import _ecdsa, _secp256k1

from .support.loop_time import uvloop_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bytecode is written even if the environment disables it: otherwise each process that
# the suite starts compiles the package and rewrites the tests again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Garbage collections would examine the collected tests over and over, for a quarter of
# the time of collecting; `gc.freeze` below excludes them from later ones.
gc.set_threshold(100_000, 50, 100)

# Some versions of pytest-asyncio get the loop of this thread: without this, asyncio
# creates one for them, which is never closed.
asyncio.set_event_loop(None)

if os.environ.get("AURPAY_TEST_UVLOOP"):
    # For all loops of the tests, also those of their threads and of `asyncio.run`.
    asyncio.set_event_loop_policy(uvloop_policy())

# The same examples in every run, so that a failure is reproducible.
settings.register_profile("default", derandomize=True, deadline=None, max_examples=40)
#: Twenty times as many, for `nox -s properties`.
settings.register_profile("thorough", settings.get_profile("default"), max_examples=800)
settings.load_profile("default")


def examples(count: int) -> settings:
    """Return settings with a number of examples; the thorough profile multiplies it."""
    default = settings.get_profile("default").max_examples
    return settings(max_examples=count * settings().max_examples // default)


#: These need a browser or another tool, and take as long as all other tests:
#: `nox -s browser contract`. They are collected only by name.
collect_ignore = ["browser", "contract"]


@given(none())
def _register_random_source(_: None) -> None:
    """Let Hypothesis do so with its first example: a frozen source has no referrers."""


def pytest_collection_finish() -> None:
    """Exclude all tests and modules from garbage collections."""
    _register_random_source()
    gc.collect()
    gc.freeze()


VECTORS = Path(__file__).parent / "vectors"

_connect = socket.socket.connect


def _connect_to_loopback(self: socket.socket, address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else "a file"
    if host not in {"127.0.0.1", "::1", "localhost"}:
        pytest.fail(f"a test tried to connect to {address!r}")
    _connect(self, address)


@pytest.fixture(scope="session", autouse=True)
def _isolated() -> Iterator[None]:
    """Let tests connect to loopback only, and see no settings of the developer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _connect_to_loopback)
        for name in list(os.environ):
            if name.startswith("AURPAY_"):
                patch.delenv(name)
        yield


def load(name: str) -> Any:
    """Return a file of vectors."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def aurpay_vectors() -> Any:
    """Return the values that Aurpay documents."""
    return load("aurpay.json")


@pytest.fixture(params=["python", "wallycore"])
def curve(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> _secp256k1.Curve:
    """Run the test with each implementation of the curve; wallycore is optional."""
    if request.param == "wallycore":
        pytest.importorskip("wallycore")
        chosen = _secp256k1.curve()
        assert chosen is not _ecdsa
    else:
        chosen = _ecdsa
    monkeypatch.setattr(_secp256k1, "curve", lambda: chosen)
    return chosen
