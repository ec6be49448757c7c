"""The command line: which commands there are, and how a line becomes one of them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from cyclopts import App, CycloptsError

from ._arguments import Format  # noqa: TC001 - of `_output`
from ._callback import listen, send
from ._commands import decode, demo, doctor, sandbox, verify
from ._failures import USAGE, show_failure
from ._order import create, show
from ._screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HELP: Final = """\
Lightning payments through Aurpay: tried out on this machine, or for real.

Exit codes: 0 yes; 1 no, or failed; 2 wrong usage; 3 failed, and an order may exist; \
130 interrupted.

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
```
"""

_CALLBACK: Final = """\
Callbacks to a shop on this machine.

```console
$ aurpay callback send 'http://127.0.0.1:8000/paid?id=32'
$ aurpay callback listen --forward-to http://127.0.0.1:8000
```
"""


@cache
def build_app() -> App:
    """All commands."""
    app = App(
        name="aurpay",
        help=_HELP,
        version=lambda: version("aurpay-async"),
        version_flags=["--version"],
    )
    order = App(name="order", help=_ORDER)
    callback = App(name="callback", help=_CALLBACK)
    commands: list[tuple[App, Callable[..., int]]] = [
        *((app, command) for command in (demo, sandbox, decode, verify, doctor)),
        *((order, command) for command in (create, show)),
        *((callback, command) for command in (send, listen)),
    ]
    for parent, command in commands:
        parent.command(command)
    app.command(order)
    app.command(callback)
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
