"""The command line: which commands there are, and how a line becomes one of them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cyclopts import App, CycloptsError

from . import _account, _order, _payment
from ._arguments import Format  # noqa: TC001 - of `_output`
from ._callback import listen, send
from ._commands import decode, demo, doctor, sandbox, verify
from ._failures import USAGE, show_failure
from ._screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HELP: Final = """\
Lightning payments through Aurpay: tried out on this machine, or for real.

Exit codes: 0 yes; 1 no, or failed; 2 wrong usage; 3 failed, and an order may exist or \
money may have moved; 130 interrupted.

```console
$ aurpay demo
$ aurpay doctor
$ aurpay order create 20 USD --qr --watch
```
"""

_ORDER: Final = """\
Orders at the platform, or in a sandbox.

```console
$ aurpay order create 20 USD --qr --watch
$ aurpay order show 20240428125247009742
$ aurpay order list
```
"""

_PAYMENT: Final = """\
Payments in other coins than Lightning's.

```console
$ aurpay payment create 20 USD --chain ETH --coin USDT-ERC20
$ aurpay payment url 20 USD --open
```
"""

_TX: Final = """\
What came in, went back and went out.

```console
$ aurpay tx list
```
"""

_CALLBACK: Final = """\
Callbacks to a shop on this machine.

```console
$ aurpay callback send 'http://127.0.0.1:8000/paid?id=32'
$ aurpay callback listen --forward-to http://127.0.0.1:8000
```
"""

#: What stands behind a word of its own, with that word's help.
_GROUPS: Final[dict[str, tuple[str, Sequence[Callable[..., int]]]]] = {
    "order": (
        _ORDER,
        (_order.create, _order.show, _order.list_, _order.find, _order.refund),
    ),
    "payment": (_PAYMENT, (_payment.create, _payment.url)),
    "tx": (_TX, (_account.list_,)),
    "callback": (_CALLBACK, (send, listen)),
}


@cache
def build_app() -> App:
    """All commands."""
    app = App(
        name="aurpay",
        help=_HELP,
        version=lambda: version("aurpay-async"),
        version_flags=["--version"],
    )
    for command in (demo, sandbox, decode, verify, doctor, _account.withdraw):
        app.command(command)
    for name, (text, commands) in _GROUPS.items():
        group = App(name=name, help=text)
        for command in commands:
            group.command(command)
        app.command(group)
    app.register_install_completion_command()  # pyright: ignore[reportUnknownMemberType]
    return app


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, and give its exit code."""
    app = build_app()
    try:
        # Wrong usage ends alike with every version of cyclopts, and as JSON on request.
        command, bound, _ = app.parse_args(
            arguments, print_error=False, exit_on_error=False
        )
    except CycloptsError as error:
        advice = "Ask with --help: it has examples."
        show_failure(Screen(_output(arguments)), "usage", str(error), advice)
        return USAGE
    code = command(*bound.args, **bound.kwargs)
    return code if isinstance(code, int) else 0


def _output(arguments: Sequence[str]) -> Format:
    """What was asked for on a line that could not be read."""
    words = " ".join(arguments).replace("=", " ").split()
    asked = {("--output", "json"), ("-o", "json")}
    return "json" if asked.intersection(pairwise(words)) else "text"
