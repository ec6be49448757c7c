"""``make PYTHON=...``: the interpreter that is named is the one that runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `make -n` in a folder with this Makefile."""
    (folder / "pyproject.toml").touch()
    return subprocess.run(
        ["make", "-n", "-f", str(MAKEFILE), *arguments],  # noqa: S607 - as people do
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def write_python(path: Path, version: str) -> Path:
    """An interpreter that says that it is this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version} /usr\n")
    path.chmod(0o755)
    return path


def test_make_rejects_another_interpreter_than_that_of_the_venv(tmp_path: Path) -> None:
    write_python(tmp_path / ".venv/bin/python", "3.11.7")
    other = str(write_python(tmp_path / "python3.13", "3.13.0"))
    for done in (make(tmp_path, f"PYTHON={other}"), make(tmp_path, PYTHON=other)):
        assert done.returncode == 2
        assert "3.11.7 /usr: make clean first, or omit PYTHON" in done.stderr
    assert make(tmp_path, f"PYTHON={other}", "clean").returncode == 0


def test_make_accepts_the_interpreter_of_the_venv_and_any_without_a_venv(
    tmp_path: Path,
) -> None:
    same = str(write_python(tmp_path / "python3.11", "3.11.7"))
    assert make(tmp_path, f"PYTHON={same}", "demo").returncode == 0
    write_python(tmp_path / ".venv/bin/python", "3.11.7")
    assert make(tmp_path, f"PYTHON={same}", "demo").returncode == 0
    assert make(tmp_path, "demo").returncode == 0
