"""Each part of the benchmarks runs; nothing is timed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if not os.environ.get("AURPAY_TEST_BENCHMARKS"):
    # They start many processes, and need the folder that the archives do not have.
    pytest.skip("takes long: nox -s benchmarks", allow_module_level=True)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("imports", "import aurpay_async"),
        ("orders", "create_order, ApiToken, verified"),
        ("peers", "create_order, verified"),
        ("store", "SQLite, statements that read a whole table"),
        ("waiting", "create_order while 60 orders are waited for"),
        ("sandbox", "sandbox with 2,000 orders, GET /api/v2/order/"),
    ],
)
def test_each_part_of_the_benchmarks_runs_alone(part: str, line: str) -> None:
    command = [sys.executable, "-m", "benchmarks", part, "--quick", "--sqlite"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert line in done.stdout
