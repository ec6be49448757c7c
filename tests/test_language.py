"""Rules of language and layout that hold in the package, its tests and its pages."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import aurpay_async

from .support.source import Function, list_definitions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]

#: The installed package: the suite also runs on the built wheel, far from its source.
PACKAGE: Final = Path(aurpay_async.__file__).parent

#: Words without an actor, and figures of speech. `#/cashier` is a path of Aurpay.
BANNED: Final = re.compile(
    r"\b((?<!\")nobody|somebody|anybody|everybody|whoever|whatever|whose"
    r"|desks?|couriers?|postm[ae]n|(?<!#/)(?<!#\\/)cashiers?|parcels?"
    r"|an URL|says no)\b",
    re.IGNORECASE,
)

#: How a docstring does not begin: with an indirect question.
QUESTION: Final = re.compile(r"(What|Who|Whose|Whoever|Whatever|Whether|How|Which)\b")

MAX_LAYERS: Final = 8


def list_texts() -> list[Path]:
    names = ("benchmarks", "docs", "examples", "tests", "tools")
    places = [PACKAGE, *(ROOT / name for name in names)]
    found = [
        path
        for place in places
        for path in place.rglob("*")
        if path.suffix in {".py", ".md", ".html", ".js"}
        and not {"vectors", "_build"} & {*path.parts}  # from others, or generated
        and path.name != Path(__file__).name
    ]
    pages = [path for path in ROOT.glob("*.md") if path.name != "LICENSE.md"]
    return sorted([*found, *pages])


def list_modules(place: str) -> list[Path]:
    folder = PACKAGE if place == "aurpay_async" else ROOT / place
    return sorted(folder.rglob("*.py"))


def iterate_docstrings(path: Path) -> Iterator[tuple[int, str]]:
    for node in list_definitions(path):
        if text := ast.get_docstring(node):
            yield getattr(node, "lineno", 1), text


def test_no_text_has_a_banned_word() -> None:
    found = [
        f"{path}:{number}: {word[0]}"
        for path in list_texts()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (word := BANNED.search(line))
    ]
    assert found == []


@pytest.mark.parametrize("place", ["aurpay_async", "benchmarks", "examples", "tests"])
def test_no_docstring_opens_with_an_indirect_question(place: str) -> None:
    found = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for path in list_modules(place)
        for line, text in iterate_docstrings(path)
        if QUESTION.match(text)
    ]
    assert found == []


def test_no_two_test_functions_share_a_name() -> None:
    names = Counter(
        node.name
        for path in list_modules("tests")
        for node in list_definitions(path)
        if isinstance(node, Function) and node.name.startswith("test_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_a_test_without_a_docstring_has_a_name_of_four_words() -> None:
    tests = 0
    for path in list_modules("tests"):
        for node in list_definitions(path):
            if isinstance(node, Function) and node.name.startswith("test_"):
                tests += 1
                words = node.name.removeprefix("test_").split("_")
                said = len(words) >= 4 or ast.get_docstring(node)
                assert said, f"{path.name}: {node.name}"
    assert tests > 500


def test_contract_has_at_most_eight_layers_and_no_exception() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        (contract, *_) = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    assert contract["type"] == "layers"
    assert len(contract["layers"]) <= MAX_LAYERS
    assert "ignore_imports" not in contract


def test_no_private_module_lies_at_the_root_of_the_package() -> None:
    modules = {path.name for path in PACKAGE.glob("_*.py")}
    assert modules == {"__init__.py", "__main__.py"}
