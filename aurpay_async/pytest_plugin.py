"""Fixtures for shops' own tests: a sandbox, a client for it, and a clock for both.

pytest loads this by itself where the package is installed; nothing of it costs a test
that does not ask for it. It needs pytest-asyncio, in either of its modes.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ._client import AurpayClient
    from .sandbox import Sandbox
    from .testing import FakeClock

__all__ = ["REFERENCE_KEY", "aurpay_client", "aurpay_clock", "aurpay_sandbox"]

#: What `aurpay_client` signs references with; give it to your verifier as well.
REFERENCE_KEY: Final = "sandbox-reference-key"

_F = TypeVar("_F", bound="Callable[..., object]")


def _fixture(function: _F) -> _F:
    if find_spec("pytest_asyncio"):
        import pytest_asyncio

        return cast("_F", pytest_asyncio.fixture()(cast("Any", function)))
    # Then pytest says what an async fixture needs.
    return cast("_F", pytest.fixture(function))


@pytest.fixture
def aurpay_clock() -> FakeClock:
    """The time of sandbox and client. It stands still until ``advance()``.

    .. versionadded:: 0.1.0
    """
    from .testing import FakeClock

    return FakeClock()


@_fixture
async def aurpay_sandbox(aurpay_clock: FakeClock) -> AsyncIterator[Sandbox]:
    """A fresh sandbox on a free port of this machine.

    .. versionadded:: 0.1.0
    """
    from .sandbox import Sandbox

    async with Sandbox(clock=aurpay_clock) as sandbox:
        yield sandbox


@_fixture
async def aurpay_client(aurpay_sandbox: Sandbox) -> AsyncIterator[AurpayClient]:
    """A client for `aurpay_sandbox`, with a key for references.

    .. versionadded:: 0.1.0
    """
    async with aurpay_sandbox.client(reference_key=REFERENCE_KEY) as aurpay:
        yield aurpay
