"""Access rules for the sandbox's API, its pages and their buttons.

A foreign web page in a browser on this machine can send requests to the sandbox. It
must neither read nor change anything:

- a Host header that is not the sandbox's is rejected (DNS rebinding);
- except for the page itself, to which shops link, only its own origin may read;
- a button's request must come from the page's own script, with three headers that no
  other page and no form can set: ``Sec-Fetch-Site``, ``Origin``, and JSON as content
  type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._reach import HostPolicy

#: Nothing from other origins, nothing inline, no frames; with ``trusted-types`` the
#: browser creates no markup from strings.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

#: The content types that a browser sends to any origin without a preflight request.
_WITHOUT_PREFLIGHT: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)

#: The headers of each response to a browser.
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_of_browser(request: web.Request) -> bool:
    """Return whether a request has headers that only browsers send.

    Browsers add ``Sec-Fetch-Site`` to each request; older ones add ``Origin`` to each
    request that is not a ``GET``.
    """
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers


@attrs.frozen
class PageGuard:
    """Check each request to the sandbox before it is processed."""

    host_policy: HostPolicy

    def require_host(self, request: web.Request) -> None:
        """Require a Host header of the sandbox.

        Raises:
            HTTPForbidden: for other hosts, and for callbacks, which a sandbox does not
                receive.
        """
        if "Callback-Token" in request.headers:
            raise web.HTTPForbidden(
                text="the sandbox receives no callbacks\n", headers=HEADERS
            )
        if not self.host_policy.accepts_host(request.headers.get("Host", "")):
            raise web.HTTPForbidden(
                text=f"{self.host_policy.accepted_hosts}\n", headers=HEADERS
            )

    def require_program(self, request: web.Request) -> None:
        """Require a request of a program, with a Host header of the sandbox.

        A web page can send requests without a preflight if they have one of three
        content types, so those are rejected as well.

        Raises:
            HTTPForbidden: for other hosts, for callbacks and for browsers.
        """
        self.require_host(request)
        if is_of_browser(request):
            raise web.HTTPForbidden(text="for programs, not for web pages\n")
        if request.content_type in _WITHOUT_PREFLIGHT:
            raise web.HTTPForbidden(text="send Content-Type: application/json\n")

    def require_reader(self, request: web.Request) -> None:
        """Require a request of a program or of the sandbox's own page.

        Raises:
            HTTPForbidden: for other web pages.
        """
        self.require_host(request)
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text="not for other pages\n", headers=HEADERS)

    def require_actor(self, request: web.Request) -> None:
        """Require a request of the script of the sandbox's own page.

        Raises:
            HTTPForbidden: for programs, forms and other pages.
        """
        self.require_host(request)
        sites = request.headers.getall("Sec-Fetch-Site", [])
        origins = request.headers.getall("Origin", [])
        allowed = {self.host_policy.public_url, f"http://{request.host}"}
        # No script can set the first two, and a browser sends JSON to another origin
        # only after a preflight request, which this server never allows.
        if (
            sites != ["same-origin"]
            or len(origins) != 1
            or origins[0] not in allowed
            or request.content_type != "application/json"
        ):
            raise web.HTTPForbidden(
                text="only for the sandbox's page\n", headers=HEADERS
            )
