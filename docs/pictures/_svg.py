"""Elements of the SVG pictures."""

from __future__ import annotations

from html import escape
from typing import Final

#: Light colours, and dark ones on dark pages. The picture has its own background, so
#: that it is readable on any page.
STYLE: Final = """\
:root{--ground:#fff;--ink:#1b1a23;--dim:#5f5d6b;--line:#8a8797;--box:#f3f2f7;
--good:#e2f4e8;--goodline:#23834a;--hot:#ecebfd;--hotline:#5a4bda}
@media (prefers-color-scheme:dark){:root{--ground:#15141b;--ink:#f0eff5;--dim:#aaa7b8;
--line:#7d7a8b;--box:#23222b;--good:#16321f;--goodline:#4fc07c;--hot:#2a2650;
--hotline:#a399ff}}
text{font:14px system-ui,sans-serif;fill:var(--ink)}
.small{font-size:12px}.dim{fill:var(--dim)}.strong{font-weight:600}
.code{font-family:ui-monospace,monospace;font-size:12.5px}
.middle{text-anchor:middle}.end{text-anchor:end}
.ground{fill:var(--ground)}
.box{fill:var(--box);stroke:var(--line)}
.good{fill:var(--good);stroke:var(--goodline)}
.hot{fill:var(--hot);stroke:var(--hotline)}
.open{fill:none;stroke:var(--line);stroke-dasharray:4 3}
.bare{fill:none;stroke:var(--line)}
.arrow{fill:none;stroke:var(--dim);stroke-width:1.5;marker-end:url(#head)}
.both{marker-start:url(#head)}
.head{fill:var(--dim)}
"""

HEAD: Final = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto-start-reverse"><path class="head" '
    'd="M0 0L8 4L0 8z"/></marker></defs>'
)


def picture(
    width: int, height: int, title: str, description: str, parts: list[str]
) -> str:
    """Return an SVG file; screen readers read `description`."""
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" '
        'aria-labelledby="title description">'
    )
    return "\n".join(
        [
            opened,
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(description)}</desc>',
            f"<style>{STYLE}</style>",
            HEAD,
            f'<rect class="ground" width="{width}" height="{height}" rx="12"/>',
            *parts,
            "</svg>\n",
        ]
    )


def box(x: float, y: float, width: float, height: float, kind: str = "box") -> str:
    """Return a rectangle with round corners."""
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" '
        f'height="{height:g}" rx="8"/>'
    )


def text(x: float, y: float, content: str, kind: str = "") -> str:
    """Return a line of text with its baseline at `y`."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(content)}</text>'


def arrow(path: str, kind: str = "arrow") -> str:
    """Return an arrow along an SVG path; "arrow both" has two heads."""
    return f'<path class="{kind}" d="{path}"/>'
