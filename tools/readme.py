"""Run every shell block of README.md as somebody would who has just found it.

``python3 tools/readme.py`` clones what is committed into an empty folder, makes a fresh
virtual environment with nothing in it, and runs one block after the other; the first
one that fails ends it. It needs git and a Python, and nothing of this repository: so it
belongs to no test suite, and a `make test` among the blocks runs that suite once.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import venv
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: What people copy into a terminal. A block without a language counts as well.
SHELL = {"", "sh", "bash", "shell"}

#: Seconds for one block: an install over a slow line, and the whole suite.
LIMIT = 1800

#: Settings of whoever starts this would make a bare machine look better than it is.
FOREIGN = ("AURPAY_", "PYTHON", "PIP_REQUIRE", "VIRTUAL_ENV", "MAKE", "MFLAGS", "NOX")


def blocks(text: str) -> list[str]:
    """The shell blocks of a page, in order."""
    return [code for language, code in BLOCK.findall(text) if language in SHELL]


def bare_environment(home: Path) -> dict[str, str]:
    """As after opening a terminal, with a fresh virtual environment entered."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    path = f"{home / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "VIRTUAL_ENV": str(home)}


def run(script: str, clone: Path, environment: dict[str, str]) -> None:
    """One block, as it stands: what fails in the middle fails, what stays is ended."""
    sys.stdout.write(f"\n--- README.md ---\n{script}-----------------\n")
    sys.stdout.flush()
    command = ["sh", "-eu", "-c", script]
    with subprocess.Popen(
        command, cwd=clone, env=environment, start_new_session=True
    ) as process:
        try:
            code = process.wait(LIMIT)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        raise SystemExit(f"this block of README.md ended with {code}:\n{script}")


def main() -> None:
    """Each block in a clone and an environment of its own."""
    show = ["git", "-C", str(ROOT), "show", "HEAD:README.md"]
    found = blocks(subprocess.check_output(show, text=True, encoding="utf-8"))
    if not found:
        raise SystemExit("README.md has no shell block: is the pattern wrong?")
    for script in found:
        with tempfile.TemporaryDirectory(prefix="readme-") as folder:
            clone, home = Path(folder) / "aurpay-async", Path(folder) / "venv"
            command = ["git", "clone", "--quiet", str(ROOT), str(clone)]
            subprocess.run(command, check=True)
            venv.create(home, with_pip=True)
            run(script, clone, bare_environment(home))
    sys.stdout.write(f"\n{len(found)} blocks of README.md ran.\n")


if __name__ == "__main__":
    main()
