"""The proxy set in the environment for an origin, validated before its first use.

The variables are read as in curl and requests: ``https_proxy`` or ``http_proxy`` by
the scheme of the origin, else ``all_proxy``; ``no_proxy`` lists hosts, with or without
a port. A value may contain a password, so no message and no traceback shows it.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from ..errors import ConfigurationError

#: The schemes of proxies that aiohttp supports.
_SCHEMES: Final = frozenset({"http", "https"})


def proxy_from_env(origin: URL) -> URL | None:
    """Return the proxy for `origin`, or None.

    aiohttp's own ``trust_env`` is not used: it reads ``.netrc`` as well and sends the
    credentials that it finds there.

    Raises:
        ConfigurationError: naming the variable if its value is not a usable proxy.
    """
    if proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    for kind in (origin.scheme, "all"):
        if kind in getproxies():
            return require_proxy(getproxies()[kind], _variable_name(f"{kind}_proxy"))
    return None


def require_proxy(proxy: str | URL | None, source: str) -> URL | None:
    """Return a proxy as a URL that aiohttp can use.

    Raises:
        ConfigurationError: naming `source`.
    """
    if proxy is None:
        return None
    problem = _proxy_problem(proxy)
    if problem is None:
        return URL(proxy)
    del proxy  # tracebacks can show local names
    raise ConfigurationError(f"{source} {problem}")


def _proxy_problem(proxy: str | URL) -> str | None:
    try:
        url = URL(proxy)
    except ValueError:
        url = URL()
    if url.scheme.startswith("socks"):
        return (
            "is a SOCKS proxy, which aiohttp does not support: pass session= with a "
            "connector that does, such as ProxyConnector of aiohttp-socks"
        )
    if url.scheme in _SCHEMES and url.host:
        return None
    return "must be a URL with a host that begins with http:// or https://"


def _variable_name(name: str) -> str:
    """Return the variable's name as it is spelled in this environment."""
    # urllib prefers the lower-case spelling.
    for spelling in (name, name.upper()):
        if os.environ.get(spelling):
            return spelling
    return f"the system's setting for {name}"
