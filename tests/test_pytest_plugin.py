"""The pytest fixtures for merchants: in both modes, on several processors."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from aurpay_async import pytest_plugin

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async import AurpayClient
    from aurpay_async.sandbox import Sandbox
    from aurpay_async.testing import FakeClock

SHOP = """
import pytest
from aurpay_async.pytest_plugin import REFERENCE_KEY

@pytest.mark.asyncio
async def test_checkout(aurpay_client, aurpay_sandbox, aurpay_clock):
    order = await aurpay_client.create_order("20.00", "USD", reference="cart-42")
    assert order.reference == "cart-42"
    aurpay_clock.advance(60)
    await aurpay_sandbox.pay(order.order_id)
    aurpay_sandbox.assert_orders(1, status="SUCCESS")
    assert (await aurpay_client.wait_for_payment(order)).outcome == "paid"

@pytest.mark.asyncio
async def test_each_test_has_its_own(aurpay_sandbox):
    aurpay_sandbox.assert_orders(0)

@pytest.mark.asyncio(loop_scope="session")
async def test_on_the_loop_of_the_session(aurpay_client, aurpay_sandbox):
    await aurpay_client.create_order("20.00", "USD")
    aurpay_sandbox.assert_orders(1)

@pytest.mark.asyncio(loop_scope="module")
async def test_on_the_loop_of_the_module(aurpay_client, aurpay_sandbox):
    await aurpay_client.create_order("20.00", "USD")
    aurpay_sandbox.assert_orders(1)

def test_without_a_loop(aurpay_sandbox):
    aurpay_sandbox.assert_orders(0)
"""


#: pytest-asyncio requires this setting.
SETTINGS = """
[pytest]
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""

#: The plugins of a merchant's suite. Other installed plugins, and rewriting assertions
#: in packages with a plugin, would only take time.
NEEDED = {"asyncio", "aurpay_async", "xdist"}
LIGHT = [
    "--assert=plain",
    *(f"-pno:{p.name}" for p in entry_points(group="pytest11") if p.name not in NEEDED),
]


