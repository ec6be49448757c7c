"""What several commands share of their arguments, as cyclopts reads it."""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from cyclopts import Parameter, validators

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound="Callable[..., int]")

#: Lines for people, or JSON for programs.
Format = Literal["text", "json"]

Output = Annotated[
    Format,
    Parameter(name=["--output", "-o"], help="Lines for people, or JSON for programs."),
]

#: Given or not given; there is no ``--no-...``.
Flag = Annotated[bool, Parameter(negative="", show_default=False)]

#: May be given several times.
Several = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]

Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]

#: As `aurpay_async.bolt11.Network`, which is slower to load.
NetworkName = Literal["mainnet", "testnet", "signet", "regtest", "simnet"]

#: As `aurpay_async.sandbox.Amounts`, which is slower to load.
AmountStyle = Literal["string", "number"]


def described(text: str) -> Callable[[_F], _F]:
    """Give a command its help text; ``python -OO`` would remove a docstring."""

    def describe(command: _F) -> _F:
        command.__doc__ = cleandoc(text)
        return command

    return describe


def _no_option(_: object, value: str) -> None:
    """A hyphen alone is standard input; more than that is a misspelt option."""
    if value.startswith("-") and value != "-":
        raise ValueError(f"there is no option {value}")


#: An invoice; ``-`` reads it from standard input.
InvoiceText = Annotated[str, Parameter(allow_leading_hyphen=True, validator=_no_option)]
