"""The hosts that may send requests to a sandbox, and receive its callbacks.

A sandbox has no access control by default. So it listens on loopback, accepts requests
with a Host header of this machine, and sends callbacks to this machine, unless other
hosts are allowed by name.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import attrs

from .._urls import format_origin, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._urls import Origin

#: The default address to listen on.
LOOPBACK: Final = "127.0.0.1"

#: The Host headers that name this machine.
_LOOPBACK_HOSTS: Final = frozenset({LOOPBACK, "localhost", "[::1]"})

#: The address at which clients of this machine reach a wildcard address.
_WILDCARDS: Final[Mapping[str, str]] = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104

_HOST_HEADER = re.compile(
    r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII
)
#: A name or an address: no scheme, no port, no pattern.
_NAME = re.compile(r"(?![.-])[a-z0-9._-]+(?<![.-])|[0-9a-f:.]*:[0-9a-f:.]*", re.ASCII)


@attrs.frozen(kw_only=True)
class HostPolicy:
    """The address to listen on, accepted Host headers and allowed callback hosts."""

    host: str = LOOPBACK
    callback_hosts: frozenset[str] = frozenset()
    #: Further accepted Host headers, as in a network of containers.
    allowed_hosts: frozenset[str] = frozenset()
    #: The origin of a proxy in front of the sandbox.
    public_origin: Origin | None = None

    @property
    def is_remote(self) -> bool:
        """Return whether other machines can connect."""
        return not is_loopback(self.host)

    @property
    def bind_address(self) -> str:
        """Return the address to listen on; localhost may have two."""
        return LOOPBACK if self.host == "localhost" else self.host

    @property
    def origin_host(self) -> str:
        """Return the host of the base URL, with brackets around an IPv6 address."""
        host = _WILDCARDS.get(self.bind_address, self.bind_address)
        return f"[{host}]" if ":" in host else host

    def accepts_host(self, host_header: str) -> bool:
        """Return whether a ``Host`` header names this sandbox."""
        match = _HOST_HEADER.fullmatch(host_header)
        if match is None:
            return False
        host = match[1].lower()
        if host in _LOOPBACK_HOSTS or host in self._names:
            return True
        # DNS rebinding resolves a foreign name to this machine; it needs a name.
        return self.is_remote and is_address(host.strip("[]"))

    @property
    def accepted_hosts(self) -> str:
        """Return which hosts are accepted, for the error message."""
        own = "127.0.0.1 or localhost"
        if self.is_remote:
            own = f"{self.origin_host} or any IP address"
        return (
            f"use {own} as the host; allow another name with "
            "allowed_hosts=(...) (--allowed-host)"
        )

    @property
    def public_url(self) -> str | None:
        """Return the origin of the pages, if it differs from the requested one."""
        return None if self.public_origin is None else format_origin(self.public_origin)

    @property
    def needs_plain_http(self) -> bool:
        """Return whether clients use plain HTTP to another host than loopback."""
        scheme, host, _ = self.public_origin or ("http", self.origin_host, 0)
        return scheme == "http" and not is_loopback(host)

    def allows_callback_to(self, host: str) -> bool:
        """Return whether callbacks may be sent to this host."""
        return is_loopback(host) or host.lower() in self.callback_hosts

    def is_own_address(self, host: str, port: int | None, own_port: int) -> bool:
        """Return whether a callback to this host and port would reach this sandbox."""
        host = host.lower()
        if self.public_origin is not None and (host, port) == self.public_origin[1:]:
            return True
        return port == own_port and (is_loopback(host) or host in self._names)

    @property
    def _names(self) -> frozenset[str]:
        public = () if self.public_origin is None else (self.public_origin[1],)
        return self.allowed_hosts.union((self.origin_host,), public)


def is_name(host: str) -> bool:
    """Return whether this is one host name or address, in lower case."""
    return _NAME.fullmatch(host) is not None and (":" not in host or is_address(host))


def is_address(host: str) -> bool:
    """Return whether this is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