@pytest.mark.slow
def test_the_plugin_works_in_a_merchant_s_suite_in_strict_mode_with_xdist(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_shop.py").write_text(SHOP)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "pytest", "-q", *LIGHT, "-n", "2", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "5 passed" in done.stdout, done.stdout + done.stderr


ANYIO = """
import pytest

pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def order(aurpay_client):
    return await aurpay_client.create_order("20.00", "USD")

async def test_checkout(order, aurpay_client, aurpay_sandbox):
    await aurpay_sandbox.pay(order.order_id)
    assert (await aurpay_client.get_order(order.order_id)).status.is_paid

async def test_next_one(aurpay_sandbox):
    aurpay_sandbox.assert_orders(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "result", "message"),
    [("strict", "2 passed", ""), ("auto", "2 errors", "set asyncio_mode = strict")],
)
def test_the_fixtures_work_in_tests_of_anyio_or_name_the_setting_that_is_wrong(
    tmp_path: Path, mode: str, result: str, message: str
) -> None:
    (tmp_path / "test_shop.py").write_text(ANYIO)
    (tmp_path / "pytest.ini").write_text(f"{SETTINGS}asyncio_mode = {mode}\n")
    light = [option for option in LIGHT if option != "-pno:anyio"]
    command = [sys.executable, "-m", "pytest", "-q", *light, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result in done.stdout, done.stdout + done.stderr
    assert message in done.stdout


ASYNC_ALONE = """
async def test_checkout(aurpay_sandbox):
    aurpay_sandbox.assert_orders(0)
"""


@pytest.mark.slow
def test_the_fixtures_work_under_anyio_without_pytest_asyncio(tmp_path: Path) -> None:
    # The folder may lie below this repository, and its settings must not apply.
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_shop.py").write_text(ANYIO)
    (tmp_path / "test_unmarked.py").write_text(ASYNC_ALONE)
    light = [option for option in LIGHT if option != "-pno:anyio"]
    command = [sys.executable, "-m", "pytest", "-q", *light, "-pno:asyncio"]
    done = subprocess.run(
        [*command, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "pytest-asyncio, or mark the test with pytest.mark.anyio" in done.stdout


@pytest.mark.parametrize(
    ("marker", "fixtures", "fails"),
    [
        (None, [], True),
        (None, ["anyio_backend"], False),
        ("a marker", [], False),
    ],
)
def test_fixtures_without_pytest_asyncio_need_a_test_of_anyio(
    marker: Any, fixtures: list[str], fails: bool
) -> None:
    request = mark_anyio("auto", "asyncio")
    request.config.option = None
    request.node.get_closest_marker.return_value = marker
    request.fixturenames = fixtures
    if not fails:
        pytest_plugin._require_asyncio(request)
        return
    with pytest.raises(pytest.fail.Exception, match="load pytest-asyncio, or mark"):
        pytest_plugin._require_asyncio(request)


def mark_anyio(mode: str, backend: str) -> Any:
    """Return the request of a test that is marked with anyio."""
    request = mock.Mock()
    request.config.getoption.return_value = None
    request.config.getini.return_value = mode
    request.getfixturevalue.return_value = backend
    return request


def test_a_test_of_anyio_fails_at_once_under_asyncio_mode_auto() -> None:
    with pytest.raises(pytest.fail.Exception, match="set asyncio_mode = strict"):
        pytest_plugin._require_asyncio(mark_anyio("auto", "asyncio"))
    pytest_plugin._require_asyncio(mark_anyio("strict", "asyncio"))


def test_a_test_of_anyio_fails_at_once_under_trio() -> None:
    with pytest.raises(pytest.fail.Exception, match="on asyncio, not on trio"):
        pytest_plugin._require_asyncio(mark_anyio("strict", "trio"))


def test_the_plugin_loads_without_pytest_asyncio(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pytest_plugin, "find_spec", lambda _: None)

    async def thing() -> None:
        """Do nothing."""

    assert "thing" in repr(pytest_plugin._register(thing, "a_name", "function"))


@pytest.mark.parametrize(
    ("marker", "setting", "scope"),
    [
        (None, "session", "function"),
        (pytest.mark.asyncio, "", "function"),
        (pytest.mark.asyncio, "session", "session"),
        (pytest.mark.asyncio(loop_scope="module"), "session", "module"),
        (pytest.mark.asyncio(scope="class"), "session", "class"),
        (pytest.mark.asyncio, ValueError, "function"),
    ],
)
def test_the_loop_scope_of_a_test_is_that_of_its_marker_or_of_the_setting(
    marker: Any, setting: Any, scope: str
) -> None:
    request = mock.Mock()
    request.node.get_closest_marker.return_value = marker and marker.mark
    request.config.getini.side_effect = [setting]
    assert pytest_plugin._loop_scope(request) == scope


async def test_a_failed_assertion_about_orders_shows_the_orders_and_requests(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox
) -> None:
    order = await aurpay_client.create_order("20.00", "USD")
    aurpay_sandbox.assert_orders(1)
    aurpay_sandbox.assert_orders(0, status="SUCCESS")
    with pytest.raises(AssertionError) as caught:
        aurpay_sandbox.assert_orders(1, status="SUCCESS")
    assert str(caught.value).splitlines() == [
        "expected 1 SUCCESS orders, found 0:",
        f"  {order.order_id} PENDING 20.00 USD",
        "1 requests were received:",
        "  POST /api/bln/order",
    ]
    with pytest.raises(AssertionError, match="expected 2 orders, found 1:"):
        aurpay_sandbox.assert_orders(2)


async def test_a_failed_assertion_about_callbacks_shows_the_callbacks_and_responses(
    aurpay_client: AurpayClient, aurpay_sandbox: Sandbox, aurpay_clock: FakeClock
) -> None:
    aurpay_sandbox.assert_callbacks()
    url = "https://shop.example/paid?secret=1"
    order = await aurpay_client.create_order("20.00", "USD", callback_url=url)
    assert (order.create_time, aurpay_clock.sleeps) == (aurpay_clock.now(), [])
    await aurpay_sandbox.pay(order.order_id)
    with pytest.raises(AssertionError) as caught:
        aurpay_sandbox.assert_callbacks("paid")
    assert str(caught.value).splitlines() == [
        "expected callbacks: paid answered with 200; 1 were sent:",
        "  paid GET https://shop.example/paid: not sent: not on this machine",
    ]
    with pytest.raises(AssertionError, match="expected callbacks: none; 1 were sent:"):
        aurpay_sandbox.assert_callbacks()
