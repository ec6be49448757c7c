"""The set-up of the compose file, run in three places of a network instead of images.

Commands, environment and health checks are those of Dockerfile and compose file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from ..support.compose import GIVEN, ROOT, read_command, read_services, read_stages
from ..support.places import PORTS, loopback_addresses, namespaces
from ..support.postgresql import require_programs, unprivileged_user
from .test_shop import login

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..support.places import Place

#: Health checks in a row; importing the shop takes seconds, more under load.
MAX_CHECKS = 300

#: Prints the response to a request: method, URL, and headers as JSON.
ASK = """
import json, sys
from urllib.request import Request, urlopen
method, url, headers = sys.argv[1:]
request = Request(url, None, json.loads(headers), method=method)
with urlopen(request, timeout=60) as response:
    sys.stdout.buffer.write(response.read())
"""


@pytest.mark.parametrize("network", [namespaces, loopback_addresses])
def test_shop_of_the_compose_file_takes_a_payment_over_postgresql(network: Any) -> None:
    programs = require_programs()
    with network() as places, ExitStack() as stack:
        setup = Setup(places, stack)
        setup.start_postgresql(programs)
        setup.start("sandbox")
        setup.start("shop")
        shop = setup.url("shop")
        (path,) = re.findall('action="(.*?)"', setup.ask("GET", shop))
        page = setup.ask("POST", shop + path)
        assert "Waiting for payment" in page
        (order_id,) = set(re.findall("/#/cashier/([0-9]+)", page))
        pay = f"{setup.url('sandbox')}/_sandbox/orders/{order_id}/pay"
        kind = {"Content-Type": "application/json"}
        (sent,) = json.loads(setup.ask("POST", pay, kind))
        assert (sent["error"], sent["status"]) == (None, 200)
        assert sent["url"].startswith(f"{shop}/aurpay/callback?")
        assert "on its way" in setup.ask("GET", shop + path)
        assert "shipment" in setup.ask("GET", f"{shop}/orders", login("honey"))
        assert setup.count_shipments(programs) == 1


class Setup:
    """The services of the compose file, each in its place."""

    def __init__(self, places: Mapping[str, Place], stack: ExitStack) -> None:
        self._places = places
        self._stack = stack
        # Not below pytest's folder, which the user of PostgreSQL cannot enter.
        made = tempfile.TemporaryDirectory(prefix="aurpay-containers-")
        self._folder = Path(stack.enter_context(made))
        self._services, self._stages = read_services(), read_stages()

    def url(self, name: str) -> str:
        """Return the base URL of a service."""
        return f"http://{self._places[name].host}:{self._places[name].port}"

    def start(self, name: str) -> None:
        """Start a service that has an image, and wait until it is healthy."""
        stage, service = self._stages[name], self._services[name]
        words = [*stage.get("ENTRYPOINT", []), *stage.get("CMD", [])]
        command = [word for each in words for word in read_command(each)]
        command += service.get("command", [])
        environment = service.get("environment", {})
        process = self._start(name, self._here(name, command), environment)
        self._wait_healthy(name, read_command(stage["HEALTHCHECK"][0]), process)

    def start_postgresql(self, programs: Path) -> None:
        """Start PostgreSQL as its image does: with a password, at all addresses."""
        service = self._services["postgresql"]
        given = service["environment"]
        user = unprivileged_user()
        if user:
            os.chown(self._folder, user["user"], user["group"])
        (self._folder / "password").write_text(given["POSTGRES_PASSWORD"])
        access = ("-U", given["POSTGRES_USER"], "-A", "scram-sha-256")
        made = ("-D", "data", "--no-sync", "--pwfile=password")
        self._run("postgresql", [*as_postgres(), f"{programs}/initdb", *made, *access])
        with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        options = ("listen_addresses=0.0.0.0", "unix_socket_directories=", "fsync=off")
        settings = [word for option in options for word in ("-c", option)]
        server = [f"{programs}/postgres", "-D", "data", *settings]
        command = [*as_postgres(), *self._here("postgresql", server)]
        process = self._start("postgresql", command, {})
        _, check, *arguments = service["healthcheck"]["test"]
        self._wait_healthy("postgresql", [f"{programs}/{check}", *arguments], process)
        self._query(programs, "postgres", f"CREATE DATABASE {given['POSTGRES_DB']}")

    def count_shipments(self, programs: Path) -> int:
        """Return the number of shipments in the shop's database."""
        return int(self._query(programs, "shop", "SELECT count(*) FROM shipments"))

    def _query(self, programs: Path, database: str, query: str) -> str:
        host = self._here("postgresql", ["127.0.0.1"])
        where = ("-h", *host, "-U", "shop", "-d", database)
        command = [f"{programs}/psql", *where, "-A", "-t", "-c", query]
        return self._run("postgresql", command)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> str:
        """Return the response to a request, sent from the sandbox's place."""
        words = ("-c", ASK, method, url, json.dumps(headers or {}))
        return self._run("sandbox", [sys.executable, *words])

    def _start(
        self, name: str, words: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a program in a place; it is killed at the end of the test."""
        values = self._here(name, [*environment.values()])
        given = dict(zip(environment, values, strict=True))
        output = self._stack.enter_context((self._folder / name).open("wb"))
        process = subprocess.Popen(
            self._command(name, words),
            cwd=self._folder,
            env=self._environment(given),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def _run(self, name: str, words: Sequence[str]) -> str:
        """Run a program in a place to its end, and return its output."""
        done = subprocess.run(
            self._command(name, words),
            cwd=self._folder,
            env=self._environment({}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def _wait_healthy(
        self, name: str, check: Sequence[str], process: subprocess.Popen[bytes]
    ) -> None:
        output = problem = ""
        for _ in range(MAX_CHECKS):
            command = self._command(name, self._here(name, check))
            environment = self._environment({})
            done = subprocess.run(
                command, env=environment, capture_output=True, check=False, text=True
            )
            if done.returncode == 0:
                return
            problem = done.stderr
            output = (self._folder / name).read_text()
            assert process.poll() is None, f"{name} has ended: {output}"
            sleep(0.2)
        pytest.fail(f"{name} is not healthy: {problem} {output}")

    def _environment(self, given: Mapping[str, str]) -> dict[str, str]:
        port = str(self._places["postgresql"].port)
        password = {"PGPASSWORD": GIVEN["POSTGRES_PASSWORD"], "PGPORT": port}
        return {**os.environ, "PYTHONPATH": str(ROOT), **password, **given}

    def _command(self, name: str, words: Sequence[str]) -> list[str]:
        program, *arguments = words
        python = {
            "python": [sys.executable],
            "aurpay": [sys.executable, "-m", "aurpay_async"],
        }
        start = python.get(program, [program])
        return [*self._places[name].enter, *start, *arguments]

    def _here(self, name: str, words: Sequence[str]) -> list[str]:
        """Return strings of the files with the names that are valid here."""
        names = {"/data/": f"{self._folder}/"}
        if not self._places[name].enter:
            names |= self._loopback_names(name)
        pattern = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        return [re.sub(pattern, lambda match: names[match[0]], word) for word in words]

    def _loopback_names(self, name: str) -> dict[str, str]:
        """Return the names that differ where all services share one machine."""
        own = self._places[name].host
        names = {"127.0.0.1": own, "0.0.0.0": own}  # noqa: S104 - of the files
        for other, (host, port, _) in self._places.items():
            given = PORTS[other]
            names |= {str(given): str(port), f"-host={other}": f"-host={host}"}
            for written in (other, "127.0.0.1"):
                names[f"{written}:{given}"] = f"{host}:{port}"
        return names


def as_postgres() -> list[str]:
    """Return the command that gives up the rights of root: PostgreSQL rejects them."""
    user = unprivileged_user()
    if not user:
        return []
    return [
        *("setpriv", f"--reuid={user['user']}", f"--regid={user['group']}"),
        "--clear-groups",
    ]
