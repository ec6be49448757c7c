"""Options that commands share, prompts, and secrets from the environment.

A prompt shows what will happen and needs a whole word, so that a key pressed by
accident confirms nothing. The question is on standard error. The reply is read before
an event loop starts: while a loop runs, the first Ctrl-C does not end a prompt.

Secrets are not arguments, which the shell's history and the list of processes show.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import attrs
from cyclopts import Parameter, validators

from .._api.arguments import DEFAULT_SIZE
from .._core.secrets import DATABASE, Secret, keys_from_env, secrets_from_env
from ..errors import ConfigurationError
from . import FAILED, USAGE
from ._errors import show_failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cyclopts import Token

    from ._output import Output, Row


def doc(text: str, **options: Any) -> Parameter:  # noqa: ANN401 - of cyclopts
    """Return the documentation of an option, and what else cyclopts has to know."""
    return Parameter(help=text, **options)


#: A switch without a ``--no-...`` form.
Flag = Annotated[bool, Parameter(negative="", show_default=False)]

#: An option that may be given several times.
Several = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]

#: The values of `aurpay_async.bolt11.Network`, which takes longer to import.
NetworkName = Literal["mainnet", "testnet", "signet", "regtest", "simnet"]

#: The values of `aurpay_async.sandbox.Amounts`, which takes longer to import.
AmountStyle = Literal["string", "number"]
Price = Annotated[str, doc("Price in fiat, such as 19.99.")]

Currency = Annotated[
    str, doc("Currency of the price: a three-letter code such as USD.")
]

OrderId = Annotated[str, doc("Order id, assigned by Aurpay.")]
OpenOption = Annotated[Flag, doc("Open the checkout page in a browser.", name="--open")]

WatchOption = Annotated[
    Flag, doc("Wait for the payment; end with 1 if the order is not paid.")
]


def _to_secret(_: object, tokens: Sequence[Token]) -> Secret:
    return Secret(tokens[0].value)


#: A URL may contain a password, so it is a secret from here on.
DatabaseOption = Annotated[
    Secret | None,
    doc(
        "URL of the order store's database, such as "
        "sqlite+aiosqlite:///orders.db. Arguments are visible to other users of the "
        "machine: put a URL with a password into AURPAY_DATABASE.",
        name="--database",
        converter=_to_secret,
        accepts_keys=False,
        n_tokens=1,
    ),
]


def _reject_option(_: object, value: str) -> None:
    """Reject a misspelt option that would be taken for an invoice."""
    if value.startswith("-") and value != "-":
        raise ValueError(f"there is no option {value}")


InvoiceText = Annotated[
    str,
    Parameter(
        allow_leading_hyphen=True,
        validator=_reject_option,
        help="The invoice, with or without `lightning:`; - reads standard input.",
    ),
]


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class OrderOptions:
    # An assignment: `python -OO` would remove a docstring.
    __doc__ = """Options of each command that creates an order.

    Attributes:
        reference: Your own id of the order; needs AURPAY_REFERENCE_KEY.
        callback_url: URL that Aurpay calls after success.
        timeout_callback: URL that Aurpay calls after a timeout.
        succeed_url: Page that the payer is sent to after success.
        timeout_url: Page that the payer is sent to after a timeout.
    """
    reference: str | None = None
    callback_url: str | None = None
    timeout_callback: str | None = None
    succeed_url: str | None = None
    timeout_url: str | None = None

    def for_client(self) -> dict[str, Any]:
        """Return keyword arguments for the method of the client.

        Raises:
            ConfigurationError: if there is a reference but no key to sign it.
        """
        if self.reference is not None and keys_from_env() is None:
            raise ConfigurationError("--reference needs AURPAY_REFERENCE_KEY to be set")
        return attrs.asdict(self)


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class PaymentOptions(OrderOptions):
    __doc__ = f"{OrderOptions.__doc__}"
    stablecoin_at_par: Annotated[Flag, doc("Count a stablecoin as one dollar.")] = False
    post_callbacks: Annotated[
        Flag, doc("Receive callbacks by POST, with the order in the unsigned body.")
    ] = False


_ALL: Final = "Show this page and all later ones, each row as it is received."


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ListOptions:
    page: Annotated[int, doc("Page number.")] = 1
    size: Annotated[int, doc("Rows per page, at most 1000.")] = DEFAULT_SIZE
    everything: Annotated[Flag, doc(_ALL, name="--all")] = False


#: Defaults of the commands: a frozen object can be shared by all calls.
ORDER_DEFAULTS: Final = OrderOptions()
PAYMENT_DEFAULTS: Final = PaymentOptions()
LIST_DEFAULTS: Final = ListOptions()
_YES: Final = "yes"


class Plan(NamedTuple):
    """A description of what will happen, shown before the user confirms it."""

    title: str
    rows: list[Row]
    #: The question without the word to type.
    question: str


def require_terminal(output: Output, command: str) -> int:
    """Return 0 if the user can be asked; else report that, and return the exit code.

    The report names `command`, which shows what would happen.
    """
    if sys.stdin.isatty() and sys.stderr.isatty():
        return 0
    problem = "nothing was sent: there is no terminal to ask at, and no --yes"
    advice = f"Look at it with `{command}`, then give --yes."
    show_failure(output, "usage", problem, advice)
    return USAGE


def confirm(output: Output, plan: Plan, *, yes: bool) -> int:
    """Show what will happen, and return 0 if the user or ``--yes`` allows it.

    Otherwise, report that nothing was sent, and return the exit code.
    """
    if yes:
        output.rows(plan.rows, plan.title)
        return 0
    output.question(plan.title, plan.rows, f"{plan.question} Type {_YES}: ")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        output.info("")  # after Ctrl-D the cursor is still behind the question
    if answer.strip().lower() == _YES:
        return 0
    problem = "nothing was sent: the answer was not yes"
    show_failure(output, "declined", problem, "Nothing has changed.")
    return FAILED


CALLBACK_TOKEN: Final = "AURPAY_CALLBACK_TOKEN"  # noqa: S105 - a name
CALLBACK_SECRET: Final = "AURPAY_CALLBACK_SECRET"  # noqa: S105 - a name

#: All variables of this package with values that must not be shown.
VARIABLES: Final = (
    *("AURPAY_API_KEY", "AURPAY_API_TOKEN", "AURPAY_API_SECRET"),
    *(CALLBACK_TOKEN, CALLBACK_SECRET, "AURPAY_REFERENCE_KEY", DATABASE),
)


class CallbackKeys(NamedTuple):
    """The token that callbacks carry, and the secret that signs them."""

    token: Secret
    secret: Secret


def ask_for_callback_keys() -> CallbackKeys:
    """Return the callback keys of the environment, prompting for those not set.

    Raises:
        ConfigurationError: if there is no terminal to ask at.
    """
    token = callback_key_from_env(CALLBACK_TOKEN)
    secret = callback_key_from_env(CALLBACK_SECRET)
    return CallbackKeys(
        token or _prompt(CALLBACK_TOKEN, "Callback token"),
        secret or _prompt(CALLBACK_SECRET, "Callback secret"),
    )


def callback_key_from_env(name: str) -> Secret | None:
    """Return the first value of a variable, which has several during key rotation."""
    return next(iter(secrets_from_env(name)), None)


def known_secrets() -> Iterator[str]:
    """Return all secrets of the environment, to remove them from what is shown."""
    for value in filter(None, map(os.environ.get, VARIABLES)):
        yield value
        yield from value.split()


def _prompt(name: str, label: str) -> Secret:
    if not sys.stdin.isatty():
        problem = "is not set, and there is no terminal to ask at"
        raise ConfigurationError(f"{name} {problem}")
    from getpass import getpass

    with suppress(EOFError):
        if answer := getpass(f"{label}: "):
            return Secret(answer)
    raise ConfigurationError(f"{name} is not set, and was not entered")
