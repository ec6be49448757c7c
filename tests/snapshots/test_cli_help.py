"""Snapshots of the help of each command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..cli.test_main import COMMANDS
from .snapshot import expect, expect_files

if TYPE_CHECKING:
    from ..cli.conftest import Run


def file_name(command: str) -> str:
    return "-".join(["aurpay", *command.split()]) + ".txt"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_of_each_command_is_as_stored(aurpay: Run, command: str) -> None:
    """At a fixed width, without colours."""
    done = aurpay(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    lines = [line.rstrip() for line in done.out.splitlines()]
    expect(f"help/{file_name(command)}", "\n".join(lines))


def test_each_stored_help_is_of_a_command() -> None:
    """A command that is removed or renamed leaves no stored file behind."""
    expect_files("help", {file_name(command) for command in ["", *COMMANDS]})
