"""The recipes of docs/serving.md: the FastAPI shop in servers of their own.

They need gunicorn: ``nox -s examples``, or ``AURPAY_TEST_EXAMPLES=1``.
"""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._fault_responses import RawConnection

from ..support.postgresql import free_port, unprivileged_user, wait_for
from .test_fastapi_page import PATIENCE_S, ask, write_shop
from .waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ..support.postgresql import Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")
KEY = "sandbox-reference-key"

#: Written behind the shop: each process that loads it adds its number.
LOADED = """
with open("loaded", "a") as log:
    print(os.getpid(), file=log)
"""

#: The file that includes the page's part; its paths are in the test's folder.
NGINX = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{}}
http {{
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {part}
}}
"""


def recipe(program: str) -> list[str]:
    """Return the command of the page that runs a server."""
    (command,) = re.findall(rf"```sh\n({program} .*?)```", PAGE, re.DOTALL)
    return shlex.split(command.replace("\\\n", ""))


class Shop:
    """The shop of docs/orders.md in a folder, and its sandbox."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = f"sqlite+aiosqlite:///{folder / 'orders.db'}"

    @contextmanager
    def served(self, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of the page on the shop's port; kill it at the end."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        environment = {
            **inherited,
            "AURPAY_API_KEY": "any",
            "AURPAY_BASE_URL": self.sandbox.base_url,
            "AURPAY_CALLBACK_SECRET": self.sandbox.callback_secret,
            "AURPAY_NETWORK": "regtest",
            "AURPAY_REFERENCE_KEY": KEY,
            "AURPAY_DATABASE": self.database,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        words = [word.replace("8000", str(self.port)) for word in command]
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=environment,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def write(self, url: str) -> None:
        """Write the shop with a public address."""
        write_shop(self.folder, url)
        file = self.folder / "shop.py"
        file.write_text(file.read_text("utf-8") + LOADED, encoding="utf-8")
        shutil.copy(ROOT / "examples" / "gunicorn_worker.py", self.folder)

    async def states(self) -> list[AttemptState]:
        """Return the states of all attempts in the database."""
        async with (
            self.sandbox.client(reference_key=KEY) as aurpay,
            OrderStore(aurpay, self.database) as store,
        ):
            return [attempt.state for attempt in await store.list_attempts()]


async def exit_status(process: subprocess.Popen[bytes]) -> int:
    """Return the exit status of a program."""
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.to_thread(process.wait)


async def until_refused(port: int) -> None:
    """Wait until a server accepts no connection any more."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.05)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that is not served yet."""
    async with Sandbox() as sandbox:
        shop = Shop(sandbox, tmp_path)
        shop.write(shop.url)
        yield shop


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Hold delayed answers of the sandbox back until this is set."""
    released = asyncio.Event()

    async def wait(*_: Any) -> None:
        await released.wait()

    monkeypatch.setattr(RawConnection, "pause", wait)
    return released


@pytest.mark.parametrize("program", ["uvicorn", "gunicorn", "hypercorn"])
async def test_server_of_the_page_fulfils_once_and_ends_its_creates_before_it_exits(
    shop: Shop, program: str, held: asyncio.Event
) -> None:
    with shop.served(recipe(program)) as process:
        await ask("GET", f"{shop.url}/shipments")
        async with asyncio.TaskGroup() as browsers:
            pay = f"{shop.url}/carts/1/pay"
            asked = [browsers.create_task(ask("POST", pay)) for _ in range(8)]
        (paid,) = shop.sandbox.orders
        assert {task.result()["order_id"] for task in asked} == {paid}
        shop.sandbox.callback_faults.push("twice")
        await shop.sandbox.pay(paid)
        shop.sandbox.assert_callbacks("paid", "paid")
        assert await ask("GET", f"{shop.url}/shipments") == ["cart-1"]
        # With gunicorn, the workers use what the master has loaded.
        loaded = (shop.folder / "loaded").read_text("utf-8").split()
        assert loaded == [str(process.pid)]

        shop.sandbox.faults.push("delay")
        paying = asyncio.create_task(ask("POST", f"{shop.url}/carts/2/pay"))
        await until(lambda: len(shop.sandbox.orders) == 2)
        process.send_signal(signal.SIGTERM)
        await until_refused(shop.port)
        held.set()
        assert (await paying)["order_id"] in shop.sandbox.orders
        status = -signal.SIGTERM if program == "uvicorn" else 0
        assert await exit_status(process) == status
    assert await shop.states() == [AttemptState.PAYABLE, AttemptState.PAID]


@pytest.mark.parametrize("program", ["uvicorn", "hypercorn"])
async def test_order_of_a_request_cancelled_by_the_shutdown_is_stored(
    shop: Shop, program: str, held: asyncio.Event
) -> None:
    shop.sandbox.faults.push("delay")
    command = ["1" if word == "30" else word for word in recipe(program)]
    with shop.served(command) as process:
        await ask("GET", f"{shop.url}/shipments")
        async with aiohttp.ClientSession() as browser:
            paying = asyncio.create_task(browser.post(f"{shop.url}/carts/1/pay"))
            await until(lambda: shop.sandbox.orders)
            process.send_signal(signal.SIGTERM)
            with suppress(aiohttp.ClientError):  # the connection may be closed
                async with await paying as response:
                    assert response.status == 500
        held.set()
        await exit_status(process)
    assert await shop.states() == [AttemptState.PAYABLE]


@contextmanager
def nginx(shop: Shop, section: str) -> Iterator[tuple[int, Path]]:
    """Run nginx with a section's part before a shop; yield its port and its folder."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("needs nginx (Debian's nginx-light)")
    text = PAGE.partition(f"## {section}\n")[2]
    found = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert found is not None
    part, port = found[1], free_port()
    for old, new in {
        "listen 8080": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{shop.port}",
        "127.0.0.1:8001": f"127.0.0.1:{free_port()}",
        "/var/log/nginx/": "",
    }.items():
        assert old in part or old.endswith("8001")
        part = part.replace(old, new)
    who = unprivileged_user()
    with tempfile.TemporaryDirectory(prefix="aurpay-nginx-") as name:
        folder = Path(name)
        (folder / "nginx.conf").write_text(NGINX.format(part=part), encoding="utf-8")
        if who:
            os.chown(folder, who["user"], who["group"])
        where = ("-p", name, "-c", "nginx.conf", "-e", "stderr")
        process = subprocess.Popen([program, *where], **who)
        try:
            wait_for(port, process)
            yield port, folder
        finally:
            process.terminate()  # the master ends its worker
            process.wait()


