"""Functions and classes of source files, each parsed once."""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.Module | ast.ClassDef | Function

_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


@cache
def list_definitions(path: Path) -> tuple[Definition, ...]:
    """Return a module, and its classes and functions at any depth."""
    return tuple(_iterate_definitions(ast.parse(path.read_text(encoding="utf-8"))))


def _iterate_definitions(node: ast.AST) -> Iterator[Definition]:
    """Do not visit expressions: they are most of the nodes, and define nothing."""
    if isinstance(node, Definition):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _STATEMENTS):
            yield from _iterate_definitions(child)
