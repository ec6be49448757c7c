"""Find the line that called the package."""

from __future__ import annotations

import types
from inspect import currentframe

import aurpay_async
from aurpay_async._client import caller_location


def test_caller_location_is_the_innermost_line_outside_the_package() -> None:
    inner = types.FunctionType(
        compile("def inner(): return caller_location()", "<inner>", "exec").co_consts[
            0
        ],
        {
            "__name__": f"{aurpay_async.__name__}._inner",
            "caller_location": caller_location,
        },
    )
    frame = currentframe()
    assert frame is not None
    found, line = inner(), frame.f_lineno
    assert found == f"{__file__}:{line}"
