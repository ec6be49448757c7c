"""What Sphinx does not look at: ``python docs/check.py SITE`` after it was built.

Every link within the site leads somewhere, to the very place; nothing is loaded from
elsewhere; search and `llms.txt` know every page; pictures are small.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

#: Bytes: what a phone gets in an instant.
MAX_PICTURE: Final = 100_000

#: Pages that Sphinx makes of its own, and that nobody looks for.
OWN: Final = {"genindex.html", "py-modindex.html", "search.html"}


class Page(HTMLParser):
    """What a page names, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        values = {name: value for name, value in attrs if value}
        self.ids.add(values.get("id", ""))
        if tag == "a":
            self.links.append(values.get("href", "#"))
        elif tag == "link":
            self.loads.append(values.get("href", ""))
        elif "src" in values:
            self.loads.append(values["src"])


def problems(site: Path) -> list[str]:
    """Everything that is wrong, in words."""
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    return [
        *(problem for path in pages for problem in _links(path, pages)),
        *(problem for path in pages for problem in _loads(path, pages[path])),
        *_known(site, "searchindex.js", r'"([\w./-]+)"', pages),
        *_known(site, "llms.txt", r"\(/_sources/([\w./-]+)\.md\.txt\)", pages),
        *_pictures(site),
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
            found.append(f"{path.name}: {link} leads nowhere")
    return found


def _loads(path: Path, page: Page) -> list[str]:
    return [
        f"{path.name}: {url} is loaded from elsewhere, or missing"
        for url in page.loads
        if not url.startswith(("data:", "#"))
        and (urlsplit(url).netloc or not (path.parent / urlsplit(url).path).is_file())
    ]


def _known(site: Path, name: str, pattern: str, pages: dict[Path, Page]) -> list[str]:
    text = (site / name).read_text(encoding="utf-8")
    known = set(re.findall(pattern, text))
    wanted = {path.relative_to(site).as_posix() for path in pages} - OWN
    return [
        f"{name} does not know {page}"
        for page in sorted(wanted)
        if page.removesuffix(".html") not in known
    ]


def _pictures(site: Path) -> list[str]:
    return [
        f"{path.name} has {path.stat().st_size} bytes"
        for path in (site / "_images").iterdir()
        if path.stat().st_size > MAX_PICTURE
    ]


def main() -> None:
    """Say what is wrong, if anything is."""
    found = problems(Path(sys.argv[1]).resolve())
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
