"""The package as a whole: public names, import cost, documentation, size."""

from __future__ import annotations

import ast
import inspect
import os
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aurpay_async
from aurpay_async import errors

from .support.source import Function, list_definitions

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(aurpay_async.__file__).parent
#: Imported by the tests that use them, because frameworks are slow to import.
PUBLIC = [
    "aurpay_async",
    "aurpay_async.bolt11",
    "aurpay_async.callbacks",
    "aurpay_async.callbacks.sql",
    "aurpay_async.contrib.aiohttp",
    "aurpay_async.contrib.django",
    "aurpay_async.contrib.litestar",
    "aurpay_async.contrib.procrastinate",
    "aurpay_async.contrib.quart",
    "aurpay_async.contrib.starlette",
    "aurpay_async.errors",
    "aurpay_async.orders",
    "aurpay_async.pytest_plugin",
    "aurpay_async.sandbox",
    "aurpay_async.testing",
]


def run_python(code: str) -> str:
    """Return the output of a new interpreter, without coverage's own imports."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout


@pytest.mark.parametrize("module_name", PUBLIC)
def test_all_lists_every_public_name_of_a_module(module_name: str) -> None:
    module = import_module(module_name)
    names = module.__all__
    for name in names:
        assert getattr(module, name) is not None
    public = {
        name
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and not name.startswith("_")
        and name not in {"format_facts", "shown"}
        and value.__module__.startswith(module.__name__)
    }
    assert public - {"App", "Gate", "Ledger"} <= set(names)


def test_every_error_can_be_imported_from_the_root() -> None:
    for name in errors.__all__:
        assert getattr(aurpay_async, name) is getattr(errors, name)


def test_the_root_imports_bolt11_and_the_version_on_first_access() -> None:
    assert run_python("import aurpay_async as a; print(a.bolt11.__name__)") == (
        "aurpay_async.bolt11\n"
    )
    assert run_python("from aurpay_async import bolt11; print(bolt11.__name__)") == (
        "aurpay_async.bolt11\n"
    )
    assert aurpay_async.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="nothing"):
        aurpay_async.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_loads_no_slow_module() -> None:
    loaded = run_python("import aurpay_async, sys; print(*sys.modules)").split()
    assert not {"aiohttp", "asyncio", "cattrs", "hashlib", "logging", "ssl"} & set(
        loaded
    )


@pytest.mark.slow
def test_slow_imports_run_in_a_thread() -> None:
    code = """
import asyncio, sys, threading
from aurpay_async import AurpayClient
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"aiohttp", "cattrs"}:
            seen.add(threading.current_thread() is threading.main_thread())
seen = set()
async def main():
    sys.meta_path.insert(0, Finder())
    async with AurpayClient(base_url="http://127.0.0.1:9"):
        pass
asyncio.run(main())
print(seen)
"""
    assert run_python(code) == "{False}\n"


def find_modules() -> list[str]:
    found = pkgutil.walk_packages([str(PACKAGE)], "aurpay_async.")
    return ["aurpay_async", *(info.name for info in found)]


def test_every_module_has_a_docstring_and_can_be_imported() -> None:
    for name in find_modules():
        if "_cli" not in name and "__main__" not in name:
            assert import_module(name).__doc__, name


def find_public_objects() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in map(import_module, PUBLIC):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
                if inspect.isclass(value):
                    for part, member in vars(value).items():
                        if not part.startswith("_") and (
                            inspect.isfunction(member) or isinstance(member, property)
                        ):
                            found[f"{value.__qualname__}.{part}"] = member
    return found


def test_every_public_name_has_a_docstring() -> None:
    for name, value in find_public_objects().items():
        assert inspect.getdoc(value), name


def read_sources(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, path.read_text(encoding="utf-8")


def test_no_function_has_more_than_50_lines() -> None:
    """Docstrings and comments are not counted."""
    for path, text in read_sources(PACKAGE):
        lines = text.splitlines()
        for node in list_definitions(path):
            if isinstance(node, Function):
                assert count_code_lines(node, lines) <= 50, f"{path.name}: {node.name}"


def count_code_lines(node: Function, lines: list[str]) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    first = body[0].lineno - 1 if body else node.end_lineno
    stripped = (line.strip() for line in lines[first : node.end_lineno])
    return sum(not line.startswith("#") for line in stripped if line)


def test_no_module_uses_a_context_variable() -> None:
    """Tasks can share a context, so the state of a call is passed as an argument."""
    found = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "contextvars" in path.read_text()
    ]
    assert found == []


def test_the_package_has_a_py_typed_marker() -> None:
    """The suite also runs on the built wheel, which could lack the file."""
    assert (PACKAGE / "py.typed").is_file()


def test_no_file_has_more_than_700_lines() -> None:
    for path, text in read_sources(PACKAGE):
        assert len(text.splitlines()) <= 700, path.name
