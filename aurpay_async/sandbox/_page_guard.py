"""Who may use the sandbox's API, look at its pages, and press their buttons.

A browser is on this machine and so is every page that is open in it, whoever wrote it.
Pages from elsewhere must neither read what is here nor act:

- names that only lead here are refused (DNS rebinding);
- but for the page itself, which shops link to, only the page's own origin is answered;
- what acts must come from the page's own script, with the three marks that no other
  page and no form can set: ``Sec-Fetch-Site``, ``Origin``, and JSON as content type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._reach import Reach

#: Nothing from elsewhere, nothing inline, in nobody's frame; and the browser itself
#: refuses to make markup of a text (``trusted-types``).
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

#: The content types of a form, which a browser sends anywhere without asking first.
_WITHOUT_PREFLIGHT: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)

#: What every answer to a browser says.
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
    """Whether a request has the headers that browsers alone send.

    They add ``Sec-Fetch-Site`` to each request, and those that are too old for it add
    ``Origin`` to each that changes something.
    """
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers


@attrs.frozen
class PageGuard:
    """Checks each request to the sandbox before anything else reads it."""

    reach: Reach

    def require_name(self, request: web.Request) -> None:
        """Let in who asked for the sandbox by one of its own names.

        Raises:
            HTTPForbidden: for any other name, and for callbacks: a sandbox has no
                receiver of them.
        """
        if "Callback-Token" in request.headers:
            raise web.HTTPForbidden(text="not for callbacks\n", headers=HEADERS)
        if not self.reach.is_known_as(request.headers.get("Host", "")):
            raise web.HTTPForbidden(text=f"{self.reach.advice}\n", headers=HEADERS)

    def require_program(self, request: web.Request) -> None:
        """Let in programs that ask for one of the sandbox's names, and no web page.

        A page in the developer's browser can send requests to this machine that need no
        preflight: with one of three content types.

        Raises:
            HTTPForbidden: for any other name, for callbacks and for browsers.
        """
        self.require_name(request)
        if is_of_browser(request):
            raise web.HTTPForbidden(text="for programs, not for web pages\n")
        if request.content_type in _WITHOUT_PREFLIGHT:
            raise web.HTTPForbidden(text="send Content-Type: application/json\n")

    def require_reader(self, request: web.Request) -> None:
        """Let in programs, and the sandbox's own page.

        Raises:
            HTTPForbidden: for what another page asks for.
        """
        self.require_name(request)
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text="not for other pages\n", headers=HEADERS)

    def require_actor(self, request: web.Request) -> None:
        """Let in the script of the sandbox's own page, and nobody else.

        Raises:
            HTTPForbidden: for programs, forms and other pages.
        """
        self.require_name(request)
        sites = request.headers.getall("Sec-Fetch-Site", [])
        asking = request.headers.getall("Origin", [])
        origins = {self.reach.public_url, f"http://{request.host}"}
        # Browsers let no script set the first two, and ask this server before they send
        # JSON to it from another origin: it never agrees.
        if (
            sites != ["same-origin"]
            or len(asking) != 1
            or asking[0] not in origins
            or request.content_type != "application/json"
        ):
            raise web.HTTPForbidden(
                text="only for the sandbox's page\n", headers=HEADERS
            )
