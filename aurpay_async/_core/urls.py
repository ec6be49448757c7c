"""Parse and validate URLs with one strict grammar.

URL parsers disagree about userinfo, backslashes, blanks, control characters and host
names in other scripts. A URL with one of these is rejected, so that no two programs can
send the same URL to different servers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ..errors import shown

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

#: Scheme, host and port, in lower case.
Origin = tuple[str, str, int]

#: Longer URLs break in proxies, logs and mails.
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
    """A URL that is not accepted. Each caller raises its public error from it."""


def parse_origin(url: str) -> Origin:
    """Return the origin of an absolute http or https URL.

    Raises:
        UrlError: with what is wrong and what to write instead.
    """
    match = _URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
    # isprintable() rejects bidi and other format characters, surrogates and blanks.
    if match is None or not (url.isascii() or url.isprintable()):
        raise UrlError(_find_problem(url))
    return _to_origin(*match.groups())


@lru_cache(maxsize=256)  # the URLs of a shop have few origins
def _to_origin(scheme: str, host: str, digits: str | None) -> Origin:
    scheme, host = scheme.lower(), host.lower()
    port = int(digits) if digits else _DEFAULT_PORTS[scheme]
    if not 0 < port <= _MAX_PORT:
        raise UrlError(f"there is no port {port}")
    _require_host(host)
    return scheme, host, port


def _require_host(host: str) -> None:
    # With a dot on both sides, the checks for "." and "-" cover both ends of a label.
    labels = f".{host.removesuffix('.')}."
    if ".." in labels or ".-" in labels or "-." in labels:
        raise UrlError(f"has no valid host: {shown(host)}")
    # WHATWG URL, 3.5: if the last label is a number, the host must be an IP address.
    last = labels[labels.rindex(".", 0, -1) + 1]
    if (last.isdigit() or host[0] == "[") and _ip_address(host) is None:
        raise UrlError(f"{shown(host)} is not an IP address")


def require_secure(origin: Origin, *, allow_http: bool = False) -> None:
    """Reject plain http, except to loopback.

    Args:
        origin: The origin to check.
        allow_http: Accept plain http to any host, for a network without real money.

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
    """Return whether a host is the loopback interface."""
    if host == "localhost":
        return True
    address = _ip_address(host)
    return address is not None and address.is_loopback


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    # Imported on use: most hosts are names, and it is slow to load.
    from ipaddress import ip_address

    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def format_origin(origin: Origin) -> str:
    """Return the URL of an origin, without a path."""
    scheme, host, port = origin
    return f"{scheme}://{host}" + (f":{port}" if port != _DEFAULT_PORTS[scheme] else "")


def escape_control(text: str) -> str:
    r"""Return `text` with each unprintable character as its escape, such as ``\x1b``.

    Python counts as unprintable: controls, format characters (bidi among them),
    surrogates, and separators other than the space.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def without_query(url: str) -> str:
    """Return a URL without query, fragment and password, for messages."""
    page = re.split("[?#]", url, maxsplit=1)[0]
    _, user, rest = page.rpartition("@")
    return f"...@{rest}" if user else page


def _find_problem(url: str) -> str:  # noqa: PLR0911 - one per reason
    if len(url) > MAX_URL_LENGTH:
        return f"longer than {MAX_URL_LENGTH} characters"
    page = shown(without_query(url))
    if not url.isprintable() or " " in url:
        return f"contains a blank or an invisible character, percent-encode it: {page}"
    if "\\" in url:
        return "contains a backslash; write / or %5C"
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        return f"must be absolute, like https://shop.example, not {page}"
    if scheme.lower() not in _DEFAULT_PORTS:
        return f"the scheme must be https, not {shown(scheme)}"
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return "contains userinfo; remove everything up to the @"
    host = authority.partition(":")[0]
    if not authority.isascii() and (name := _ascii_name(host)):
        return f"the host must be ASCII; write {name} for {shown(host)}"
    if not authority.isascii():
        return f"the host must be ASCII, not {shown(host)}"
    return f"has no valid host: {shown(authority)}"


def _ascii_name(host: str) -> str | None:
    """Return the ASCII form of a host by IDNA 2008, if it denotes the same host.

    Python's codec implements IDNA 2003, which maps the sharp s to ss and the final
    sigma to sigma: in many registries, names of other owners. RFC 5891 does not map
    them. Only ASCII capitals are mapped here, and a name that does not decode to itself
    is rejected.
    """
    # Imported on use: its tables are large, and few programs use such hosts.
    import idna

    lowered = host.encode().lower().decode()
    try:
        name = idna.encode(lowered).decode("ascii")
        is_same = idna.decode(name) == lowered
    except UnicodeError:
        return None
    match = _URL.fullmatch(f"https://{name}")
    return name if is_same and match is not None and match[2] == name else None
