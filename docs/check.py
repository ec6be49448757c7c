"""Check the built site for problems that Sphinx does not report.

``python docs/check.py SITE``: every link within the site has a target, the pages load
no file of another host, search and `llms.txt` list every page, the search finds the
right page first, pictures are small, and no table is wider than a phone.
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
    "celery": "queues",
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
    "logging": "logging",
    "metrics": "metrics",
    "migration": "orders",
    "pgbouncer": "orders",
    "production": "going-live",
    "proxy": "frameworks",
    "pytest": "testing",
    "qr code": "front-end",
    "reconcile": "orders",
    "refund": "api",
    "retry": "failures",
    "runbook": "runbook",
    "server-sent events": "front-end",
    "state machine": "concepts/orders",
    "stripe": "stripe",
    "telegram": "bots",
    "testclient": "testing",
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


#: Options of chromium: pages read from the disk may look into their frames.
CHROMIUM: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--allow-file-access-from-files",
    "--virtual-time-budget=1000000",
    "--dump-dom",
)

#: The width of a phone, in CSS pixels; the scroll bar takes some of them.
PHONE: Final = 360

#: Open each page of a list in a frame as wide as a phone, and collect its wide tables.
WIDE_TABLES: Final = """<!doctype html><body><script>
(async () => {
  const found = [];
  for (const page of %s) {
    const frame = document.createElement("iframe");
    frame.style = "width:%dpx;height:740px";
    await new Promise((loaded) => {
      Object.assign(frame, {onload: loaded, src: page});
      document.body.append(frame);
    });
    for (const table of frame.contentDocument.querySelectorAll("table"))
      if (table.scrollWidth > table.parentElement.clientWidth + 1)
        found.push(page + ": " + table.rows[0].innerText.replace(/\\s+/g, " "));
    frame.remove();
  }
  document.body.innerText = JSON.stringify(found);
})();
</script>"""


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
        *_known(site, "llms.txt", r"\(([\w./-]+)\.txt\)", pages),
        *(problem for path in site.rglob("*.txt") for problem in _markdown(path)),
        *_pictures(site),
        *_search(site),
        *_wide_tables(site, pages),
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


def _markdown(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!\w+:)([^)#\s]+)[)#]", text)
    return [
        *(
            f"{path.name}: {a} is not expanded"
            for a in re.findall(r"^```{.*", text, re.MULTILINE)
        ),
        *(
            f"{path.name}: {link} has no target"
            for link in links
            if not (path.parent / link).exists()
        ),
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


def _wide_tables(site: Path, pages: dict[Path, Page]) -> list[str]:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("docs/check.py: without chromium, no table is measured\n")
        return []
    names = {path.relative_to(site).as_posix() for path in pages} - GENERATED
    driver = site / "wide-tables.html"
    driver.write_text(WIDE_TABLES % (json.dumps(sorted(names)), PHONE), "utf-8")
    try:
        done = subprocess.run(  # noqa: S603 - our own pages
            [chromium, *CHROMIUM, f"file://{driver}"],
            check=True,
            capture_output=True,
            text=True,
        )
    finally:
        driver.unlink()
    body = re.search(r"<body>(\[.*\])</body>", done.stdout, re.DOTALL)
    if body is None:
        return ["the tables were not measured: chromium printed no result"]
    return [f"{table} is wider than {PHONE} px" for table in json.loads(body[1])]


def main() -> None:
    """Print the problems and fail, if there are any."""
    found = problems(Path(sys.argv[1]).resolve())
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
