"""Fixtures for merchants' own tests: a sandbox, a client for it, and a clock for both.

pytest loads this by itself where the package is installed; nothing of it costs a test
that does not ask for it. It needs pytest-asyncio, in either of its modes.

A sandbox serves on the event loop of the test that asks for it, whatever its loop
scope: pytest-asyncio binds a fixture to one scope, so there is one of each for each.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ._client import AurpayClient
    from .sandbox import Sandbox
    from .testing import FakeClock

__all__ = ["REFERENCE_KEY", "aurpay_client", "aurpay_clock", "aurpay_sandbox"]

#: What `aurpay_client` signs references with; give it to your verifier as well.
REFERENCE_KEY: Final = "sandbox-reference-key"

#: Loop scopes of pytest-asyncio.
_SCOPES: Final = ("function", "class", "module", "package", "session")


@pytest.fixture
def aurpay_clock() -> FakeClock:
    """The time of sandbox and client. It stands still until ``advance()``.

    .. versionadded:: 0.1.0
    """
    from .testing import FakeClock

    return FakeClock()


@pytest.fixture
def aurpay_sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """A fresh sandbox on a free port of this machine.

    .. versionadded:: 0.1.0
    """
    name = f"_aurpay_sandbox_{_loop_scope(request)}"
    return cast("Sandbox", request.getfixturevalue(name))


@pytest.fixture
def aurpay_client(
    request: pytest.FixtureRequest,
    aurpay_sandbox: Sandbox,  # noqa: ARG001 - what the client is for
) -> AurpayClient:
    """A client for `aurpay_sandbox`, with a key for references.

    .. versionadded:: 0.1.0
    """
    name = f"_aurpay_client_{_loop_scope(request)}"
    return cast("AurpayClient", request.getfixturevalue(name))


def _sandbox_on(scope: str) -> object:
    # A function of its own: pytest-asyncio notes the loop scope on the function.
    async def sandbox(aurpay_clock: FakeClock) -> AsyncIterator[Sandbox]:
        from .sandbox import Sandbox

        async with Sandbox(clock=aurpay_clock) as sandbox:
            yield sandbox

    return _fixture(sandbox, f"_aurpay_sandbox_{scope}", scope)


def _client_on(scope: str) -> object:
    async def client(aurpay_sandbox: Sandbox) -> AsyncIterator[AurpayClient]:
        async with aurpay_sandbox.client(reference_key=REFERENCE_KEY) as aurpay:
            yield aurpay

    return _fixture(client, f"_aurpay_client_{scope}", scope)


def _fixture(function: Callable[..., object], name: str, scope: str) -> object:
    if find_spec("pytest_asyncio"):
        import pytest_asyncio

        decorate: Any = pytest_asyncio.fixture(name=name, loop_scope=cast("Any", scope))
        return decorate(function)
    # Then pytest says what an async fixture needs.
    return pytest.fixture(name=name)(function)


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """Return the loop scope of the test that asks for a fixture."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is None:  # a test of another plugin, or one that is not asynchronous
        return "function"
    given = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
    with suppress(ValueError):  # pytest-asyncio before 0.26 has no such setting
        given = given or request.config.getini("asyncio_default_test_loop_scope")
    return str(given or "function")


# pytest takes fixtures from the names of a module.
_sandbox_1, _sandbox_2, _sandbox_3, _sandbox_4, _sandbox_5 = map(_sandbox_on, _SCOPES)
_client_1, _client_2, _client_3, _client_4, _client_5 = map(_client_on, _SCOPES)
