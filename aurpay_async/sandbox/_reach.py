"""How far a sandbox reaches: this machine, unless more was allowed by name.

It is a bank without locks. So it listens where only this machine can ask, answers pages
and programs that ask for it by a name of this machine, and calls nobody else.
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

#: Where it listens, and what clients on this machine ask.
LOOPBACK: Final = "127.0.0.1"

#: The names that a request may use for this machine.
_OWN_NAMES: Final = frozenset({LOOPBACK, "localhost", "[::1]"})

#: What listens everywhere is asked at home.
_ANYWHERE: Final[Mapping[str, str]] = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104

_HOST_HEADER = re.compile(
    r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII
)
#: A name or an address: no scheme, no port, no pattern.
_NAME = re.compile(r"(?![.-])[a-z0-9._-]+(?<![.-])|[0-9a-f:.]*:[0-9a-f:.]*", re.ASCII)


@attrs.frozen(kw_only=True)
class Reach:
    """Where it listens, what it may be called, and whom it may call."""

    host: str = LOOPBACK
    callback_hosts: frozenset[str] = frozenset()
    #: Further names of the sandbox, as in a network of containers.
    allowed_hosts: frozenset[str] = frozenset()
    #: The origin of a proxy before it.
    public_origin: Origin | None = None

    @property
    def is_remote(self) -> bool:
        """Whether other machines can ask."""
        return not is_loopback(self.host)

    @property
    def bound(self) -> str:
        """What to listen on; by its name, this machine may have two addresses."""
        return LOOPBACK if self.host == "localhost" else self.host

    @property
    def origin_host(self) -> str:
        """What to ask for it, as it is written in an URL."""
        host = _ANYWHERE.get(self.bound, self.bound)
        return f"[{host}]" if ":" in host else host

    def is_known_as(self, host_header: str) -> bool:
        """Whether a ``Host`` names it, and not something that only leads here."""
        match = _HOST_HEADER.fullmatch(host_header)
        if match is None:
            return False
        host = match[1].lower()
        if host in _OWN_NAMES or host in self._names:
            return True
        # DNS rebinding gives another machine's name this address; no address is a name.
        return self.is_remote and is_address(host.strip("[]"))

    @property
    def advice(self) -> str:
        """What to call it, for whoever called it something else."""
        own = "127.0.0.1 or localhost"
        if self.is_remote:
            own = f"{self.origin_host}, or any address of this machine"
        return (
            f"ask {own}; another name is allowed with "
            "allowed_hosts=(...) (--allowed-host)"
        )

    @property
    def public_url(self) -> str | None:
        """The origin of its pages, if it is not the one that a client has asked."""
        return None if self.public_origin is None else format_origin(self.public_origin)

    @property
    def needs_plain_http(self) -> bool:
        """Whether its clients speak plain http to something else than loopback."""
        scheme, host, _ = self.public_origin or ("http", self.origin_host, 0)
        return scheme == "http" and not is_loopback(host)

    def may_call(self, host: str) -> bool:
        """Whether callbacks may go there."""
        return is_loopback(host) or host.lower() in self.callback_hosts

    def is_itself(self, host: str, port: int | None, own_port: int) -> bool:
        """Whether a callback would come back to this sandbox on its own port."""
        host = host.lower()
        if self.public_origin is not None and (host, port) == self.public_origin[1:]:
            return True
        return port == own_port and (is_loopback(host) or host in self._names)

    @property
    def _names(self) -> frozenset[str]:
        public = () if self.public_origin is None else (self.public_origin[1],)
        return self.allowed_hosts.union((self.origin_host,), public)


def is_name(host: str) -> bool:
    """Whether this is one host, by its name or its address, in small letters."""
    return _NAME.fullmatch(host) is not None and (":" not in host or is_address(host))


def is_address(host: str) -> bool:
    """Whether this is an IP address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
