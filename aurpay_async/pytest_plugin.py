"""pytest fixtures for merchants: a sandbox, a client for it, and a clock for both.

pytest loads this plugin if the package is installed; a test that uses no fixture of it
pays nothing. It needs pytest-asyncio, in either of its modes, or anyio with its backend
asyncio.

A sandbox runs on the event loop of the test that requests it. pytest-asyncio binds a
fixture to one loop scope, so each fixture is registered once per scope.
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

#: The reference key of `aurpay_client`; pass it to your `CallbackVerifier` as well.
REFERENCE_KEY: Final = "sandbox-reference-key"

#: Loop scopes of pytest-asyncio.
_SCOPES: Final = ("function", "class", "module", "package", "session")


@pytest.fixture
def aurpay_clock() -> FakeClock:
    """The clock of sandbox and client; it moves only by ``advance()``."""
    from .testing import FakeClock

    return FakeClock()


@pytest.fixture
def aurpay_sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """A new sandbox on a free port of this machine."""
    _require_asyncio(request)
    name = f"_aurpay_sandbox_{_loop_scope(request)}"
    return cast("Sandbox", request.getfixturevalue(name))


@pytest.fixture
def aurpay_client(
    request: pytest.FixtureRequest,
    aurpay_sandbox: Sandbox,  # noqa: ARG001 - requests the fixture
) -> AurpayClient:
    """A client for `aurpay_sandbox`, with a reference key."""
    name = f"_aurpay_client_{_loop_scope(request)}"
    return cast("AurpayClient", request.getfixturevalue(name))


def _register_sandbox(scope: str) -> object:
    # A new function each time: pytest-asyncio stores the loop scope on the function.
    async def sandbox(aurpay_clock: FakeClock) -> AsyncIterator[Sandbox]:
        from .sandbox import Sandbox

        async with Sandbox(clock=aurpay_clock) as sandbox:
            yield sandbox

    return _register(sandbox, f"_aurpay_sandbox_{scope}", scope)


def _register_client(scope: str) -> object:
    async def client(aurpay_sandbox: Sandbox) -> AsyncIterator[AurpayClient]:
        async with aurpay_sandbox.client(reference_key=REFERENCE_KEY) as aurpay:
            yield aurpay

    return _register(client, f"_aurpay_client_{scope}", scope)


def _register(function: Callable[..., object], name: str, scope: str) -> object:
    if find_spec("pytest_asyncio"):
        import pytest_asyncio

        decorate: Any = pytest_asyncio.fixture(name=name, loop_scope=cast("Any", scope))
        return decorate(function)
    return pytest.fixture(name=name)(function)


def _require_asyncio(request: pytest.FixtureRequest) -> None:
    """Fail a test at once if the sandbox would not run, or on another event loop."""
    mode = _asyncio_mode(request.config)
    if request.node.get_closest_marker("anyio") is None:
        if mode is None and "anyio_backend" not in request.fixturenames:
            pytest.fail(
                "the fixtures of aurpay_async are asynchronous: install and load "
                "pytest-asyncio, or mark the test with pytest.mark.anyio",
                pytrace=False,
            )
        return
    if mode == "auto":
        pytest.fail(
            "with asyncio_mode = auto, pytest-asyncio runs the fixtures of tests "
            "marked with anyio on another event loop; set asyncio_mode = strict",
            pytrace=False,
        )
    backend = request.getfixturevalue("anyio_backend_name")
    if backend != "asyncio":
        pytest.fail(
            f"the sandbox runs on asyncio, not on {backend}; override the fixture "
            'anyio_backend so that it returns "asyncio"',
            pytrace=False,
        )


def _asyncio_mode(config: pytest.Config) -> str | None:
    """Return the mode of pytest-asyncio; ``None`` if pytest has not loaded it."""
    if not hasattr(config.option, "asyncio_mode"):
        return None
    return str(config.getoption("asyncio_mode") or config.getini("asyncio_mode"))


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """Return the loop scope of the test that requests a fixture."""
    marker = request.node.get_closest_marker("asyncio")
    if marker is None:  # a synchronous test, or one of another plugin
        return "function"
    scope = marker.kwargs.get("loop_scope") or marker.kwargs.get("scope")
    with suppress(ValueError):  # pytest-asyncio before 0.26 has no such setting
        scope = scope or request.config.getini("asyncio_default_test_loop_scope")
    return str(scope or "function")


# pytest collects fixtures from the module's names.
_sandbox_1, _sandbox_2, _sandbox_3, _sandbox_4, _sandbox_5 = map(
    _register_sandbox, _SCOPES
)
_client_1, _client_2, _client_3, _client_4, _client_5 = map(_register_client, _SCOPES)