@pytest.mark.parametrize("root_path", ["", "/eu"])
async def test_shop_behind_nginx_with_a_prefix_is_paid_and_no_query_is_logged(
    shop: Shop, root_path: str
) -> None:
    with nginx(shop, "nginx with a path prefix") as (port, folder):
        url = f"http://127.0.0.1:{port}/eu"
        shop.write(url)
        file = shop.folder / "shop.py"
        code = file.read_text("utf-8")
        # nginx would decode this path if it parsed it.
        encoded = code.replace("{SHOP}/aurpay/callback", "{SHOP}/aurpay/%63allback")
        assert encoded != code
        file.write_text(encoded, encoding="utf-8")
        command = [*recipe("uvicorn"), "--root-path", root_path]
        with shop.served(command):
            await ask("GET", f"{shop.url}/shipments")
            order = await ask("POST", f"{url}/carts/1/pay")
            await shop.sandbox.pay(order["order_id"])
            shop.sandbox.assert_callbacks("paid")
            assert await ask("GET", f"{url}/shipments") == ["cart-1"]
        (sent,) = shop.sandbox.callbacks
        assert "%63allback?" in sent.url
        async with aiohttp.ClientSession() as browser:
            for path in ("/metrics", "/ready"):
                async with browser.get(url + path) as response:
                    assert response.status == 404
                    assert "nginx" in await response.text()
            callback = f"{url}/aurpay/callback?aurpay_reference=cart"
            async with browser.get(callback) as response:
                assert response.status == 502  # the shop is not served any more
        log = (folder / "shop.log").read_text("utf-8")
        assert '/eu/aurpay/callback" 502' in log
        assert '/eu/aurpay/callback" 200' in log
        assert "?" not in log
        assert (folder / "shop-error.log").read_text("utf-8") == ""


