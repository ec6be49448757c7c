"""``import aurpay_async`` against the two libraries under it."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

from ._measure import row, shuffled
from ._processes import as_installed

if TYPE_CHECKING:
    from ._measure import Row


def compare(rounds: int) -> list[Row]:
    """CPU of whole interpreters that import one or the other."""
    code = {
        "ours": "import aurpay_async",
        "theirs": "import attrs, cattrs",
    }
    times: dict[str, list[float]] = {name: [] for name in code}
    environment = as_installed()
    for warm in code.values():
        subprocess.run([sys.executable, "-c", warm], check=True, env=environment)  # noqa: S603
    for name, statement in shuffled(code, rounds):
        before = _children()
        subprocess.run([sys.executable, "-c", statement], check=True, env=environment)  # noqa: S603
        times[name].append(_children() - before)
    what = "import aurpay_async"
    return [row(what, "import attrs, cattrs", times["ours"], times["theirs"], hold=1.3)]


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
