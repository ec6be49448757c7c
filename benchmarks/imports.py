"""``import aurpay_async`` against the two libraries under it."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

from ._measure import make_row, shuffle
from ._processes import environment_with_bytecode

if TYPE_CHECKING:
    from ._measure import Row


def compare(rounds: int) -> list[Row]:
    """Measure the CPU time of interpreters that import one or the other."""
    code = {
        "ours": "import aurpay_async",
        "theirs": "import attrs, cattrs",
    }
    times: dict[str, list[float]] = {name: [] for name in code}
    environment = environment_with_bytecode()
    for warm in code.values():
        subprocess.run([sys.executable, "-c", warm], check=True, env=environment)  # noqa: S603
    for name, statement in shuffle(code, rounds):
        before = _cpu_of_children()
        subprocess.run([sys.executable, "-c", statement], check=True, env=environment)  # noqa: S603
        times[name].append(_cpu_of_children() - before)
    what = "import aurpay_async"
    return [
        make_row(what, "import attrs, cattrs", times["ours"], times["theirs"], hold=1.3)
    ]


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
