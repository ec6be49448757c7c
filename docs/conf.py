"""Sphinx configuration of the site (``make docs``). The build downloads nothing."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes
from sphinx.addnodes import index
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.domains import Domain
    from sphinx.environment import BuildEnvironment

project = "aurpay-async"
author = "The aurpay-async developers"
project_copyright = author
release = version = installed("aurpay-async")

sys.path.insert(0, str(Path(__file__).parents[1]))
extensions = ["myst_parser", "sphinx.ext.autodoc", "docs.llms"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore = [("py:class", "enum.Enum")]  # a base class of the standard library
# One backtick in a docstring is a name, and a link if a page documents it.
default_role = "py:obj"
highlight_language = "none"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "html_image"]

autodoc_default_options = {
    "members": True,
    "inherited-members": True,
    "undoc-members": True,
    "member-order": "bysource",
}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autoclass_content = "both"

html_theme = "furo"
html_title = "aurpay-async"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_extra_path = ["alerts.yml"]  # linked by the Markdown of a page
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False

#: Words that readers search for, by the section that explains them. Each becomes a main
#: entry of the index: Sphinx's search ranks those above a word that happens to be in
#: the headings of several pages.
INDEX: Final = {
    "webhook": "callbacks#callbacks-webhooks",
    "exactly-once": "callbacks#exactly-once-delivery-to-the-handler",
    "deduplication": "callbacks#exactly-once-delivery-to-the-handler",
    "idempotency": "failures#idempotency-and-retries-when-a-call-fails",
    "retry": "failures#which-calls-are-retried",
    "duplicate payment": "orders#duplicate-payments",
    "reconcile": "orders#reconcile-find-payments-without-a-callback",
    "reconciliation": "orders#reconcile-find-payments-without-a-callback",
    "migration": "orders#database-migrations",
    "timeout": "client#timeouts-and-deadlines",
    "polling": "client#wait-for-a-payment",
    "logging": "logging#logging-fields-json-structlog-sentry-and-access-logs",
    "key rotation": "security#key-rotation",
    "fault injection": "sandbox#fault-injection",
    "refund": "api#withdrawals-and-refunds",
    "withdrawal": "api#withdrawals-and-refunds",
    "amount": "concepts/money#price-and-amount",
    "late payment": "concepts/orders#statuses-of-an-order-at-aurpay",
    "state machine": "concepts/orders#states-of-an-attempt-in-the-order-store",
    "django": "frameworks#django",
    "install": "tutorial#install",
    "proxy": "frameworks#behind-a-proxy",
    "worker": "workers#procrastinate-on-postgresql",
    "deprecation": "support#deprecation-policy",
    "production": "going-live#the-account",
    "stripe": "stripe#objects-and-calls",
    "decode invoice": "bolt11#strict-and-lenient-decoding",
    "fastapi": "fastapi#the-shop-in-one-file",
    "pytest": "testing#test-an-aiohttp-shop",
    "celery": "queues#celery",
    "qr code": "front-end#draw-the-qr-code",
    "server-sent events": "front-end#show-the-status-live",
    "testclient": "testing#with-starlettes-testclient",
}

#: If several of these modules export a name, the first one documents it.
HOMES: Final = (
    "aurpay_async.errors",
    "aurpay_async",
    "aurpay_async.bolt11",
    "aurpay_async.orders",
    "aurpay_async.callbacks",
    "aurpay_async.callbacks.sql",
    "aurpay_async.sandbox",
    "aurpay_async.testing",
)


@cache
def homes() -> dict[str, str]:
    """Return the module of each public name."""
    return {
        name: module
        for module in reversed(HOMES)
        for name in import_module(module).__all__
    }


def owner(kind: type, member: str) -> type:
    """Return the class that defines a member, if need be in its `__init__`."""
    for name in (member, "__init__"):
        for base in kind.__mro__:
            if name in vars(base) or name in vars(base).get("__annotations__", {}):
                return base
    return kind


def skip_duplicates(
    app: Sphinx, kind: str, name: str, _obj: object, _skip: object, _options: object
) -> bool | None:
    """Document a name on one page only, and a member with one public class only."""
    here = app.env.current_document
    if kind == "module":
        home = homes().get(name, here.autodoc_module)
        return (
            True
            if here.autodoc_module in HOMES and here.autodoc_module != home
            else None
        )
    described = getattr(import_module(here.autodoc_module), here.autodoc_class, None)
    if not isinstance(described, type):
        return None
    base = owner(described, name)
    is_documented_elsewhere = (
        base.__name__ in homes()
        or not base.__module__.startswith(project.replace("-", "_"))
    )
    return True if is_documented_elsewhere and base is not described else None


def read_sections(
    _app: Sphinx, kind: Any, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Parse `Args`, `Returns`, `Raises`; not in docstrings of values, with colons."""
    if lines and lines[0].startswith("Method generated by attrs"):
        lines.clear()
    elif kind not in {"attribute", "data", "property"}:
        settings: Any = Config(napoleon_use_rtype=False)
        parsed = GoogleDocstring(lines, settings, None, kind, name, obj, options)
        lines[:] = parsed.lines()


def find_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Resolve a name that is defined in a private module to its public name."""
    name = node["reftarget"].rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in homes():
        return None
    found = f"{homes()[name]}.{name}"
    place = node.get("refdoc", env.docname)
    domain = env.get_domain("py")
    return domain.resolve_xref(env, place, app.builder, "obj", found, node, content)


def ignore_missing(
    _app: Sphinx, _domain: Domain | None, node: pending_xref
) -> bool | None:
    """Show names of arguments and types of other packages without a link."""
    return True if node["reftype"] == "obj" or "refexplicit" not in node else None


class DarkPictures(SphinxTransform):
    """Shows the dark version of a picture on dark pages."""

    default_priority = 100  # before Sphinx collects the pictures

    def apply(self, **_: object) -> None:
        """Show ``name.png`` in light, and ``name-dark.png`` in dark."""
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for image in [*self.document.findall(nodes.image)]:
            uri = image["uri"]
            dark = f"{uri.removesuffix('.png')}-dark.png"
            if uri.endswith(".png") and (folder / dark).is_file():
                copy = image.deepcopy()
                copy["uri"] = dark
                image["classes"].append("only-light")
                copy["classes"].append("only-dark")
                image.parent.insert(image.parent.index(image) + 1, copy)


class IndexEntries(SphinxTransform):
    """Adds the words of `INDEX` to their pages."""

    default_priority = 100  # before Sphinx collects the index

    def apply(self, **_: object) -> None:
        """Insert one index node after the title of the page."""
        links = ((word, *link.split("#")) for word, link in INDEX.items())
        entries = [
            ("single", word, section, "main", None)
            for word, page, section in links
            if page == self.env.docname
        ]
        title = next(self.document.findall(nodes.title), None)
        if entries and title is not None:
            title.parent.insert(1, index(entries=entries))


def setup(app: Sphinx) -> None:
    """Register transforms and event handlers."""
    app.add_transform(DarkPictures)
    app.add_transform(IndexEntries)
    app.connect("autodoc-skip-member", skip_duplicates)
    app.connect("autodoc-process-docstring", read_sections)
    app.connect("missing-reference", find_public)
    app.connect("warn-missing-reference", ignore_missing)
