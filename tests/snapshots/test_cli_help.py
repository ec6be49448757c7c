"""Snapshots of the help of each command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ..cli.test_main import COMMANDS
from .snapshot import expect, expect_files

if TYPE_CHECKING:
    from ..cli.conftest import Run


#: The type of an option; some versions of cyclopts omit it.
KIND = re.compile(r" (CHOICE|STR|INT|FLOAT|SECRET)(\.\.\.)?(?=  )")


def file_name(command: str) -> str:
    return "-".join(["aurpay", *command.split()]) + ".txt"


def without_layout(text: str) -> str:
    """Return help without the layout of cyclopts: one option or command a line."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("│"):
            lines.append(line.strip("╭╰╮╯─ "))
            continue
        words = KIND.sub("", line.strip("│"))
        if re.match(r" (\*  |   )?\S", words):
            lines.append(" ".join(words.split()))
        else:
            lines[-1] += " " + " ".join(words.split())
    return re.sub(r"\((-\w)\)", r"\1", "\n".join(lines))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_of_each_command_is_as_stored(aurpay: Run, command: str) -> None:
    """At a fixed width, without colours."""
    done = aurpay(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    expect(f"help/{file_name(command)}", without_layout(done.out))


def test_each_stored_help_is_of_a_command() -> None:
    """A command that is removed or renamed leaves no stored file behind."""
    expect_files("help", {file_name(command) for command in ["", *COMMANDS]})
