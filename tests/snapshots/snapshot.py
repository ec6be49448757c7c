"""Compare text with a stored file, and rewrite the file on request.

A snapshot freezes behaviour that users see. A change that alters it on purpose rewrites
the stored files and commits them, so that a reviewer sees what users will see::

    AURPAY_UPDATE_SNAPSHOTS=1 python -m pytest tests/snapshots
"""

from __future__ import annotations

import json
import os
import re
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"

_VARIABLE = "AURPAY_UPDATE_SNAPSHOTS"
#: Read at import, because the tests run without the variables of the package.
_UPDATES = bool(os.environ.get(_VARIABLE))

#: Values that differ between runs, most specific first, and their placeholders.
_VOLATILE = [
    (re.compile(r"\blnbcrt[0-9a-z]+"), "<invoice>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"'127\.0\.0\.1', \d+"), "'127.0.0.1', <port>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?"), "<time>"),
    (re.compile(r"\d+ (s|seconds?|minutes?|hours?|days?)( ago)?\b"), "<duration>"),
    (re.compile(r"aurpay_ref=[\w.~-]+"), "aurpay_ref=<token>"),
    (re.compile(r"token=sandbox-[\w-]+"), "token=<token>"),
    (re.compile(r"(sandbox-[A-Z]+-)[0-9a-f]{8,}"), r"\1<hex>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uuid>"),
    (re.compile(r"\b[0-9a-f]{130}\b"), "<130 hex digits>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<64 hex digits>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<32 hex digits>"),
    (re.compile(r"\b[0-9]{20}\b"), "<order id>"),
    (re.compile(r"\b[0-9a-f]{24}\b"), "<24 hex digits>"),
]


def expect(name: str, text: str) -> None:
    """Compare `text` with the stored file `name`, or store it on request."""
    path = DATA / name
    text = text.rstrip("\n") + "\n"
    if _UPDATES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    if stored == text:
        return
    old, new = stored.splitlines(), text.splitlines()
    diff = "\n".join(unified_diff(old, new, f"stored {name}", "this run", lineterm=""))
    pytest.fail(
        f"{diff}\n\nIf this change is intended, rewrite the stored files and commit "
        f"them: {_VARIABLE}=1 python -m pytest tests/snapshots",
        pytrace=False,
    )


def expect_json(name: str, value: object) -> None:
    """Compare a JSON value, in the order in which its keys were given."""
    expect(name, json.dumps(value, indent=1, ensure_ascii=False))


def expect_files(folder: str, names: set[str]) -> None:
    """Fail if a stored file in `folder` belongs to no test any more."""
    stored = {path.name for path in (DATA / folder).iterdir()}
    if _UPDATES:
        for name in stored - names:
            (DATA / folder / name).unlink()
        return
    assert not names - stored, (
        f"data/{folder} lacks {sorted(names - stored)}: write a test that calls "
        f"expect() with this name, then run {_VARIABLE}=1 python -m pytest "
        "tests/snapshots"
    )
    assert not stored - names, (
        f"no test expects {sorted(stored - names)} in data/{folder}: to remove what is "
        f"not tested, run {_VARIABLE}=1 python -m pytest tests/snapshots"
    )


def mask(value: Any) -> Any:
    """Replace the values that differ between runs in text, or in all text of JSON."""
    if isinstance(value, dict):
        return {key: mask(member) for key, member in value.items()}
    if isinstance(value, list):
        return [mask(member) for member in value]
    if isinstance(value, str):
        for pattern, placeholder in _VOLATILE:
            value = pattern.sub(placeholder, value)
    return value
