"""Three places of a network, as containers have them: names, addresses and ports.

They are network namespaces with one virtual switch (Debian's iproute2; needs root), or
three addresses of the loopback interface.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .postgresql import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The places, and the ports that the compose file gives them.
PORTS = {"sandbox": 8765, "shop": 8000, "postgresql": 5432}

#: `ip netns exec` shows a namespace the files of its folder here in place of /etc.
_FILES = Path("/etc/netns")


class Place(NamedTuple):
    """A place: how it is reached, and how a program is started in it."""

    host: str
    port: int
    enter: tuple[str, ...] = ()


@contextmanager
def namespaces() -> Iterator[Mapping[str, Place]]:
    """Create a network namespace for each place; skip the test where that fails."""
    prefix = f"aurpay-{os.getpid()}"
    switch = f"{prefix}-switch"
    addresses = {name: f"10.87.65.{number}" for number, name in enumerate(PORTS, 2)}
    with ExitStack() as stack:
        try:
            _add_namespace(stack, switch)
            _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
            _ip("-n", switch, "link", "set", "bridge", "up")
            for name, address in addresses.items():
                _add_namespace(stack, f"{prefix}-{name}")
                _connect(f"{prefix}-{name}", address, switch, f"to-{name}"[:15])
                _write_hosts(stack, f"{prefix}-{name}", addresses)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"this machine forbids network namespaces: {error}")
        yield {
            name: Place(name, port, ("ip", "netns", "exec", f"{prefix}-{name}"))
            for name, port in PORTS.items()
        }


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)  # noqa: S607


def _add_namespace(stack: ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    stack.callback(_ip, "netns", "delete", name)


def _connect(namespace: str, address: str, switch: str, port: str) -> None:
    """Plug a cable into a namespace and the switch, and give it an address."""
    end = ("peer", "name", port, "netns", switch)
    _ip("link", "add", "eth0", "netns", namespace, "type", "veth", *end)
    _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", namespace, "link", "set", link, "up")
    _ip("-n", switch, "link", "set", port, "master", "bridge", "up")


def _write_hosts(
    stack: ExitStack, namespace: str, addresses: Mapping[str, str]
) -> None:
    folder = _FILES / namespace
    folder.mkdir(parents=True)
    stack.callback(shutil.rmtree, folder)
    lines = ["127.0.0.1 localhost", *(f"{ip} {n}" for n, ip in addresses.items()), ""]
    (folder / "hosts").write_text("\n".join(lines), encoding="ascii")


@contextmanager
def loopback_addresses() -> Iterator[Mapping[str, Place]]:
    """Give each place an address of its own on loopback, and a free port."""
    places = {
        name: Place(f"127.0.0.{number}", free_port())
        for number, name in enumerate(PORTS, 2)
    }
    for place in places.values():
        try:
            with socket.socket() as listening:
                listening.bind((place.host, place.port))
        except OSError as error:
            pytest.skip(f"{place.host} is not an address of this machine: {error}")
    yield places
