"""Read tokens and secrets from the environment or a prompt, never from arguments.

Arguments are visible in the shell's history and in the list of processes.
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

#: All variables of this package with values that must not be shown.
VARIABLES: Final = (
    "AURPAY_API_KEY",
    "AURPAY_API_TOKEN",
    "AURPAY_API_SECRET",
    CALLBACK_TOKEN,
    CALLBACK_SECRET,
    "AURPAY_REFERENCE_KEY",
)


class CallbackKeys(NamedTuple):
    """The token that callbacks carry, and the secret that signs them."""

    token: Secret
    secret: Secret


def from_environment(name: str) -> Secret | None:
    """Return the value of a variable; an empty one counts as not set."""
    return Secret(os.environ[name]) if os.environ.get(name) else None


def ask_for_callback_keys() -> CallbackKeys:
    """Return the callback keys of the environment, prompting for those not set.

    Raises:
        ConfigurationError: if there is no terminal to ask at.
    """
    token = from_environment(CALLBACK_TOKEN) or _prompt(
        CALLBACK_TOKEN, "Callback token"
    )
    secret = from_environment(CALLBACK_SECRET)
    return CallbackKeys(token, secret or _prompt(CALLBACK_SECRET, "Callback secret"))


def known_secrets() -> Iterator[str]:
    """Return all secrets of the environment, to remove them from what is shown."""
    return (os.environ[name] for name in VARIABLES if os.environ.get(name))


def _prompt(name: str, label: str) -> Secret:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"{name} is not set, and there is no terminal to ask at"
        )
    from getpass import getpass

    try:
        answer = Secret(getpass(f"{label}: "))
    except EOFError:
        raise ConfigurationError(f"{name} is not set, and was not entered") from None
    if not answer.reveal():
        raise ConfigurationError(f"{name} is not set, and was not entered")
    return answer
