"""Run every shell block of README.md on a clean machine.

``python3 tools/readme.py`` clones the current commit into an empty folder, creates an
empty virtual environment, and runs one block after the other until one fails. It needs
git and Python only. It is not part of the test suite, and a `make test` among the
blocks runs that suite once.
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

#: Languages of shell blocks; a block without a language is one, too.
SHELL = {"", "sh", "bash", "shell"}

#: Seconds for one block: an installation over a slow network, or the whole suite.
LIMIT = 1800

#: Settings of the caller that a clean machine does not have.
FOREIGN = ("AURPAY_", "PYTHON", "PIP_REQUIRE", "VIRTUAL_ENV", "MAKE", "MFLAGS", "NOX")


def find_shell_blocks(text: str) -> list[str]:
    """Return the shell blocks of a page, in order."""
    return [code for language, code in BLOCK.findall(text) if language in SHELL]


def make_environment(home: Path) -> dict[str, str]:
    """Return the environment of a new terminal, with a fresh virtual environment."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    path = f"{home / 'bin'}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    return {**inherited, "PATH": path, "VIRTUAL_ENV": str(home)}


def run(script: str, clone: Path, environment: dict[str, str]) -> None:
    """Run a block; fail if a command fails, and kill processes that are left."""
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
    """Run each block in a clone with its own virtual environment."""
    show = ["git", "-C", str(ROOT), "show", "HEAD:README.md"]
    found = find_shell_blocks(
        subprocess.check_output(show, text=True, encoding="utf-8")
    )
    if not found:
        raise SystemExit("README.md has no shell block: is the pattern wrong?")
    for script in found:
        with tempfile.TemporaryDirectory(prefix="readme-") as folder:
            clone, home = Path(folder) / "aurpay-async", Path(folder) / "venv"
            command = ["git", "clone", "--quiet", str(ROOT), str(clone)]
            subprocess.run(command, check=True)
            venv.create(home, with_pip=True)
            run(script, clone, make_environment(home))
    sys.stdout.write(f"\n{len(found)} blocks of README.md ran.\n")


if __name__ == "__main__":
    main()
