"""Which line of a program used this package."""

from __future__ import annotations

import types
from inspect import currentframe

import aurpay_async
from aurpay_async._caller import caller_location


def test_the_innermost_line_that_is_not_ours() -> None:
    """However deep inside it is asked for."""
    ours = types.FunctionType(
        compile("def inner(): return caller_location()", "<ours>", "exec").co_consts[0],
        {
            "__name__": f"{aurpay_async.__name__}._inner",
            "caller_location": caller_location,
        },
    )
    frame = currentframe()
    assert frame is not None
    found, line = ours(), frame.f_lineno
    assert found == f"{__file__}:{line}"
