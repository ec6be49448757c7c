"""Web addresses, read by one strict grammar.

Whatever readers of URLs disagree about (userinfo, backslashes, blanks, control
characters, host names in other scripts) is refused instead of interpreted, so that
no two programs can take one address for two places.
"""

from __future__ import annotations

import re
from typing import Final

from .errors import shown

#: Scheme, host and port: who is spoken to. Lower case, port always given.
Origin = tuple[str, str, int]

#: Longer ones break in proxies, logs and mails.
MAX_URL_LENGTH: Final = 2048

_MAX_PORT = 65535
_DEFAULT_PORTS = {"https": 443, "http": 80}

_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?#].*)?",
    re.IGNORECASE | re.ASCII,
)
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")


class UrlError(ValueError):
    """Not an address we take. Each caller turns it into an error of its own kind."""


def read_origin(url: str) -> Origin:
    """Who an absolute http or https URL points at.

    Raises:
        UrlError: what is wrong with it, and what to write instead.
    """
    match = _URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
    # Not printable: control, bidi and other format characters, lone surrogates, and
    # every blank but the ASCII one.
    if match is None or not url.isprintable() or " " in url or "\\" in url:
        raise UrlError(_what_is_wrong(url))
    scheme = match["scheme"].lower()
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    if not 0 < port <= _MAX_PORT:
        raise UrlError(f"there is no port {port}")
    return scheme, match["host"].lower(), port


def require_secure(origin: Origin) -> None:
    """Refuse plain http, except to this very machine.

    Raises:
        UrlError: if `origin` is neither https nor loopback.
    """
    scheme, host, _ = origin
    if scheme != "https" and not _LOOPBACK.fullmatch(host):
        raise UrlError("must start with https:// (http is for loopback only)")


def format_origin(origin: Origin) -> str:
    """An URL of `origin`, without a path."""
    scheme, host, port = origin
    return f"{scheme}://{host}" + (f":{port}" if port != _DEFAULT_PORTS[scheme] else "")


def without_query(url: str) -> str:
    """`url` as far as it may be shown: a query may hold anything."""
    return url.partition("?")[0]


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
        return _punycode_hint(authority)
    return f"has no valid host: {shown(authority)}"


def _punycode_hint(authority: str) -> str:
    host, _, _ = authority.partition(":")
    try:
        ascii_host = host.encode("idna").decode("ascii")
    except UnicodeError:
        return f"the host must be ASCII: {shown(host)}"
    return f"the host must be ASCII; write {ascii_host} for {shown(host)}"
