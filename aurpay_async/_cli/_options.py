"""Arguments and options that several commands share, as cyclopts reads them."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypedDict

import attrs
from cyclopts import Parameter, validators

from .._keys import keys_from_env
from .._models._arguments import DEFAULT_SIZE
from ..errors import ConfigurationError

OutputFormat = Literal["text", "json"]

OutputOption = Annotated[
    OutputFormat,
    Parameter(name=["--output", "-o"], help="Text for people, or JSON for programs."),
]

#: A switch without a ``--no-...`` form.
Flag = Annotated[bool, Parameter(negative="", show_default=False)]

#: An option that may be given several times.
Several = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]

Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]

#: Same values as `aurpay_async.bolt11.Network`, which is slower to load.
NetworkName = Literal["mainnet", "testnet", "signet", "regtest", "simnet"]

#: Same values as `aurpay_async.sandbox.Amounts`, which is slower to load.
AmountStyle = Literal["string", "number"]

Price = Annotated[str, Parameter(help="Price in fiat, such as 19.99.")]
Currency = Annotated[
    str, Parameter(help="Currency of the price: a three-letter code such as USD.")
]
OrderId = Annotated[str, Parameter(help="Order id, assigned by the platform.")]

OpenOption = Annotated[
    bool,
    Parameter(
        name="--open",
        negative="",
        show_default=False,
        help="Open the checkout page in a browser.",
    ),
]
WatchOption = Annotated[
    bool,
    Parameter(
        negative="",
        show_default=False,
        help="Wait for the payment; end with 1 if the order is not paid.",
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


class OrderKeywords(TypedDict):
    """Keyword arguments of each method of the client that creates an order."""

    reference: str | None
    callback_url: str | None
    timeout_callback: str | None
    succeed_url: str | None
    timeout_url: str | None


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class OrderOptions:
    """Options of each command that creates an order."""

    reference: Annotated[
        str | None,
        Parameter(help="Your own id of the order; needs AURPAY_REFERENCE_KEY."),
    ] = None
    callback_url: Annotated[
        str | None, Parameter(help="URL that the platform calls after success.")
    ] = None
    timeout_callback: Annotated[
        str | None, Parameter(help="URL that the platform calls after a timeout.")
    ] = None
    succeed_url: Annotated[
        str | None, Parameter(help="Page that the payer is sent to after success.")
    ] = None
    timeout_url: Annotated[
        str | None, Parameter(help="Page that the payer is sent to after a timeout.")
    ] = None

    def for_client(self) -> OrderKeywords:
        """Return keyword arguments for the client.

        Raises:
            ConfigurationError: if there is a reference but no key to sign it.
        """
        if self.reference is not None and keys_from_env() is None:
            raise ConfigurationError("--reference needs AURPAY_REFERENCE_KEY to be set")
        return {
            "reference": self.reference,
            "callback_url": self.callback_url,
            "timeout_callback": self.timeout_callback,
            "succeed_url": self.succeed_url,
            "timeout_url": self.timeout_url,
        }


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class PaymentOptions:
    """Further options of payments in any coin."""

    stablecoin_at_par: Annotated[
        Flag, Parameter(help="Count a stablecoin as one dollar.")
    ] = False
    post_callbacks: Annotated[
        Flag,
        Parameter(
            help="Receive callbacks by POST, with the order in the unsigned body."
        ),
    ] = False


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class ListOptions:
    """Options of each command that lists rows of the platform."""

    page: Annotated[int, Parameter(help="Page number.")] = 1
    size: Annotated[int, Parameter(help="Rows per page, at most 1000.")] = DEFAULT_SIZE
    everything: Annotated[
        Flag,
        Parameter(
            name="--all",
            help="Show this page and all later ones, each row as it is received.",
        ),
    ] = False


#: Defaults of the commands: a frozen object can be shared by all calls.
ORDER_DEFAULTS: Final = OrderOptions()
PAYMENT_DEFAULTS: Final = PaymentOptions()
LIST_DEFAULTS: Final = ListOptions()
