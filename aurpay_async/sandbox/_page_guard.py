"""Who may look at the sandbox's pages, and who may press their buttons.

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


@attrs.frozen
class PageGuard:
    """The sandbox's doorkeeper for browsers."""

    reach: Reach

    def require_name(self, request: web.Request) -> None:
        """Let in who asked for the sandbox by one of its own names.

        Raises:
            HTTPForbidden: for any other name.
        """
        if not self.reach.is_known_as(request.headers.get("Host", "")):
            raise web.HTTPForbidden(text=f"{self.reach.advice}\n", headers=HEADERS)

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
        marks = (
            request.headers.getall("Sec-Fetch-Site", []),
            request.headers.getall("Origin", []),
            request.content_type,
        )
        origin = f"http://{request.host}"
        # Browsers let no script set the first two, and ask this server before they send
        # JSON to it from another origin: it never agrees.
        if marks != (["same-origin"], [origin], "application/json"):
            raise web.HTTPForbidden(
                text="only for the sandbox's page\n", headers=HEADERS
            )
