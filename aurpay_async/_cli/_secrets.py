"""Tokens and secrets: from the environment or from a prompt, never from arguments.

What stands on a command line is in the shell's history and in the list of processes.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from .._secrets import Secret
from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLBACK_TOKEN: Final = "AURPAY_CALLBACK_TOKEN"  # noqa: S105 - a name
CALLBACK_SECRET: Final = "AURPAY_CALLBACK_SECRET"  # noqa: S105 - a name

#: Everything of this package that must not be shown.
VARIABLES: Final = (
    "AURPAY_API_KEY",
    "AURPAY_API_TOKEN",
    "AURPAY_API_SECRET",
    CALLBACK_TOKEN,
    CALLBACK_SECRET,
    "AURPAY_REFERENCE_KEY",
)


class CallbackKeys(NamedTuple):
    """What callbacks carry, and what they are signed with."""

    token: Secret
    secret: Secret


def from_environment(name: str) -> Secret | None:
    """What a variable holds; an empty one counts as not set."""
    return Secret(os.environ[name]) if os.environ.get(name) else None


def ask_for_callback_keys() -> CallbackKeys:
    """Token and secret of callbacks: from the environment, or else from the terminal.

    Raises:
        ConfigurationError: if there is no terminal to ask at.
    """
    token = from_environment(CALLBACK_TOKEN) or _ask(CALLBACK_TOKEN, "Callback token")
    secret = from_environment(CALLBACK_SECRET)
    return CallbackKeys(token, secret or _ask(CALLBACK_SECRET, "Callback secret"))


def known_secrets() -> Iterator[str]:
    """All of them that the environment holds, to be looked for in what is shown."""
    return (os.environ[name] for name in VARIABLES if os.environ.get(name))


def _ask(name: str, what: str) -> Secret:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"{name} is not set, and there is no terminal to ask at"
        )
    from getpass import getpass

    try:
        answer = Secret(getpass(f"{what}: "))
    except EOFError:
        raise ConfigurationError(f"{name} is not set, and was not told") from None
    if not answer.reveal():
        raise ConfigurationError(f"{name} is not set, and was not told")
    return answer
