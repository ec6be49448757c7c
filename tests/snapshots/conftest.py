"""Fixtures of the command line, for snapshots of what it prints."""

from __future__ import annotations

from importlib.util import find_spec

from ..cli.conftest import _a_plain_terminal, aurpay, sandbox

__all__ = ["_a_plain_terminal", "aurpay", "sandbox"]

if find_spec("cyclopts") is None:  # the extra `cli` is not installed
    collect_ignore_glob = ["test_cli_*.py"]
