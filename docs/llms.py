"""Each page as Markdown beside its HTML (`page.txt`), `llms.txt` and `llms-full.txt`.

The Markdown is that of the source, with the files that it includes and the
documentation that Sphinx generates; links are relative, as in the source.
"""

from __future__ import annotations

import ast
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sphinx.addnodes import desc, desc_signature, pending_xref, toctree
from sphinx.builders.text import TextBuilder
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import new_document
from sphinx.writers.text import TextTranslator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

SUMMARY: Final = (
    "Take Bitcoin Lightning payments through Aurpay from asyncio: orders with checked "
    "invoices, errors that say whether an order exists, exactly-once callbacks "
    "(webhooks), reconciliation, and an offline sandbox with fault injection."
)

DOCS: Final = Path(__file__).parent

#: A directive of MyST: its name, its argument, and what follows.
DIRECTIVE: Final = re.compile(
    r"^```\{([\w-]+)\} ?(.*)\n((?:(?!```).*\n)*)```\n", re.MULTILINE
)
OPTION: Final = re.compile(r"^:([\w-]+): (.*)$", re.MULTILINE)
#: The target of a link, or of a picture, in this repository.
LINK: Final = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(?=[)#])")
#: A link or a role, with its words.
PLAIN: Final = re.compile(r"\[([^]]+)\]\([^)]*\)|\{\w+\}`([^`<]+?)(?: <[^`]*)?`")
#: The first sentence after the title of a page.
OPENING: Final = re.compile(r"^# .*\n\n(.*)", re.MULTILINE)


@cache
def included() -> dict[str, str]:
    """Return the pages that include a file of the repository, by that file."""
    return {
        str((page.parent / name).resolve()): str(page.relative_to(DOCS).with_suffix(""))
        for page in DOCS.rglob("*.md")
        for name in re.findall(r"^```{include} (\S+)", page.read_text(), re.MULTILINE)
    }


class IncludedFileLinks(SphinxTransform):
    """Replaces a link to a file of the repository by one to the page including it."""

    default_priority = 100

    def apply(self, **_: object) -> None:
        """Replace the targets of all links to Markdown files."""
        for link in self.document.findall(pending_xref):
            shown = included().get(f"{link.get('reftarget')}.md")
            if link.get("refdomain") == "doc" and shown is not None:
                link["reftarget"] = shown


def write(app: Sphinx, error: Exception | None) -> None:
    """Write all files after Sphinx has built the HTML."""
    if error is not None:
        return
    index, full = [f"# {app.config.project}\n\n> {SUMMARY}\n\n"], list[str]()
    for caption, page in _in_order(app):
        file = DOCS / f"{page}.md"
        text = _expand(app, page, file)
        (app.outdir / f"{page}.txt").write_text(text, encoding="utf-8")
        full.append(f"<!-- {page}.txt -->\n\n{_expand(app, page, file, whole=True)}")
        if caption:
            index.append(f"\n## {caption}\n\n")
        title, opening = app.env.titles[page].astext(), OPENING.search(text)
        about = PLAIN.sub(r"\1\2", opening[1]) if opening else ""
        index.append(f"- [{title}]({page}.txt): {about}\n")
    (app.outdir / "llms.txt").write_text("".join(index), encoding="utf-8")
    (app.outdir / "llms-full.txt").write_text("\n".join(full), encoding="utf-8")


def _in_order(app: Sphinx, page: str = "index") -> Iterator[tuple[str, str]]:
    """Yield each page of the table of contents, the first of a group with its caption.

    Pages below a page belong to its group.
    """
    yield "", page
    for tree in app.env.get_doctree(page).findall(toctree):
        for number, (_, below) in enumerate(tree["entries"]):
            for caption, name in _in_order(app, below):
                is_first = number == 0 and name == below
                yield (tree.get("caption") or "") if is_first else caption, name


def _expand(app: Sphinx, page: str, file: Path, *, whole: bool = False) -> str:
    """Return the Markdown of a file, as a part of a page, or of `llms-full.txt`."""
    folder = DOCS if whole else (DOCS / page).parent

    def replace(found: re.Match[str]) -> str:
        name, argument, body = found.groups()
        if name == "include":
            shown = _expand(app, page, _resolve(file, argument), whole=whole)
            return _cut(shown, body)
        if name == "literalinclude":
            code = _cut(_resolve(file, argument).read_text(encoding="utf-8"), body)
            return f"```{dict(OPTION.findall(body))['language']}\n{code}```\n"
        if name == "eval-rst":
            module = re.search(r"automodule:: (\S+)", body)
            return f"```text\n{_generated(app, page, module[1])}```\n" if module else ""
        return "" if name == "toctree" else body

    text = file.read_text(encoding="utf-8")
    text = LINK.sub(lambda link: _relative(file, folder, link[1]), text)
    return DIRECTIVE.sub(replace, text)


def _resolve(file: Path, link: str) -> Path:
    return (file.parent / link).resolve()


def _cut(text: str, body: str) -> str:
    """Return the part of a file that the options of a directive select."""
    options = dict(OPTION.findall(body))
    if after := options.get("start-after"):
        text = text.partition(ast.literal_eval(after))[2]
    if before := options.get("end-before"):
        text = text.partition(ast.literal_eval(before))[0]
    if at := options.get("start-at"):
        text = text[text.index(at) :]
    return text


def _relative(file: Path, folder: Path, link: str) -> str:
    """Return a link of a file as one of a file of the site in this folder."""
    target = _resolve(file, link)
    if (shown := included().get(str(target))) is not None:
        target = DOCS / f"{shown}.md"
    elif target.parent == DOCS / "images":
        target = DOCS / "_images" / target.name
    elif not target.is_relative_to(DOCS):
        return link
    if target.suffix == ".md":
        target = target.with_suffix(".txt")
    return os.path.relpath(target, folder)


def _generated(app: Sphinx, page: str, module: str) -> str:
    """Return what autodoc has generated for a module, as text."""
    document = new_document("")
    document += [
        node.deepcopy()
        for node in app.env.get_and_resolve_doctree(page, app.builder).findall(desc)
        if not isinstance(node.parent.parent, desc)
        and next(iter(node.findall(desc_signature)))["module"] == module
    ]
    translator = TextTranslator(document, TextBuilder(app, app.env))
    document.walkabout(translator)
    return translator.body.strip() + "\n"


def setup(app: Sphinx) -> None:
    """Register the transform and the event handler."""
    app.add_transform(IncludedFileLinks)
    app.connect("build-finished", write)
