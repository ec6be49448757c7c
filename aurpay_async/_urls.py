"""Web addresses, read by one strict grammar.

Whatever readers of URLs disagree about (userinfo, backslashes, blanks, control
characters, host names in other scripts) is refused instead of interpreted, so that
no two programs can take one address for two places.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .errors import shown

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

#: Scheme, host and port: who is spoken to. Lower case, port always given.
Origin = tuple[str, str, int]

#: Longer ones break in proxies, logs and mails.
MAX_URL_LENGTH: Final = 2048

_MAX_PORT = 65535
_DEFAULT_PORTS = {"https": 443, "http": 80}

_URL = re.compile(
    r"([Hh][Tt][Tt][Pp][Ss]?)://"
    r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"  # the host
    r"(?::([0-9]{1,5}))?"  # the port
    r"(?:[/?#][^\x00-\x20\x7f\\]*)?"
)


class UrlError(ValueError):
    """Not an address we take. Each caller turns it into an error of its own kind."""


def parse_origin(url: str) -> Origin:
    """Who an absolute http or https URL points at.

    Raises:
        UrlError: what is wrong with it, and what to write instead.
    """
    match = _URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
    # Not printable: bidi and other format characters, lone surrogates, and blanks.
    if match is None or not (url.isascii() or url.isprintable()):
        raise UrlError(_what_is_wrong(url))
    scheme, host, digits = match.groups()
    scheme, host = scheme.lower(), host.lower()
    port = int(digits) if digits else _DEFAULT_PORTS[scheme]
    if not 0 < port <= _MAX_PORT:
        raise UrlError(f"there is no port {port}")
    _require_host(host)
    return scheme, host, port


def _require_host(host: str) -> None:
    # Between dots, so that no name begins or ends with anything but itself.
    names = f".{host.removesuffix('.')}."
    if ".." in names or ".-" in names or "-." in names:
        raise UrlError(f"has no valid host: {shown(host)}")
    # WHATWG URL, 3.5: a host whose last name is a number is an IP address, or none.
    last = names[names.rindex(".", 0, -1) + 1]
    if (last.isdigit() or host[0] == "[") and _ip_address(host) is None:
        raise UrlError(f"{shown(host)} is no IP address")


def require_secure(origin: Origin, *, allow_http: bool = False) -> None:
    """Reject plain http, except to this very machine.

    Args:
        origin: Who is spoken to.
        allow_http: Accept plain http to any host: for a network without real money.

    Raises:
        UrlError: if `origin` is neither https nor loopback, and http is not allowed.
    """
    scheme, host, _ = origin
    if scheme != "https" and not allow_http and not is_loopback(host):
        raise UrlError(
            "must start with https:// (http is for loopback only, or with "
            "allow_http=True for a test network)"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine."""
    if host == "localhost":
        return True
    address = _ip_address(host)
    return address is not None and address.is_loopback


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    # Here and not above: most hosts are names, and it is slow to load.
    from ipaddress import ip_address

    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def format_origin(origin: Origin) -> str:
    """An URL of `origin`, without a path."""
    scheme, host, port = origin
    return f"{scheme}://{host}" + (f":{port}" if port != _DEFAULT_PORTS[scheme] else "")


def without_query(url: str) -> str:
    """`url` as far as it may be shown: no query, no fragment, no password."""
    page = re.split("[?#]", url, maxsplit=1)[0]
    _, user, rest = page.rpartition("@")
    return f"...@{rest}" if user else page


def _what_is_wrong(url: str) -> str:  # noqa: PLR0911 - one per reason
    if len(url) > MAX_URL_LENGTH:
        return f"longer than {MAX_URL_LENGTH} characters"
    page = shown(without_query(url))
    if not url.isprintable() or " " in url:
        return f"holds a blank or an invisible character, percent-encode it: {page}"
    if "\\" in url:
        return "holds a backslash; write / or %5C"
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        return f"must be absolute, like https://shop.example/paid, not {page}"
    if scheme.lower() not in _DEFAULT_PORTS:
        return f"the scheme must be https, not {shown(scheme)}"
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return "names a user before the host; remove everything up to the @"
    if not authority.isascii():
        return _ascii_hint(authority)
    return f"has no valid host: {shown(authority)}"


def _ascii_hint(authority: str) -> str:
    host, _, _ = authority.partition(":")
    name = _ascii_name(host)
    if name is None:
        return f"the host must be ASCII, not {shown(host)}"
    return f"the host must be ASCII; write {name} for {shown(host)}"


def _ascii_name(host: str) -> str | None:
    """Return the ASCII form of a host by IDNA 2008, if it is the same name.

    Python's codec is IDNA 2003, which turns the sharp s into ss and the final sigma
    into another one: in many registries, names of other owners. RFC 5891 keeps them.
    Nothing is mapped here but ASCII capitals, and a name that does not decode to
    itself is none.
    """
    # Here and not above: its tables are large, and few programs write such hosts.
    import idna

    plain = host.encode().lower().decode()
    try:
        name = idna.encode(plain).decode("ascii")
        is_same = idna.decode(name) == plain
    except UnicodeError:
        return None
    match = _URL.fullmatch(f"https://{name}")
    return name if is_same and match is not None and match[2] == name else None
