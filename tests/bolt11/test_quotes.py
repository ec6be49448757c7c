"""The rules that the code quotes are in the revision that it names."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING

from aurpay_async import bolt11

from ..conftest import VECTORS

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = sorted(Path(bolt11.__file__).parent.glob("*.py"))
#: Quoted from BIP 173, which is not among the vectors.
BIP_173 = (
    "the human-readable part is processed by first feeding the higher 3 bits of each "
    "character's US-ASCII value into the checksum calculation followed by a zero and "
    "then the lower 5 bits of each"
)
#: Quoted from Android's reference of `Intent.setData`, as `_qr.py` says.
ANDROID = (
    "scheme matching in the Android framework is case-sensitive, unlike the formal RFC"
)
FEWEST_WORDS = 4


def remove_markup(markdown: str) -> str:
    """Return words and punctuation, without list markers, emphasis and line breaks."""
    without_markers = re.sub(r"(?m)^\s*[-*] ", "", markdown)
    return " ".join(re.sub(r"[`_*]", "", without_markers).split())


def read_comments(source: str) -> Iterator[str]:
    """Yield each docstring and each run of comment lines of a module."""
    run: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            run.append(token.string.lstrip("#: "))
        elif token.type != tokenize.NL:
            yield " ".join(run)
            run = []
            if token.type == tokenize.STRING and token.string.startswith('"""'):
                yield token.string.strip('"')


def find_quotes(source: str) -> list[str]:
    """Return the parts of quoted rules; "[...]" marks an omission."""
    found = [
        remove_markup(piece)
        for text in read_comments(source)
        for quote in re.findall(r'"([^"]*)"', text)
        for piece in quote.split("[...]")
    ]
    return [quote for quote in found if len(quote.split()) >= FEWEST_WORDS]


def test_quotes_are_found_in_comments_and_docstrings_only() -> None:
    source = (
        '"""The rule "one two\n    three `four`" is quoted."""\n'
        '# BOLT #11: "five six\n# seven eight [...] nine".\n'
        'message = "this is not a quote"\n'
    )
    assert find_quotes(source) == ["one two three four", "five six seven eight"]


def test_each_quoted_rule_is_in_the_named_revision_word_for_word() -> None:
    texts = [*(VECTORS / "bolts").glob("*.md")]
    rules = [remove_markup(path.read_text("utf-8")) for path in texts]
    known = " ".join([*rules, BIP_173, ANDROID])
    found = {path.name: find_quotes(path.read_text("utf-8")) for path in MODULES}
    assert sum(map(len, found.values())) >= 15
    wrong = {name: [q for q in all_ if q not in known] for name, all_ in found.items()}
    assert {name: missing for name, missing in wrong.items() if missing} == {}
