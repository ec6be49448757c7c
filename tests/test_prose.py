"""Rules for the sentences of the pages, which people read once and tired."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from docs.prose import PAGES, ROOT, prose, reading_ease, sentences

if TYPE_CHECKING:
    from pathlib import Path

MAX_WORDS: Final = 40

#: The first paragraph: what the page is for, and who needs it.
OPENING: Final = re.compile(
    r"# [^\n]+\n\nThis (?:page|tutorial) (?:[^\n]+\n)*?[^\n]*\b(?:for|Read it) "
)

#: Pages without an opening of their own: the first page, and those that include a file
#: of the repository.
WITHOUT_OPENING: Final = re.compile(
    r"docs/(index|changelog|contributing|support|programs/\w+)\.md"
)

#: Sentences without an actor, and phrases before the sentence begins.
EMPTY_OPENING: Final = re.compile(
    r"There (?:is|are|was|were)\b|In order to\b|Note that\b|Please note\b"
    r"|It (?:is|was|has been|should be|must be|can be) (?:recommended|noted|known|said"
    r"|assumed|advised|worth|important|possible|necessary|useful)\b"
)

#: Words that say nothing, and abbreviations that a reader has to translate.
FILLER: Final = re.compile(
    r"\b(simply|easily|obviously|basically|actually|really|utili[sz]e[sd]?|leverages?"
    r"|seamless(?:ly)?|robust|powerful|of course|in order to|e\.g\.|i\.e\.|etc\.)",
    re.IGNORECASE,
)

BY_NAME: Final = {page.relative_to(ROOT).as_posix(): page for page in PAGES}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name)
        for name, page in BY_NAME.items()
        if name.startswith("docs/") and not WITHOUT_OPENING.search(name)
    ],
)
def test_page_opens_with_its_purpose_and_its_readers(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert OPENING.match(text), text[:200]


def test_no_sentence_of_a_page_has_more_than_forty_words() -> None:
    found = [
        f"{sentence.page.relative_to(ROOT)}: {sentence.text}"
        for page in PAGES
        for sentence in sentences(page)
        if len(sentence.words) > MAX_WORDS
    ]
    assert found == []


def test_no_sentence_of_a_page_has_an_empty_opening() -> None:
    found = [
        f"{sentence.page.relative_to(ROOT)}: {sentence.text}"
        for page in PAGES
        for sentence in sentences(page)
        if EMPTY_OPENING.match(sentence.text)
    ]
    assert found == []


def test_no_page_has_a_filler_word() -> None:
    found = [
        f"{page.relative_to(ROOT)}:{number}: {word[0]}"
        for page in PAGES
        for number, line in enumerate(prose(page).splitlines(), 1)
        if (word := FILLER.search(line))
    ]
    assert found == []


def test_sentences_are_found_without_their_code(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading\n\n- Call `run()`. It returns [a value](a.md): An int.\n"
        "```python\nx = 1\n```\n| a | table |\n",
        encoding="utf-8",
    )
    found = [sentence.text for sentence in sentences(page)]
    assert found == ["Call X.", "It returns a value:", "An int."]


def test_short_words_read_more_easily_than_long_ones(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("The cat sat on the mat.\n", encoding="utf-8")
    easy = reading_ease([*sentences(page)])
    page.write_text("Internationalization necessitates deliberation.\n", "utf-8")
    assert easy > reading_ease([*sentences(page)])
