"""Check the built site for problems that Sphinx does not report.

``python docs/check.py SITE``: every link within the site has a target, the pages load
no file of another host, search and `llms.txt` list every page, the search finds the
right page first, and pictures are small.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

#: Bytes; a phone downloads this in well under a second.
MAX_PICTURE: Final = 100_000

#: Pages that Sphinx generates without a source.
GENERATED: Final = {"genindex.html", "py-modindex.html", "search.html"}

#: Words that engineers search for, and the page that has to be the first hit.
FIRST_HITS: Final = {
    "amount": "concepts/money",
    "decode invoice": "bolt11",
    "deprecation": "support",
    "django": "frameworks",
    "duplicate payment": "orders",
    "exactly-once": "callbacks",
    "fastapi": "fastapi",
    "fault injection": "sandbox",
    "idempotency": "failures",
    "install": "tutorial",
    "key rotation": "security",
    "late payment": "concepts/orders",
    "migration": "orders",
    "pgbouncer": "orders",
    "production": "going-live",
    "proxy": "frameworks",
    "pytest": "testing",
    "qr code": "front-end",
    "reconcile": "orders",
    "refund": "api",
    "retry": "failures",
    "state machine": "concepts/orders",
    "stripe": "stripe",
    "telegram": "bots",
    "timeout": "client",
    "webhook": "callbacks",
    "worker": "workers",
}

#: Run Sphinx's own search, with its scores and its order, on the index of the site.
SEARCH: Final = """
const fs = require("fs"), path = require("path"), vm = require("vm");
const [site, ...queries] = process.argv.slice(1);
const page = {
  URLSearchParams, console, _: (text) => text, _ready: () => {},
  SPHINX_HIGHLIGHT_ENABLED: false, document: { getElementById: () => null },
};
page.window = page;
vm.createContext(page);
for (const name of ["_static/language_data.js", "_static/searchtools.js",
                    "searchindex.js"])
  vm.runInContext(fs.readFileSync(path.join(site, name), "utf8"), page);
vm.runInContext(`find = (query) => {
  const found = Search._performSearch(...Search._parseQuery(query));
  return found.length ? found[found.length - 1][0] : null;
}`, page);
console.log(JSON.stringify(queries.map((query) => page.find(query))));
"""


class Page(HTMLParser):
    """The links, the loaded files and the ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the links, files and ids of a tag."""
        values = {name: value for name, value in attrs if value}
        self.ids.add(values.get("id", ""))
        if tag == "a":
            self.links.append(values.get("href", "#"))
        elif tag == "link":
            self.loads.append(values.get("href", ""))
        elif "src" in values:
            self.loads.append(values["src"])


def problems(site: Path) -> list[str]:
    """Return a message for each problem of the site."""
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    return [
        *(problem for path in pages for problem in _links(path, pages)),
        *(problem for path in pages for problem in _loads(path, pages[path])),
        *_known(site, "searchindex.js", r'"([\w./-]+)"', pages),
        *_known(site, "llms.txt", r"\(/_sources/([\w./-]+)\.md\.txt\)", pages),
        *_pictures(site),
        *_search(site),
    ]


def _links(path: Path, pages: dict[Path, Page]) -> list[str]:
    found = []
    for link in pages[path].links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        known = pages.get(target)
        if not target.is_file() or (
            parts.fragment and known and unquote(parts.fragment) not in known.ids
        ):
            found.append(f"{path.name}: {link} has no target")
    return found


def _loads(path: Path, page: Page) -> list[str]:
    return [
        f"{path.name}: {url} is on another host, or missing"
        for url in page.loads
        if not url.startswith(("data:", "#"))
        and (urlsplit(url).netloc or not (path.parent / urlsplit(url).path).is_file())
    ]


def _known(site: Path, name: str, pattern: str, pages: dict[Path, Page]) -> list[str]:
    text = (site / name).read_text(encoding="utf-8")
    known = set(re.findall(pattern, text))
    wanted = {path.relative_to(site).as_posix() for path in pages} - GENERATED
    return [
        f"{name} does not list {page}"
        for page in sorted(wanted)
        if page.removesuffix(".html") not in known
    ]


def _pictures(site: Path) -> list[str]:
    return [
        f"{path.name} has {path.stat().st_size} bytes"
        for path in (site / "_images").iterdir()
        if path.stat().st_size > MAX_PICTURE
    ]


def _search(site: Path) -> list[str]:
    node = shutil.which("node")
    if node is None:
        sys.stderr.write("docs/check.py: without node, the search is not checked\n")
        return []
    done = subprocess.run(  # noqa: S603 - our own script and words
        [node, "-e", SEARCH, str(site), *FIRST_HITS],
        check=True,
        capture_output=True,
        text=True,
    )
    return [
        f"the search for {query!r} finds {found} first, not {page}"
        for (query, page), found in zip(
            FIRST_HITS.items(), json.loads(done.stdout), strict=True
        )
        if found != page
    ]


def main() -> None:
    """Print the problems and fail, if there are any."""
    found = problems(Path(sys.argv[1]).resolve())
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
