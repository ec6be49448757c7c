"""Check the prose of the pages, and report how long and how hard its sentences are.

``python -m docs.prose`` runs proselint over the pages without their code, and prints a
line for each page: words, words of a sentence (median and longest), and the Flesch
reading ease, where 60 to 70 is plain English and 30 is difficult.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]

#: All pages that people read; the changelog is a list of names.
PAGES: Final = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "SUPPORT.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
)

_FENCED: Final = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`]*`")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKER: Final = re.compile(r"^\s*(?:[-*] (?:\[ \] )?|\d+\. )")
_END: Final = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z\"X])")

#: Lines that are no sentences: headings, tables, pictures, fields of a directive.
_NO_SENTENCE: Final = ("#", "|", "!", "<", ":", "(")

#: Checks of proselint that contradict this project's ASCII punctuation and its terms
#: ("exactly-once"), and one that takes a list of words for a repetition.
_OFF: Final = ("typography", "misc.phrasal_adjectives", "lexical_illusions")


class Sentence(NamedTuple):
    """A sentence without its code, with ``X`` for each name in backticks."""

    page: Path
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the sentence."""
        return self.text.split()


def prose(page: Path) -> str:
    """Return a page with the lines of its code blocks emptied."""
    text = page.read_text(encoding="utf-8")
    return _FENCED.sub(lambda block: "\n" * block[0].count("\n"), text)


def sentences(page: Path) -> Iterator[Sentence]:
    """Yield the sentences of a page, without headings and tables."""
    for line in prose(page).splitlines():
        if not line.startswith(_NO_SENTENCE):
            plain = _LINK.sub(r"\1", _CODE.sub("X", _MARKER.sub("", line)))
            yield from (
                Sentence(page, text.strip())
                for text in _END.split(plain.replace("{term}", ""))
                if text.strip()
            )


def reading_ease(found: list[Sentence]) -> float:
    """Return the Flesch reading ease, with groups of vowels as syllables."""
    words = [word for sentence in found for word in sentence.words]
    syllables = sum(max(1, len(re.findall("[aeiouy]+", w.lower()))) for w in words)
    return 206.835 - 1.015 * len(words) / len(found) - 84.6 * syllables / len(words)


def _report(page: Path) -> str:
    found = [*sentences(page)]
    if not found:
        return ""
    counts = [len(sentence.words) for sentence in found]
    return (
        f"{page.relative_to(ROOT)!s:36} {sum(counts):6} words, "
        f"{median(counts):4.0f} a sentence, {max(counts):3} in the longest, "
        f"reading ease {reading_ease(found):3.0f}\n"
    )


def _lint(page: Path, folder: Path) -> list[str]:
    copy = folder / "page.md"
    copy.write_text(prose(page), encoding="utf-8")
    command = [sys.executable, "-m", "proselint", "check", str(copy)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    return [
        line.replace(str(copy), str(page.relative_to(ROOT)))
        for line in done.stdout.splitlines()
        if line.startswith(str(copy))
        and not any(f": {check}" in line for check in _OFF)
    ]


def main() -> None:
    """Print the report; fail if proselint objects."""
    sys.stdout.writelines(_report(page) for page in PAGES)
    with TemporaryDirectory() as folder:
        found = [line for page in PAGES for line in _lint(page, Path(folder))]
    if found:
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