async def test_shop_behind_nginx_is_paid_while_one_of_its_two_processes_is_down(
    shop: Shop,
) -> None:
    with nginx(shop, "nginx with two processes") as (port, folder):
        url = f"http://127.0.0.1:{port}"
        shop.write(url)
        with shop.served(recipe("uvicorn")):
            await ask("GET", f"{shop.url}/shipments")
            order = await ask("POST", f"{url}/carts/1/pay")
            await shop.sandbox.pay(order["order_id"])
            shop.sandbox.assert_callbacks("paid")
            assert await ask("GET", f"{url}/shipments") == ["cart-1"]
        async with aiohttp.ClientSession() as browser:
            for path in ("/metrics", "/metrics/", "/ready"):
                async with browser.get(url + path) as response:
                    assert response.status == 404
        log = (folder / "shop.log").read_text("utf-8")
        assert '/aurpay/callback" 200' in log
        assert "?" not in log


@contextmanager
def deployed(
    shop: Shop, bash: str, second: int, database: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the page's commands but for the installation; kill its processes at the end.

    The script creates the file `deployed` when the last command has succeeded.
    """
    text = PAGE.partition("## Deploy the complete shop")[2]
    (commands,) = re.findall(r"```sh\npip [^\n]*\n(.*?)```", text, re.DOTALL)
    for old, new in {
        "postgresql+asyncpg://shop:made-up@db.example/shop": database,
        "-h db.example -U shop -d shop": database.replace("+asyncpg", ""),
        "made-up-callback-token": shop.sandbox.callback_token or "",
        "made-up-callback-secret": shop.sandbox.callback_secret,
        "8000": str(shop.port),
        "8001": str(second),
    }.items():
        assert old in commands
        commands = commands.replace(old, new)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("COV")},
        "AURPAY_BASE_URL": shop.sandbox.base_url,
        "AURPAY_NETWORK": "regtest",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    log = (shop.folder / "deploy.log").open("wb")
    process = subprocess.Popen(
        [bash, "-c", f"set -eu\n{commands}touch deployed; wait\n"],
        cwd=shop.folder,
        env=environment,
        start_new_session=True,
        stderr=log,
    )
    try:
        yield process
    finally:
        log.close()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def test_complete_shop_is_deployed_by_the_commands_of_the_page(
    shop: Shop, postgresql: Server
) -> None:
    pytest.importorskip("opentelemetry.exporter.prometheus")
    bash, *others = (shutil.which(program) for program in ("bash", "psql", "curl"))
    if bash is None or None in others:
        pytest.skip("needs bash, psql and curl")
    second = free_port()
    with deployed(shop, bash, second, postgresql.new_database()) as process:
        ready = shop.folder / "deployed"
        await until(lambda: ready.exists() or process.poll() is not None, PATIENCE_S)
        assert process.poll() is None
        order = await ask("POST", f"{shop.url}/carts/1/pay")
        await shop.sandbox.pay(order["order_id"])
        shop.sandbox.assert_callbacks("paid")
        fulfilled = await ask("GET", f"http://127.0.0.1:{second}/shipments")
        assert fulfilled == ["cart-1"]
        async with (
            aiohttp.ClientSession() as prometheus,
            prometheus.get(f"{shop.url}/metrics") as response,
        ):
            assert "aurpay_callbacks_total" in await response.text()
        log = (shop.folder / "deploy.log").read_text("utf-8")
        assert re.search(
            r"^2.* INFO aurpay_async.orders: payment recorded", log, re.MULTILINE
        )


def test_systemd_unit_of_the_page_starts_the_process_of_the_commands() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    (text,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    unit.read_string(text.replace("\\\n", ""))
    (loop,) = re.findall(r" (uvicorn shop_metrics.*?) &\n", PAGE, re.DOTALL)
    command = shlex.split(loop.replace("\\\n", ""))
    program, *options = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).name == command[0]
    assert ["$port" if word == "%i" else word for word in options] == command[1:]
    assert f"`TimeoutStopSec={unit['Service']['TimeoutStopSec']}`" in PAGE
    assert f"`KillMode={unit['Service']['KillMode']}`" in PAGE
